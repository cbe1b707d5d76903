"""Minutes of ordinary life: people come and go, messages go out, the provider stumbles; what grows that should not."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from geoservice.bench.outbox import PROVIDER_DELAY_S, Outbox, come, open_outbox, quantile_ms
from geoservice.bench.processes import Server

ARRIVALS_PER_S: Final = 20
EVERY_S: Final = 900
"""So often each of them comes; who is back within ten minutes goes on with the same visit, and hears nothing."""
SAMPLES: Final = 40
STUMBLES: Final = {"unavailable": 0.05, "cut": 0.005, "html_ok": 0.005, "unregistered": 0.002}
"""The share of answers that are not well."""
_TABLES: Final = """
select relname as name, n_dead_tup as dead, pg_total_relation_size(relid) as bytes from pg_stat_user_tables
"""
_SHOWN: Final = (
    "minutes",
    "accepted",
    "rss_mb",
    "sockets",
    "files",
    "backends",
    "dead_tuples",
    "database_mb",
    "lag_ms",
)

Sample = dict[str, float]


async def measure(*, minutes: float = 10.0) -> dict[str, Any]:
    """Let them live for so long; a line every few seconds on standard error, slopes of the second half at the end."""
    out = Console(stderr=True, highlight=False)
    people = [f"customer-{n}" for n in range(round(min(EVERY_S, minutes * 60 + 60) * ARRIVALS_PER_S))]
    async with open_outbox(GEOSERVICE_DEFAULT_DAILY_CAP="100") as outbox:
        await outbox.people(people)
        life = [asyncio.create_task(_live(outbox, people)), asyncio.create_task(_stumble(outbox))]
        try:
            samples, tables = await _watch(outbox, minutes, out, life)
        finally:
            for task in life:
                task.cancel()
            await asyncio.gather(*life, return_exceptions=True)
        counts = await outbox.provider_counts()
    second_half = samples[len(samples) // 2 :]
    messages = samples[-1]["accepted"] - samples[0]["accepted"]
    return {
        "minutes": minutes,
        "messages": messages,
        "accepted_twice": counts["accepted"] - counts["messages"],
        "at_the_end": {name: samples[-1][name] for name in _SHOWN},
        "slopes_an_hour": {name: slope_an_hour(second_half, name) for name in _SHOWN[2:]},
        "dead_tuples_peak": max(sample["dead_tuples"] for sample in samples),
        "table_bytes_a_message": tables if messages else {},
    }


def slope_an_hour(samples: Sequence[Sample], name: str) -> float:
    """Least squares over the samples, as growth an hour."""
    hours = [sample["minutes"] / 60 for sample in samples]
    values = [sample[name] for sample in samples]
    mean_x, mean_y = sum(hours) / len(hours), sum(values) / len(values)
    spread = sum((x - mean_x) ** 2 for x in hours)
    if not spread:
        return 0.0
    return round(sum((x - mean_x) * (y - mean_y) for x, y in zip(hours, values, strict=True)) / spread, 2)


# Life ----------------------------------------------------------------------------------------------------------


async def _live(outbox: Outbox, people: Sequence[str]) -> None:
    """One after the other they come to the store, again and again, and were somewhere else before."""
    pause_s = 1 / ARRIVALS_PER_S
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    async with asyncio.TaskGroup() as visits:
        for customer_id in itertools.cycle(people):
            visits.create_task(come(outbox, customer_id))
            due_s += pause_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))


async def _stumble(outbox: Outbox) -> None:
    """Keep the stand-in's script filled with answers of which a few are not well."""
    rng = random.Random(10)  # noqa: S311 - the same accidents in every run
    while True:
        kinds = rng.choices([*STUMBLES, "accept"], [*STUMBLES.values(), 1 - sum(STUMBLES.values())], k=2_000)
        await outbox.answer_with(*({"kind": kind, "delay_s": PROVIDER_DELAY_S} for kind in kinds))
        await asyncio.sleep(30)


# Watching ------------------------------------------------------------------------------------------------------


async def _watch(
    outbox: Outbox, minutes: float, out: Console, life: Sequence[asyncio.Task[None]]
) -> tuple[list[Sample], dict[str, int]]:
    out.print(" ".join(f"{name:>12}" for name in _SHOWN), soft_wrap=True)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    samples: list[Sample] = []
    lag = await outbox.lag_buckets()
    sizes = await _sizes(outbox)
    while not samples or samples[-1]["minutes"] < minutes:
        done, _ = await asyncio.wait(life, timeout=minutes * 60 / SAMPLES)
        for task in done:
            task.result()
        lag_now = await outbox.lag_buckets()
        samples.append(
            {
                "minutes": round((loop.time() - began_s) / 60, 2),
                "lag_ms": round(quantile_ms(0.99, lag, lag_now), 1),
                **await _look(outbox),
            }
        )
        lag = lag_now
        out.print(" ".join(f"{samples[-1][name]:>12,}" for name in _SHOWN), soft_wrap=True)
    grown = {name: size - sizes.get(name, 0) for name, size in (await _sizes(outbox)).items()}
    messages = max(1.0, samples[-1]["accepted"])
    return samples, {name: round(size / messages) for name, size in grown.items() if size}


async def _look(outbox: Outbox) -> Sample:
    rows = await outbox.database.fetch(_TABLES)
    return {
        "accepted": (await outbox.provider_counts())["accepted"],
        "rss_mb": round(outbox.service.rss_mb(), 1),
        "sockets": sum(target.startswith("socket:") for target in _open_files(outbox.service)),
        "files": sum(1 for _ in _open_files(outbox.service)),
        "backends": await outbox.database.fetchval("select count(*) from pg_stat_activity where usename is not null"),
        "dead_tuples": sum(row["dead"] for row in rows),
        "database_mb": round(await outbox.database.fetchval("select pg_database_size(current_database())") / 1e6, 1),
    }


async def _sizes(outbox: Outbox) -> dict[str, int]:
    """Bytes of every table with its indexes."""
    return {row["name"]: row["bytes"] for row in await outbox.database.fetch(_TABLES)}


def _open_files(server: Server) -> Iterator[str]:
    """What the process has open (proc(5)); a file that closes meanwhile is left out."""
    for entry in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(OSError):
            yield str(entry.readlink())
