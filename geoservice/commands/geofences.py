"""Geofences in files: check, publish, keep in step, print."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import uvloop

from geoservice.clock import SystemClock
from geoservice.commands.command_line import an_id, command, group, out, print_warnings, settings_in_force
from geoservice.commands.database import dsn_in_force, with_database
from geoservice.errors import NotReady
from geoservice.geofence_files import read_files, read_folder
from geoservice.geofencing.uploads.documents import Document
from geoservice.storage.database import Database, open_pool
from geoservice.workflows import geofences
from geoservice.workflows.directory import Store, load_geofences, load_stores


def add_to(commands: Any) -> None:
    """Add the commands of this file."""
    catalogue = group(commands, "geofences", "check and publish geofences")
    check = command(catalogue, "check", _check_geofences, "read GeoJSON and CSV files and say what is wrong in them")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _mending(check)
    load = command(catalogue, "import", _import_geofences, "publish GeoJSON and CSV files, all or nothing")
    load.add_argument("files", nargs="+", type=Path, metavar="FILE")
    load.add_argument("--mode", choices=["merge", "replace"], default="merge", help="replace removes all others")
    _publishing(load)
    sync = command(catalogue, "sync", _sync_geofences, "publish a folder; what it held once and lacks now is removed")
    sync.add_argument("folder", type=Path, metavar="FOLDER")
    sync.add_argument("--name", default="sync", type=an_id, help="tells the geofences of several folders apart")
    _publishing(sync)
    export = command(catalogue, "export", _export_geofences, "print all geofences as GeoJSON, a line each")
    export.add_argument("--output", type=Path, metavar="FILE", help="write there instead")


def _publishing(parser: argparse.ArgumentParser) -> None:
    """Add what every publication of files can be told."""
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument("--confirm-removed", type=int, metavar="N", help="so many removals are meant")
    _mending(parser)


def _mending(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--make-valid", action="store_true", help="close rings, mend outlines that cross themselves")


def _stores_of_running_service() -> dict[str, Store] | None:
    async def run() -> dict[str, Store]:
        dsn = await dsn_in_force(settings_in_force())
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
        out.print("[yellow]![/] no service runs here, so store ids and distances were not checked")
    print_warnings(parsed.warnings)
    count = len(parsed.fences)
    out.print(f"[green]✓[/] {count} geofence{'s' if count != 1 else ''}, no errors")
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
        jurisdiction=settings_in_force().sensitive_jurisdiction,
    )

    async def work(database: Database) -> None:
        report = await geofences.publish(database, upload, "cli", SystemClock().now())
        counts = report.jsonable()
        would = "would be " if arguments.dry_run else ""
        for kind in ("created", "changed", "unchanged", "removed"):
            out.print(f"  {counts[kind]:>6} {would if kind != 'unchanged' else ''}{kind}")
        print_warnings(report.warnings)
        out.print("[green]✓[/] " + ("nothing was changed" if arguments.dry_run else f"version {report.version}"))

    return with_database(work)


def _export_geofences(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        async with database.connection() as connection:
            fences = await load_geofences(connection)
        document = geofences.write_collection(fences)
        if arguments.output is None:
            sys.stdout.write(document.decode())
        else:
            arguments.output.write_bytes(document)
            out.print(f"[green]✓[/] {len(fences)} geofences", soft_wrap=True)

    return with_database(work)
