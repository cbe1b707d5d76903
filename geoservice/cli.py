"""The ``geoservice`` command."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
import uvloop
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from geoservice import __version__
from geoservice.api.auth import CustomerTokens, jwt_secret
from geoservice.clock import SystemClock
from geoservice.config import Settings, load_settings, shown
from geoservice.decisions.campaigns import CampaignSpec
from geoservice.errors import ErrorDetail, GeoserviceError, NotReady, RequestError, SettingsError
from geoservice.geofence_files import read_files, read_folder
from geoservice.geofencing.geofence import to_feature
from geoservice.geofencing.uploads.documents import Document
from geoservice.storage.database import ACTING, Acting, Database, open_pool
from geoservice.storage.embedded import EmbeddedPostgres, attach
from geoservice.storage.journal import Journal
from geoservice.telemetry.explain import print_decision, print_message, print_messages, print_simulation
from geoservice.telemetry.logs import configure_logs
from geoservice.vocabulary import CustomerId, Id, MessageState, Role
from geoservice.workflows import geofences, messages, operating, restore
from geoservice.workflows.directory import Directory, Store, load_geofences, load_stores
from geoservice.workflows.simulate import simulate

SIMULATE_S: Final = 300.0
"""How long ``geoservice simulate`` looks at most."""
GC_AFTER: Final = 20_000
"""New objects between two looks of the garbage collector; a large batch makes some ten thousand at once."""
SWITCH_S: Final = 0.0005
_FAILED: Final = 1
_USAGE: Final = 2
_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit codes: 0 done, 1 it says what is wrong, 2 the command line or settings are."""
    parsed = _parser().parse_args(arguments)
    try:
        sys.exit(parsed.run(parsed) or 0)
    except SettingsError as error:
        for problem in error.problems:
            _err.print(f"[red]✗[/] {escape(problem)}", soft_wrap=True)
        sys.exit(_USAGE)
    except RequestError as error:
        _print_problem(error)
        sys.exit(_FAILED)
    except GeoserviceError as error:
        _err.print(f"[red]✗[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="geoservice", description="Location-triggered push notifications: helpful, or silent."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = _command(commands, "serve", _serve, "run the service: API, ingest, timers and delivery in one process")
    serve.add_argument("--host", help="address to listen on (default: GEOSERVICE_HOST)")
    serve.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: GEOSERVICE_PORT)")

    serve.add_argument("--processes", type=_positive, default=1, metavar="N", help="run N processes on the same port")
    serve.add_argument("--share-port", action="store_true", help=argparse.SUPPRESS)

    demo = _command(commands, "demo", _demo, "play the shoe story against a fresh service, then keep serving")
    demo.add_argument("--once", action="store_true", help="end after the story")
    demo.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")

    _command(commands, "migrate", _migrate, "bring the database to this version's tables")
    _command(commands, "config", _config, "print the settings in force, secrets masked")
    check = _command(commands, "restore-check", _restore_check, "make a restored database fit to be served")
    check.add_argument(
        "--journal",
        action="append",
        type=Path,
        metavar="DIR",
        help="a journal to apply, once for each machine that served (default: GEOSERVICE_JOURNAL_DIR)",
    )

    catalogue = commands.add_parser("geofences", help="check and publish geofences").add_subparsers(
        required=True, metavar="COMMAND"
    )
    check = _command(catalogue, "check", _check_geofences, "read GeoJSON and CSV files and say what is wrong in them")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _mending(check)
    load = _command(catalogue, "import", _import_geofences, "publish GeoJSON and CSV files, all or nothing")
    load.add_argument("files", nargs="+", type=Path, metavar="FILE")
    load.add_argument("--mode", choices=["merge", "replace"], default="merge", help="replace removes all others")
    _publishing(load)
    sync = _command(catalogue, "sync", _sync_geofences, "publish a folder; what it held once and lacks now is removed")
    sync.add_argument("folder", type=Path, metavar="FOLDER")
    sync.add_argument("--name", default="sync", type=_id, help="tells the geofences of several folders apart")
    _publishing(sync)
    export = _command(catalogue, "export", _export_geofences, "print all geofences as GeoJSON, a line each")
    export.add_argument("--output", type=Path, metavar="FILE", help="write there instead")

    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True, metavar="COMMAND")
    create = _command(keys, "create", _create_key, "make an API key; it is shown once")
    create.add_argument("--role", required=True, choices=[role.value for role in Role])
    create.add_argument("--name", required=True, help="whose key it is")

    _command(keys, "list", _list_keys, "list the keys, by prefix, with their last use")
    revoke = _command(keys, "revoke", _revoke_key, "end a key, for good")
    revoke.add_argument("key_id", metavar="KEY_ID")

    token = _command(commands, "token", _token, "sign a customer's token, for development")
    token.add_argument("--customer", required=True, type=_customer_id, metavar="ID")
    token.add_argument("--ttl-s", type=int, default=3600, help="seconds that it holds (default 3600)")

    explain = _command(commands, "explain", _explain, "print why a message was sent, or not")
    explain.add_argument("decision_id", metavar="DECISION_ID")
    explain.add_argument("--reason", default="geoservice explain", help="put on record as the reason for looking")

    outbox = commands.add_parser("messages", help="look at messages, try one again").add_subparsers(
        required=True, metavar="COMMAND"
    )
    newest = _command(outbox, "list", _list_messages, "list messages, newest first, of nobody by name")
    newest.add_argument("--state", choices=[state.value for state in MessageState], help="only those in this state")
    newest.add_argument("--campaign", type=_id, metavar="ID", help="only those of this campaign")
    newest.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default 50)")
    show = _command(outbox, "show", _show_message, "print a message's life, as one timeline")
    show.add_argument("message_id", metavar="MESSAGE_ID")
    show.add_argument("--reason", default="geoservice messages show", help="put on record as the reason for looking")
    again = _command(outbox, "requeue", _requeue_message, "decide anew about a message that certainly did not go out")
    again.add_argument("message_id", metavar="MESSAGE_ID")

    simulate = _command(commands, "simulate", _simulate, "replay a campaign over the last days; sends nothing")
    simulate.add_argument("file", type=Path, metavar="FILE", help="the campaign as it would be put, in JSON")
    simulate.add_argument("--days", type=_positive, default=7, metavar="N", help="how many days back (default 7)")
    simulate.add_argument("--id", default="draft", metavar="ID", help="replay it in place of this campaign")
    simulate.add_argument("--json", action="store_true", help="print one JSON object")

    bench = _command(commands, "bench", _bench, "measure, each figure as a ratio within one run")
    bench.add_argument(
        "what",
        nargs="*",
        help="ingest, delivery, latency, processes, presence, match, overlap, memory, soak (all but the last two)",
    )
    bench.add_argument("--minutes", type=float, metavar="N", help="how long memory (5) and soak (10) take")
    bench.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], help_: str) -> Any:
    parser = commands.add_parser(name, help=help_, description=help_)
    parser.set_defaults(run=run)
    return parser


