"""Who may call: API keys, and customers' tokens for development."""

from __future__ import annotations

import argparse
from typing import Any, Final

from rich.markup import escape

from geoservice.api.auth import CustomerTokens, jwt_secret
from geoservice.clock import SystemClock
from geoservice.commands.command_line import (
    a_customer_id,
    a_line,
    a_number,
    command,
    err,
    group,
    out,
    settings_in_force,
)
from geoservice.commands.database import with_database
from geoservice.errors import SettingsError
from geoservice.storage.database import Database
from geoservice.storage.journal import Journal
from geoservice.telemetry.explain import print_lines
from geoservice.vocabulary import Role
from geoservice.workflows import operating

TTL_MAX_S: Final = 366 * 86_400


def add_to(commands: Any) -> None:
    """Add the commands of this file."""
    keys = group(commands, "keys", "API keys")
    create = command(keys, "create", _create_key, "make an API key; it is shown once")
    create.add_argument("--role", required=True, choices=[role.value for role in Role])
    create.add_argument("--name", required=True, type=a_line, help="whose key it is")

    command(keys, "list", _list_keys, "list the keys, by prefix, with their last use")
    revoke = command(keys, "revoke", _revoke_key, "end a key, for good")
    revoke.add_argument("key_id", metavar="KEY_ID")

    token = command(commands, "token", _token, "sign a customer's token, for development")
    token.add_argument("--customer", required=True, type=a_customer_id, metavar="ID")
    token.add_argument(
        "--ttl-s", type=a_number(1, TTL_MAX_S), default=3600, help="seconds that it holds (default 3600)"
    )


def _create_key(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        key_id, key = await operating.create_key(database, arguments.name, Role(arguments.role), SystemClock().now())
        err.print(f"[green]✓[/] key {key_id} for {escape(arguments.name)}, role {arguments.role}; shown only now:")
        print(key)  # noqa: T201 - alone on standard output, for scripts

    return with_database(work)


def _list_keys(_: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        rows = [
            (row["key_id"], row["name"], row["role"], *(f"{at:%Y-%m-%d %H:%M}" if at else "" for at in tuple(row)[3:]))
            for row in await operating.keys(database)
        ]
        print_lines(out, ("key", "name", "role", "created", "last used", "revoked"), rows)

    return with_database(work)


def _revoke_key(arguments: argparse.Namespace) -> int:
    journal = Journal(settings_in_force().journal_dir)

    async def work(database: Database) -> None:
        name = await operating.revoke_key(database, journal, arguments.key_id, SystemClock().now())
        out.print(f"[green]✓[/] the key of {escape(name)} is revoked")

    return with_database(work)


def _token(arguments: argparse.Namespace) -> None:
    settings = settings_in_force()
    if settings.jwks_url is not None:
        raise SettingsError(["Tokens come from your identity provider: GEOSERVICE_JWKS_URL is set."])
    tokens = CustomerTokens(
        jwt_secret(settings.jwt_secret, settings.data_dir),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    print(tokens.sign(arguments.customer, arguments.ttl_s))  # noqa: T201 - for scripts
