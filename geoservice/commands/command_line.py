"""What the commands share: how one is added, what its arguments may be, where it prints."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.markup import escape

from geoservice.config import Settings, load_settings
from geoservice.errors import ErrorDetail, RequestError
from geoservice.vocabulary import CustomerId, Id

FAILED: Final = 1
USAGE: Final = 2
LINE_MAX: Final = 200
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def command(commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], help_: str) -> Any:
    """Add a command, and give its parser."""
    parser = commands.add_parser(name, help=help_, description=help_)
    parser.set_defaults(run=run)
    return parser


def group(commands: Any, name: str, help_: str) -> Any:
    """Add a word that commands stand behind."""
    return commands.add_parser(name, help=help_).add_subparsers(required=True, metavar="COMMAND")


def an_id(text: str) -> str:
    """Read an id."""
    try:
        return msgspec.convert(text, Id)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError("1 to 128 characters from A-Za-z0-9._:-") from None


def a_customer_id(text: str) -> str:
    """Read a customer's id."""
    try:
        return msgspec.convert(text, CustomerId)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError("customer ids have 1 to 128 characters from A-Za-z0-9._:-|@") from None


def a_number(low: int, high: int) -> Callable[[str], int]:
    """Read a whole number from ``low`` to ``high``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"a number from {low:,} to {high:,}")
        return number

    return read


def a_line(text: str) -> str:
    """Read what is put on record: a name, or a reason."""
    line = text.strip()
    if not line.isprintable() or not 1 <= len(line) <= LINE_MAX:
        raise argparse.ArgumentTypeError(f"1 to {LINE_MAX} characters, on one line")
    return line


def settings_in_force() -> Settings:
    """Read the environment; raises SettingsError."""
    return load_settings(os.environ)


def print_problem(error: RequestError) -> None:
    """Say what is wrong, and where."""
    err.print(f"[red]✗[/] {escape(error.detail)}", soft_wrap=True)
    for detail in error.details:
        feature = f"{detail.feature}: " if detail.feature else ""
        err.print(
            f"  {escape(feature)}[bold]{escape(detail.path)}[/] {escape(detail.message)} [dim]({detail.code})[/]",
            soft_wrap=True,
        )


def print_warnings(warnings: Sequence[ErrorDetail]) -> None:
    """Say what is odd, and where."""
    for warning in warnings:
        where = warning.feature or warning.path
        out.print(f"[yellow]![/] {escape(where)}: {escape(warning.message)} [dim]({warning.code})[/]", soft_wrap=True)
