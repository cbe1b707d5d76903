"""The ``geoservice`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.markup import escape

from geoservice import __version__
from geoservice.commands import access, customers, database, geofences, messages, running, simulation
from geoservice.commands.command_line import FAILED, USAGE, err, print_problem
from geoservice.errors import GeoserviceError, RequestError, SettingsError
from geoservice.telemetry.logs import trace_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit codes: 0 done, 1 it says what is wrong, 2 the command line or settings are."""
    sys.excepthook = lambda *error: err.print(trace_of(error), markup=False, highlight=False)
    parsed = _parser().parse_args(arguments)
    try:
        sys.exit(parsed.run(parsed) or 0)
    except SettingsError as error:
        for problem in error.problems:
            err.print(f"[red]✗[/] {escape(problem)}", soft_wrap=True)
        sys.exit(USAGE)
    except RequestError as error:
        print_problem(error)
        sys.exit(FAILED)
    except GeoserviceError as error:
        err.print(f"[red]✗[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="geoservice", description="Location-triggered push notifications: helpful, or silent."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for kind in (running, database, geofences, access, customers, messages, simulation):
        kind.add_to(commands)
    return parser
