"""A decision as a person reads it: the outcome, the reason, every check, and the message if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from geoservice.decisions.reasons import REASONS, Reason


def print_decision(console: Console, row: Mapping[str, Any]) -> None:
    """Print one row of ``decisions`` joined with its message."""
    sent = row["outcome"] == "send"
    mark = "[green]✓ sent[/]" if sent else f"[yellow]– {row['outcome']}[/]"
    console.print(
        f"{mark} · campaign [bold]{row['campaign_id']}[/] v{row['campaign_version']} · {row['at']:%Y-%m-%d %H:%M:%S %Z}"
    )
    console.print(f"  at {row['geofence_id']}" + (f", store {row['store_id']}" if row["store_id"] else ""))
    if row["reason"]:
        console.print(f"  [bold]{row['reason']}[/]: {_sentence(row['reason'])}", soft_wrap=True)
    console.print()
    for check in row["checks"]:
        console.print(check_line(check), soft_wrap=True)
    if row["payload"]:
        console.print()
        console.print(f"  [bold]{row['payload']['title']}[/]\n  {row['payload']['body']}", soft_wrap=True)
        console.print(f"  [dim]why:[/] {row['why']['summary']}", soft_wrap=True)
        console.print(f"  [dim]message[/] {row['message_id']} [dim]is[/] {row['message_state']}")


def check_line(check: Mapping[str, Any]) -> str:
    """Write one check: passed or not, the gate, the reason, the facts used."""
    mark = "[green]✓[/]" if check["passed"] else "[red]✗[/]"
    reason = "" if check["passed"] else f" [bold]{check['reason']}[/]"
    facts = ", ".join(f"{key}={value}" for key, value in check["facts"].items() if value not in (None, [], {}))
    return f"  {mark} {check['gate']:<15}{reason} [dim]{facts}[/]"


def _sentence(code: str) -> str:
    try:
        return REASONS[Reason(code)].ops
    except ValueError:
        return "a reason of another version of this service"
