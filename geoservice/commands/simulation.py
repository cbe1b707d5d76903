"""A campaign, replayed over the last days."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from geoservice.clock import SystemClock
from geoservice.commands.command_line import a_number, command, out, settings_in_force
from geoservice.commands.database import with_database
from geoservice.decisions.campaigns import CampaignSpec
from geoservice.errors import SettingsError
from geoservice.storage.database import Database
from geoservice.telemetry.explain import print_simulation
from geoservice.workflows.directory import Directory
from geoservice.workflows.simulate import simulate

SIMULATE_S: Final = 300.0
"""How long ``geoservice simulate`` looks at most."""


def add_to(commands: Any) -> None:
    """Add the commands of this file."""
    replay = command(commands, "simulate", _simulate, "replay a campaign over the last days; sends nothing")
    replay.add_argument("file", type=Path, metavar="FILE", help="the campaign as it would be put, in JSON")
    replay.add_argument("--days", type=a_number(1, 90), default=7, metavar="N", help="how many days back (default 7)")
    replay.add_argument("--id", default="draft", metavar="ID", help="replay it in place of this campaign")
    replay.add_argument("--json", action="store_true", help="print one JSON object")


def _simulate(arguments: argparse.Namespace) -> int:
    from geoservice.app import retailer_of  # noqa: PLC0415 - the other commands need none of it

    spec = _campaign(arguments.file)

    async def work(database: Database) -> None:
        directory = Directory(database, retailer_of(settings_in_force()), SystemClock())
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
            print_simulation(out, report.jsonable())

    return with_database(work)


def _campaign(file: Path) -> CampaignSpec:
    """Read a campaign's body; raises SettingsError for a file that cannot be read, Invalid for one that is wrong."""
    from geoservice.api.campaigns import campaign_body  # noqa: PLC0415 - the other commands start faster without it

    try:
        return campaign_body.decode(file.read_bytes())
    except OSError as error:
        raise SettingsError([f"{file} cannot be read: {error.strerror}."]) from None
    except msgspec.ValidationError as error:
        raise SettingsError([f"{file} is no campaign: {error}."]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError([f"{file} is not JSON: {error}."]) from None
