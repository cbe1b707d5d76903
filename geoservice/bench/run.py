"""``geoservice bench``: choose, run, print."""

from __future__ import annotations

import os
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import uvloop
from rich.console import Console

from geoservice.bench import (
    console,
    deciding,
    delivery,
    ingest,
    latency,
    live,
    matching,
    memory,
    overlap,
    presence,
    publish,
    soak,
    trust,
)
from geoservice.errors import SettingsError

BENCHMARKS: Final[Mapping[str, Callable[..., Awaitable[dict[str, Any]]]]] = {
    "ingest": ingest.measure,
    "decide": deciding.measure,
    "delivery": delivery.measure,
    "latency": latency.measure,
    "live": live.measure,
    "presence": presence.measure,
    "match": matching.measure,
    "overlap": overlap.measure,
    "publish": publish.measure,
    "memory": memory.measure,
    "soak": soak.measure,
    "trust": trust.measure,
    "console": console.measure,
}
BY_DEFAULT: Final = (
    "ingest",
    "decide",
    "delivery",
    "latency",
    "live",
    "presence",
    "match",
    "overlap",
    "publish",
    "trust",
)
"""Those that take a minute or two, not five or ten."""

GOALS: Final = {
    ("ingest", "single_pings_share_of_empty"): 0.3,
    ("ingest", "batched_pings_per_s"): 50_000,
    ("ingest", "batched_pings_of_two_processes_per_s"): 50_000,
    ("delivery", "messages_per_s"): 1_000,
    ("delivery", "times_firebase_admin"): 3,
    ("live", "decisions_per_s"): 100,
    ("presence", "walk_noticed_pct"): 95,
    ("overlap", "fixes_per_s"): 25_000,
    ("decide", "decided_and_committed_per_s"): 1_500,
    ("decide", "share_beside_1000_others"): 0.9,
}
"""What the figure should at least be."""

LIMITS: Final = {
    ("decide", "decide_20_campaigns_us"): 100,
    ("delivery", "loop_lag_p99_ms"): 20,
    ("delivery", "accepted_twice"): 0,
    ("ingest", "single_pings_p99_ms"): 40,
    ("latency", "ping_to_push_p99_ms"): 300,
    ("latency", "loop_lag_p99_ms"): 20,
    ("live", "missed"): 0,
    ("live", "told_twice"): 0,
    ("live", "seen_after_p99_ms"): 1_000,
    ("memory", "rss_slope_mb_per_minute"): 1,
    ("console", "few_usable_ms"): 2_000,
    ("console", "many_usable_ms"): 2_000,
    ("trust", "token_warm_us"): 30,
    ("trust", "checks_share_of_a_ping_pct"): 10,
    ("trust", "export_rss_growth_mb"): 20,
    ("publish", "published_to_matched_max_ms"): 1_000,
    ("publish", "pings_slowest_ms"): 50,
    ("presence", "false_enter_1h_pct"): 20,
    ("presence", "false_dwell_5min_pct"): 8,
    ("presence", "enter_delay_median_s"): 30,
    ("presence", "exit_delay_p90_s"): 90,
    ("presence", "visit_split_pct"): 3,
    ("match", "match_1000_us"): 1,
    ("match", "match_10000_us"): 1,
    ("match", "match_100000_us"): 2,
    ("match", "match_1000000_us"): 4,
    ("match", "match_last_to_first"): 5,
    ("match", "near_step_us"): 10,
    ("match", "load_100000_s"): 5,
    ("match", "load_bytes_a_fence"): 2_048,
}
"""What the figure should at most be."""


def run_benchmarks(names: Sequence[str], *, minutes: float | None, as_json: bool) -> int:
    """Run the named benchmarks one after the other and print their figures beside their goals."""
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise SettingsError([f"There is no benchmark {name}; there are: {', '.join(BENCHMARKS)}." for name in unknown])
    lengths = {name: {"minutes": minutes} for name in ("memory", "soak")} if minutes is not None else {}
    results = {name: uvloop.run(_run(BENCHMARKS[name], lengths.get(name, {}))) for name in names}
    if as_json:
        print(orjson.dumps({"machine": _machine(), "results": results}).decode())  # noqa: T201 - for scripts
    else:
        _print(results)
    return 0


async def _run(measure: Callable[..., Awaitable[dict[str, Any]]], options: Mapping[str, float]) -> dict[str, Any]:
    return await measure(**options)


def _machine() -> dict[str, Any]:
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
    }


def _verdict(name: str, key: str, value: Any) -> str:
    """The goal beside a figure that has one."""
    if (goal := GOALS.get((name, key))) is not None:
        return f"  [green]≥ {goal:,}[/]" if value >= goal else f"  [red]goal {goal:,}[/]"
    if (limit := LIMITS.get((name, key))) is not None:
        return f"  [green]≤ {limit:,}[/]" if value <= limit else f"  [red]limit {limit:,}[/]"
    return ""


def _print(results: Mapping[str, Mapping[str, Any]]) -> None:
    out = Console(highlight=False)
    for name, figures in results.items():
        out.print(f"[bold]{name}[/]")
        for key, value in figures.items():
            verdict = _verdict(name, key, value)
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else f"{value:,}"
            if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
                for part, split in value.items():
                    shares = ", ".join(f"{k} {v}" for k, v in split.items())
                    out.print(f"  {key}.{part:<12} {shares}", soft_wrap=True)
            else:
                out.print(f"  {key:<34}{text:>12}{verdict}", soft_wrap=True)
    out.print(f"[dim]{', '.join(f'{k} {v}' for k, v in _machine().items())}[/]", soft_wrap=True)
