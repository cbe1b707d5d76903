"""Decisions and messages as a person reads them: the outcome, the reason, every check; a life as a timeline."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from geoservice.decisions.reasons import REASONS, Reason, ReasonText


def print_decision(console: Console, row: Mapping[str, Any], to_her: str | None) -> None:
    """Print one row of ``decisions`` joined with its message; the sentence ``to_her`` is in her language."""
    sent = row["outcome"] == "send"
    mark = "[green]✓ sent[/]" if sent else f"[yellow]– {row['outcome']}[/]"
    console.print(
        f"{mark} · campaign [bold]{row['campaign_id']}[/] v{row['campaign_version']} · {row['at']:%Y-%m-%d %H:%M:%S %Z}"
    )
    console.print(f"  at {row['geofence_id']}" + (f", store {row['store_id']}" if row["store_id"] else ""))
    if row["reason"]:
        text = _text(row["reason"])
        console.print(f"  [bold]{row['reason']}[/]: {text.ops if text else _UNKNOWN}", soft_wrap=True)
        if text:
            console.print(f"  [dim]to the customer:[/] {to_her or text.customer}", soft_wrap=True)
    console.print()
    for check in row["checks"]:
        console.print(check_line(check), soft_wrap=True)
    if row["payload"]:
        console.print()
        title, body = escape(row["payload"]["title"]), escape(row["payload"]["body"])
        console.print(f"  [bold]{title}[/]\n  {body}", soft_wrap=True)
        console.print(f"  [dim]why:[/] {escape(row['why']['summary'])}", soft_wrap=True)
        console.print(f"  [dim]message[/] {row['message_id']} [dim]is[/] {row['message_state']}")


class Step(Protocol):
    """One line of a message's life."""

    @property
    def at(self) -> datetime:
        """When."""
        ...

    @property
    def what(self) -> str:
        """Decided, a state, or an event."""
        ...

    @property
    def detail(self) -> str | None:
        """Why, as a code."""
        ...


def print_lines(console: Console, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, a line each: however narrow the terminal, an id in it can be copied whole."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for n, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        console.print(escape(text), style="bold" if n == 0 else None, soft_wrap=True)


def print_messages(console: Console, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print messages as a table, of nobody by name."""
    print_lines(
        console,
        ("message", "campaign", "channel", "state", "why", "tries", "decided"),
        (
            (
                row["message_id"],
                row["campaign_id"],
                row["channel"],
                row["state"],
                row["failure"] or "",
                str(row["attempts"]),
                f"{row['reserved_at']:%Y-%m-%d %H:%M:%S}",
            )
            for row in rows
        ),
    )


def print_message(console: Console, row: Mapping[str, Any], steps: Iterable[Step]) -> None:
    """Print one message with its life, oldest first."""
    console.print(
        f"[bold]{row['message_id']}[/] · campaign [bold]{row['campaign_id']}[/] · {row['channel']} · {row['state']}"
    )
    console.print(f"  [bold]{escape(row['payload']['title'])}[/]\n  {escape(row['payload']['body'])}", soft_wrap=True)
    console.print(f"  [dim]why:[/] {escape(row['why'].get('summary', ''))}", soft_wrap=True)
    console.print()
    for step in steps:
        detail = f" [dim]{step.detail}[/]" if step.detail else ""
        console.print(f"  {step.at:%Y-%m-%d %H:%M:%S.%f} [bold]{step.what}[/]{detail}", soft_wrap=True)
    console.print()
    console.print(f"  [dim]ends[/] {row['expires_at']:%Y-%m-%d %H:%M:%S} [dim]tries[/] {row['attempts']}")
    console.print(f"  [dim]provider's id[/] {row['provider_message_id'] or '-'}", soft_wrap=True)
    console.print(f"  [dim]decision[/] {row['decision_id']} [dim](geoservice explain says why)[/]")


def check_line(check: Mapping[str, Any]) -> str:
    """Write one check: passed or not, the gate, the reason, the facts used in words."""
    mark = "[green]✓[/]" if check["passed"] else "[red]✗[/]"
    reason = "" if check["passed"] else f" [bold]{check['reason']}[/]"
    facts = " · ".join(f"{_word(key)} {_value(value)}" for key, value in check["facts"].items() if _says(value))
    return f"  {mark} {check['gate']:<15}{reason} [dim]{escape(facts)}[/]"


def _says(value: object) -> bool:
    return value is not None and value is not False and value not in ([], {}, "")


def _word(key: str) -> str:
    return key.replace("_", " ")


def _value(value: object) -> str:
    """A fact as one would say it: instants to the minute, lists and records without brackets."""
    if value is True:
        return "yes"
    if isinstance(value, Mapping):
        return ", ".join(f"{_word(key)} {_value(each)}" for key, each in value.items() if _says(each))
    if isinstance(value, list):
        return "; ".join(map(_value, value))
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, str) and _INSTANT.match(value):
        return f"{value[:10]} {value[11:16]}"
    return str(value)


_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:")
_UNKNOWN = "a reason of another version of this service"


def _text(code: str) -> ReasonText | None:
    return REASONS[Reason(code)] if code in set(Reason) else None


def print_simulation(console: Console, report: Mapping[str, Any]) -> None:
    """Print what a replay came to: totals, days, reasons, examples."""
    moments = report["sent"] + sum(report["suppressed"].values())
    console.print(f"{report['customers']} customers, {moments} moments: [bold]{report['sent']} sent[/], nothing really")
    if report["waiting"]:
        console.print(f"{report['waiting']} still wait for their time")
    if not report["complete"]:
        console.print("[yellow]![/] the time limit was reached: these are the first customers only")
    table = Table("day", "sent", "suppressed", box=None, pad_edge=False)
    for day in report["by_day"]:
        table.add_row(day["day"], str(day["sent"]), str(sum(day["suppressed"].values())))
    console.print(table)
    for reason, number in report["suppressed"].items():
        text = _text(reason)
        console.print(f"  {number:>6} [bold]{reason}[/]: {text.ops if text else _UNKNOWN}", soft_wrap=True)
    for example in report["examples"]:
        if "title" in example:
            title, body = escape(example["title"]), escape(example["body"])
            console.print(f"  {example['at']:%Y-%m-%d %H:%M %Z} at {example['geofence_id']}: {title} · {body}")
