"""The ``geoservice`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from rich.markup import escape

from geoservice import __version__
from geoservice.commands.command_line import FAILED, USAGE, err, print_problem
from geoservice.errors import GeoserviceError, RequestError, SettingsError
from geoservice.telemetry.logs import trace_of

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "running": ("serve", "demo", "bench"),
    "database": ("migrate", "config", "restore-check"),
    "geofences": ("geofences",),
    "access": ("keys", "token"),
    "customers": ("customers",),
    "messages": ("explain", "messages"),
    "simulation": ("simulate",),
}
"""The files in ``commands/``, and the first words of what each adds; only the one that is called for is loaded."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit codes: 0 done, 1 it says what is wrong, 2 the command line or settings are."""
    sys.excepthook = lambda *error: err.print(trace_of(error), markup=False, highlight=False)
    given = sys.argv[1:] if arguments is None else arguments
    parsed = _parser(given[0] if given else None).parse_args(given)
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
    except BrokenPipeError:  # whoever read has gone; by now all is stopped
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser(first: str | None = None) -> argparse.ArgumentParser:
    """Know the commands of the kind that the ``first`` word belongs to, or all."""
    parser = argparse.ArgumentParser(
        prog="geoservice", description="Location-triggered push notifications: helpful, or silent."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for kind in [kind for kind, words in KINDS.items() if first in words] or KINDS:
        import_module(f"geoservice.commands.{kind}").add_to(commands)
    return parser
