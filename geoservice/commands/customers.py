"""A customer who wrote a letter: what is on record of her, and its end."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

from geoservice.clock import SystemClock
from geoservice.commands.command_line import a_customer_id, a_line, command, err, group, out, settings_in_force
from geoservice.commands.database import with_database
from geoservice.storage.database import Database
from geoservice.storage.journal import Journal
from geoservice.vocabulary import Role
from geoservice.workflows import erasure, operating, standing
from geoservice.workflows.export import export

CLI: Final = operating.Actor("cli", frozenset(Role))


def add_to(commands: Any) -> None:
    """Add the commands of this file."""
    customers = group(commands, "customers", "export or erase one customer, on her letter")
    take = command(customers, "export", _export, "write everything on record of one customer, as JSON")
    take.add_argument("--output", type=Path, metavar="FILE", help="write there instead; only this user may read it")
    erase = command(customers, "erase", _erase, "erase one customer, for good")
    for each in (take, erase):
        each.add_argument("customer", type=a_customer_id, metavar="ID", help="any of her ids")
        each.add_argument("--reason", required=True, type=a_line, help="put on record as the reason")


def _export(arguments: argparse.Namespace) -> int:
    settings = settings_in_force()

    async def work(database: Database) -> None:
        at = SystemClock().now()
        hers = await standing.known(database, arguments.customer)
        await operating.audit(
            database, CLI, "exported customer", at, customer_id=hers.customer_id, reason=arguments.reason
        )
        with ExitStack() as stack:
            sink = sys.stdout.buffer
            if arguments.output is not None:
                sink = stack.enter_context(_for_this_user_only(arguments.output))
            async for piece in export(database, settings, hers.customer_id, at):
                sink.write(piece)

    return with_database(work)


def _for_this_user_only(path: Path) -> BinaryIO:
    """Open a file that nobody else may read, though one was there that others could."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    if stat.S_ISREG(os.fstat(opened).st_mode):
        os.fchmod(opened, 0o600)
    return os.fdopen(opened, "wb")


def _erase(arguments: argparse.Namespace) -> int:
    journal = Journal(settings_in_force().journal_dir)

    async def work(database: Database) -> None:
        hers = await standing.known(database, arguments.customer)
        order = erasure.Order(CLI, arguments.reason)
        done = await erasure.erase(database, journal, hers.customer_id, SystemClock().now(), order=order)
        for message_id in done.in_flight:
            err.print(f"[yellow]![/] message {message_id} may be with the push provider already")
        still = "" if done.finished_at else "; the service goes on with what is left"
        out.print(f"[green]✓[/] erased, receipt {done.erasure_id}{still}")

    return with_database(work)