def _publishing(parser: argparse.ArgumentParser) -> None:
    """Add what every publication of files can be told."""
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument("--confirm-removed", type=int, metavar="N", help="so many removals are meant")
    _mending(parser)


def _mending(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--make-valid", action="store_true", help="close rings, mend outlines that cross themselves")


def _id(text: str) -> str:
    try:
        return msgspec.convert(text, Id)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError("1 to 128 characters from A-Za-z0-9._:-") from None


def _customer_id(text: str) -> str:
    try:
        return msgspec.convert(text, CustomerId)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError("customer ids have 1 to 128 characters from A-Za-z0-9._:-|@") from None


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 64:
        raise argparse.ArgumentTypeError("a number from 1 to 64")
    return number


def _settings() -> Settings:
    return load_settings(os.environ)


def _print_problem(error: RequestError) -> None:
    _err.print(f"[red]✗[/] {error.detail}", soft_wrap=True)
    for detail in error.details:
        feature = f"{detail.feature}: " if detail.feature else ""
        _err.print(f"  {feature}[bold]{detail.path}[/] {detail.message} [dim]({detail.code})[/]", soft_wrap=True)


# Running the service ----------------------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace) -> int:
    settings = _settings()
    if arguments.host is not None or arguments.port is not None:
        # Through the same checks as the environment's values.
        overrides = {"GEOSERVICE_HOST": arguments.host, "GEOSERVICE_PORT": arguments.port}
        given = {name: str(value) for name, value in overrides.items() if value is not None}
        settings = load_settings({**os.environ, **given})
    configure_logs(settings.log_format)
    if arguments.processes > 1:
        return uvloop.run(_run_fleet(settings, arguments.processes))
    return uvloop.run(run_until_told(settings, share_port=arguments.share_port))


def _told() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return told


async def _run_fleet(settings: Settings, count: int) -> int:
    from geoservice.fleet import Fleet  # noqa: PLC0415 - brings the migrations with it

    told = _told()
    async with Fleet(settings, count) as fleet:
        _out.print(f"geoservice {__version__} serves {fleet.url} with {count} processes", soft_wrap=True)
        await told.wait()
    return 0


async def run_until_told(settings: Settings, *, share_port: bool = False) -> int:
    """Serve until SIGTERM or SIGINT, or until something broke that a new start may mend."""
    from geoservice.app import App  # noqa: PLC0415 - the other commands start three times as fast without it

    told = _told()
    async with App(settings, share_port=share_port) as app:
        # What is loaded stays: the collector need not look at it again and again while pings come and go.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_AFTER, 20, 50)
        # A thread that indexes geofences lets the event loop in this often, not every 5 ms.
        sys.setswitchinterval(SWITCH_S)
        _out.print(f"geoservice {__version__} serves {app.url}", soft_wrap=True)
        waits = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(app.failed.wait())]
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        return _FAILED if app.failed.is_set() else 0


