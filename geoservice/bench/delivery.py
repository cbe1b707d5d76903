"""Messages a second from the claim over HTTP to the completion, beside what firebase-admin's own sender does."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

import orjson

from geoservice.bench import crowd
from geoservice.bench.outbox import PROVIDER_DELAY_S, Outbox, open_outbox, quantile_ms, walk_in

ALL_DONE_S: Final = 300.0
_OPEN: Final = "select count(*) from messages where channel = $1 and state in ('pending', 'retry_wait')"
_TIMES: Final = """
select count(*) filter (where state = 'accepted') as accepted,
       extract(epoch from max(accepted_at) - min(sending_at)) as seconds
from messages where customer_id = any($1)
"""


async def measure(*, messages: int = 20_000, firebase_messages: int = 5_000) -> dict[str, Any]:
    """Let the sender empty a full outbox, then let firebase-admin send to the same stand-in; see the keys for units."""
    async with open_outbox() as outbox:
        await outbox.answer_with({"kind": "accept", "delay_s": PROVIDER_DELAY_S, "times": None})
        await outbox.people(["walker", "warm-up"])
        await walk_in(outbox, "walker")
        names = [f"customer-{n}" for n in range(messages)]
        await outbox.people(names)
        await outbox.database.execute("vacuum analyze")
        await crowd.address(outbox.database, "walker", names)
        cpu, lag = outbox.service.cpu_seconds(), await outbox.lag_buckets()
        seconds = await _emptied(outbox, names)
        cpu_now, lag_now = outbox.service.cpu_seconds(), await outbox.lag_buckets()
        counts = await outbox.provider_counts()
        firebase = await _firebase(outbox, firebase_messages)
    per_s = messages / seconds
    return {
        "messages": messages,
        "provider_delay_ms": round(PROVIDER_DELAY_S * 1000),
        "messages_per_s": round(per_s),
        "firebase_admin_per_s": round(firebase["per_s"]),
        "times_firebase_admin": round(per_s / firebase["per_s"], 1),
        "service_cpu_us": round((cpu_now["service"] - cpu["service"]) / messages * 1e6),
        "postgresql_cpu_us": round((cpu_now["postgresql"] - cpu["postgresql"]) / messages * 1e6),
        "firebase_admin_cpu_us": round(firebase["cpu_s"] * 1e6),
        "loop_lag_p99_ms": round(quantile_ms(0.99, lag, lag_now), 1),
        "in_flight_peak": counts["in_flight_peak"],
        "accepted_twice": counts["accepted"] - counts["messages"],
    }


async def _emptied(outbox: Outbox, names: list[str]) -> float:
    """Wait until all were accepted; seconds from the first beginning to the last completion.

    While there is a queue only its index is asked how long it is: looking at every message would be much of the load.
    """
    await outbox.until(_OPEN, "push", holds=lambda row: row["count"] == 0, timeout_s=ALL_DONE_S)
    row = await outbox.until(_TIMES, names, holds=lambda row: row["accepted"] == len(names), timeout_s=ALL_DONE_S)
    return float(row["seconds"])


async def _firebase(outbox: Outbox, count: int) -> dict[str, float]:
    command = [
        sys.executable, "-m", "geoservice.bench.firebase_sender",
        outbox.provider.url, str(outbox.credentials), str(count),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("firebase-admin could not send")
    figures: dict[str, float] = orjson.loads(said)
    return figures