def _demo(arguments: argparse.Namespace) -> int:
    from geoservice.demo.run import run_demo  # noqa: PLC0415 - the story is not needed to serve

    return run_demo(once=arguments.once, as_json=arguments.json)


def _bench(arguments: argparse.Namespace) -> int:
    from geoservice.bench.run import BY_DEFAULT, run_benchmarks  # noqa: PLC0415 - neither are the benchmarks

    return run_benchmarks(arguments.what or BY_DEFAULT, minutes=arguments.minutes, as_json=arguments.json)


# Beside the service -----------------------------------------------------------------------------------------


async def _dsn(settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url
    dsn = await asyncio.to_thread(attach, settings.data_dir)
    if dsn is None:
        raise NotReady(
            f"No service runs in {settings.data_dir}: start `geoservice serve` first, or set GEOSERVICE_DATABASE_URL."
        )
    return dsn


def _with_database(work: Callable[[Database], Awaitable[int | None]]) -> int:
    async def run() -> int:
        dsn = await _dsn(_settings())
        pool = await open_pool(dsn, size=2, application="geoservice cli")
        async with pool:
            ACTING.set(Acting("cli", None, SystemClock().now()))
            return await work(Database(pool, dsn)) or 0

    return uvloop.run(run())


def _migrate(_: argparse.Namespace) -> None:
    async def run() -> None:
        await _migrate_to_head(await _dsn(_settings()))

    uvloop.run(run())
    _out.print("[green]✓[/] the database has this version's tables")


async def _migrate_to_head(dsn: str) -> None:
    from geoservice.storage.migrate import migrate  # noqa: PLC0415 - the other commands do not need Alembic

    await migrate(dsn)


def _config(_: argparse.Namespace) -> None:
    for setting, value in shown(_settings()):
        _out.print(f"[bold]{setting.name}[/] = {value}", soft_wrap=True)


def _restore_check(arguments: argparse.Namespace) -> None:
    settings = _settings()
    journals = [Journal.kept_in(folder) for folder in arguments.journal or [settings.journal_dir]]

    async def run() -> restore.Report:
        async with AsyncExitStack() as stack:
            dsn = settings.database_url
            if dsn is None:  # no service may run, so nobody else has started the database
                server = EmbeddedPostgres(settings.data_dir)
                stack.push_async_callback(server.stop)
                dsn = await server.start()
                await _migrate_to_head(dsn)
            pool = await stack.enter_async_context(await open_pool(dsn, size=2, application="geoservice cli"))
            return await restore.restore_check(Database(pool, dsn), journals, SystemClock().now())

    report = uvloop.run(run())
    for name, count in dataclasses.asdict(report).items():
        _out.print(f"  {count:>6} {name.replace('_', ' ')}")
    _out.print("[green]✓[/] the database can be served")


def _create_key(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        key_id, key = await operating.create_key(database, arguments.name, Role(arguments.role), SystemClock().now())
        _err.print(f"[green]✓[/] key {key_id} for {arguments.name}, role {arguments.role}; shown only now:")
        print(key)  # noqa: T201 - alone on standard output, for scripts

    return _with_database(work)


def _list_keys(_: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        table = Table("key", "name", "role", "created", "last used", "revoked", box=None, pad_edge=False)
        for row in await operating.keys(database):
            instants = (f"{at:%Y-%m-%d %H:%M}" if at else "" for at in tuple(row)[3:])
            table.add_row(row["key_id"], row["name"], row["role"], *instants)
        _out.print(table)

    return _with_database(work)


def _revoke_key(arguments: argparse.Namespace) -> int:
    journal = Journal(_settings().journal_dir)

    async def work(database: Database) -> None:
        name = await operating.revoke_key(database, journal, arguments.key_id, SystemClock().now())
        _out.print(f"[green]✓[/] the key of {name} is revoked")

    return _with_database(work)


def _token(arguments: argparse.Namespace) -> None:
    settings = _settings()
    if settings.jwks_url is not None:
        raise SettingsError(["Tokens come from your identity provider: GEOSERVICE_JWKS_URL is set."])
    tokens = CustomerTokens(
        jwt_secret(settings.jwt_secret, settings.data_dir),
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
    )
    print(tokens.sign(arguments.customer, arguments.ttl_s))  # noqa: T201 - for scripts


def _explain(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> int:
        row = await operating.decision(database, arguments.decision_id)
        if row is None:
            _err.print("[red]✗[/] There is no such decision.")
            return _FAILED
        actor = operating.Actor("cli", frozenset(Role))
        await operating.audit(
            database,
            actor,
            "read decision",
            SystemClock().now(),
            customer_id=row["customer_id"],
            subject=arguments.decision_id,
            reason=arguments.reason,
        )
        print_decision(_out, row)
        return 0

    return _with_database(work)


# Messages ---------------------------------------------------------------------------------------------------


def _list_messages(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        state = MessageState(arguments.state) if arguments.state else None
        rows = await messages.newest(database, state=state, campaign_id=arguments.campaign, limit=arguments.limit)
        print_messages(_out, rows)

    return _with_database(work)


def _show_message(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        row = await messages.by_id(database, arguments.message_id)
        await operating.audit(
            database,
            operating.Actor("cli", frozenset(Role)),
            "read message",
            SystemClock().now(),
            customer_id=row["customer_id"],
            subject=arguments.message_id,
            reason=arguments.reason,
        )
        print_message(_out, row, messages.timeline(row))

    return _with_database(work)


def _requeue_message(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        at = SystemClock().now()
        await messages.requeue(database, arguments.message_id, at)
        actor = operating.Actor("cli", frozenset(Role))
        await operating.audit(database, actor, "requeue message", at, subject=arguments.message_id)
        _out.print("[green]✓[/] its campaign decides again now; this message stays as it is, a new one may follow")

    return _with_database(work)


def _simulate(arguments: argparse.Namespace) -> int:
    from geoservice.app import retailer_of  # noqa: PLC0415 - the other commands need none of it

    spec = _campaign(arguments.file)

    async def work(database: Database) -> None:
        directory = Directory(database, retailer_of(_settings()), SystemClock())
        await directory.reload()
        until = SystemClock().now()
        report = await simulate(
            database,
            directory.snapshot,
            arguments.id,
            spec,
            since=until - timedelta(days=arguments.days),
            until=until,
            limit_s=SIMULATE_S,
        )
        if arguments.json:
            print(orjson.dumps(report.jsonable(), option=orjson.OPT_UTC_Z).decode())  # noqa: T201 - for scripts
        else:
            print_simulation(_out, report.jsonable())

    return _with_database(work)


def _campaign(file: Path) -> CampaignSpec:
    """Read a campaign's body; raises SettingsError for a file that cannot be read, Invalid for one that is wrong."""
    try:
        body = orjson.loads(file.read_bytes())
        return msgspec.convert(body, CampaignSpec)
    except OSError as error:
        raise SettingsError([f"{file} cannot be read: {error.strerror}."]) from None
    except orjson.JSONDecodeError as error:
        raise SettingsError([f"{file} is not JSON: {error}."]) from None
    except msgspec.ValidationError as error:
        raise SettingsError([f"{file} is no campaign: {error}."]) from None


# Geofences --------------------------------------------------------------------------------------------------


def _stores_of_running_service() -> dict[str, Store] | None:
    async def run() -> dict[str, Store]:
        dsn = await _dsn(_settings())
        async with (
            await open_pool(dsn, size=1, application="geoservice cli") as pool,
            pool.acquire() as connection,
        ):
            return await load_stores(connection)

    try:
        return uvloop.run(run())
    except NotReady:
        return None


def _check_geofences(arguments: argparse.Namespace) -> int:
    document = read_files(arguments.files)
    stores = _stores_of_running_service()
    parsed = geofences.check_geofences(document, stores, make_valid=arguments.make_valid)
    geofences.refuse_errors(parsed)
    if stores is None:
        _out.print("[yellow]![/] no service runs here, so store ids and distances were not checked")
    _print_warnings(parsed.warnings)
    count = len(parsed.fences)
    _out.print(f"[green]✓[/] {count} geofence{'s' if count != 1 else ''}, no errors")
    return 0


def _import_geofences(arguments: argparse.Namespace) -> int:
    return _publish(arguments, read_files(arguments.files), mode=arguments.mode)


def _sync_geofences(arguments: argparse.Namespace) -> int:
    return _publish(arguments, read_folder(arguments.folder), mode="replace", managed_by=arguments.name)


def _publish(
    arguments: argparse.Namespace, document: Document, *, mode: geofences.Mode, managed_by: str | None = None
) -> int:
    upload = geofences.Upload(
        document,
        mode,
        make_valid=arguments.make_valid,
        dry_run=arguments.dry_run,
        confirm_removed=arguments.confirm_removed,
        managed_by=managed_by,
    )

    async def work(database: Database) -> None:
        report = await geofences.publish(database, upload, "cli", SystemClock().now())
        counts = report.jsonable()
        would = "would be " if arguments.dry_run else ""
        for kind in ("created", "changed", "unchanged", "removed"):
            _out.print(f"  {counts[kind]:>6} {would if kind != 'unchanged' else ''}{kind}")
        _print_warnings(report.warnings)
        _out.print("[green]✓[/] " + ("nothing was changed" if arguments.dry_run else f"version {report.version}"))

    return _with_database(work)


def _print_warnings(warnings: Sequence[ErrorDetail]) -> None:
    for warning in warnings:
        where = warning.feature or warning.path
        _out.print(f"[yellow]![/] {where}: {warning.message} [dim]({warning.code})[/]", soft_wrap=True)


def _export_geofences(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        async with database.connection() as connection:
            fences = await load_geofences(connection)
        # A line each, in the order of their ids, so that a history of the file shows what changed.
        lines = b",\n".join(orjson.dumps(to_feature(fence)) for fence in fences)
        document = b'{"type": "FeatureCollection", "features": [\n' + lines + b"\n]}\n"
        if arguments.output is None:
            sys.stdout.write(document.decode())
        else:
            arguments.output.write_bytes(document)
            _out.print(f"[green]✓[/] {len(fences)} geofences", soft_wrap=True)

    return _with_database(work)
