"""What must hold after every fault, whatever it was."""

# ruff: noqa: D102 - the names of helpers say what they do

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from conftest import Client
    from fault_house import House

STATES = frozenset(
    {"pending", "claimed", "sending", "retry_wait", "accepted", "failed", "unknown", "expired", "cancelled"}
)
LAG_MAX_S = 0.05
FREEZE_S = 1.0
_BUCKET = re.compile(r'geoservice_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)')


@dataclass
class Found:
    """What became of the messages, for what a test wants to know beyond the rules."""

    states: Counter[str]
    accepted: Counter[str]
    """How often the provider took each message."""
    rows: list[Any] = field(repr=False)

    def of(self, customers: set[str]) -> Found:
        rows = [row for row in self.rows if row["customer_id"] in customers]
        ids = {row["message_id"] for row in rows}
        accepted = Counter({message_id: n for message_id, n in self.accepted.items() if message_id in ids})
        return Found(Counter(row["state"] for row in rows), accepted, rows)


async def verdict(house: House, customers: list[str], *, cap: int = 2, frozen: int = 0) -> Found:
    """Accepted ≤ cap, every message in one state, nothing pending past its expiry, well again without a restart.

    The rules hold for the whole house, the cap for these customers, of whom is what is returned. ``frozen`` is how
    often the test itself stopped a service.
    """
    await nothing_waits_past_its_end(house)
    everything = await look(house)
    every_message_is_in_one_state(everything)
    what_was_taken_is_known(everything)
    found = everything.of(set(customers))
    no_more_than_the_cap(found, cap)
    await well_again(house)
    for client in house.services:
        at_start = house.lag_at_start.get(client.app.pid, LoopLag())
        the_loop_lives(at_start, await loop_lag(client), frozen)
    return found


async def look(house: House) -> Found:
    rows = await house.sql(
        """select customer_id, message_id, state, in_doubt, resend, expires_at, attempts, claim_id, lease_until,
                  accepted_at, provider_message_id, finished_at, sending_at, not_before, failure from messages"""
    )
    accepted = Counter(push["message_id"] for push in await house.provider.accepted())
    return Found(Counter(row["state"] for row in rows), accepted, rows)


def every_message_is_in_one_state(found: Found) -> None:
    """The state says the same as the facts beside it."""
    for row in found.rows:
        state = row["state"]
        assert state in STATES, state
        assert (row["accepted_at"] is not None) == (state == "accepted"), dict(row)
        assert (row["provider_message_id"] is not None) == (state == "accepted"), dict(row)
        held = state in {"claimed", "sending"}
        assert (row["claim_id"] is not None) == held, dict(row)
        assert (row["lease_until"] is not None) == held, dict(row)
        ended = state in {"accepted", "failed", "expired", "cancelled"}
        assert row["finished_at"] is not None or not ended, dict(row)


def what_was_taken_is_known(found: Found) -> None:
    """The provider has what we call accepted; what else it has, we know to be in doubt; twice only what may be."""
    known = {row["message_id"]: row for row in found.rows}
    assert found.accepted.keys() <= known.keys(), "a push that no message stands for"
    called_accepted = {message_id for message_id, row in known.items() if row["state"] == "accepted"}
    assert called_accepted <= found.accepted.keys(), "accepted, says only the service"
    surprising = {
        message_id: known[message_id]["state"]
        for message_id in found.accepted.keys() - called_accepted
        if not known[message_id]["in_doubt"]
    }
    assert not surprising, f"taken, and the service does not know: {surprising}"
    twice = {message_id: n for message_id, n in found.accepted.items() if n > 1 and not known[message_id]["resend"]}
    assert not twice, f"accepted more than once: {twice}"


def no_more_than_the_cap(found: Found, cap: int) -> None:
    owner = {row["message_id"]: row["customer_id"] for row in found.rows}
    per_customer = Counter(owner[message_id] for message_id in found.accepted)
    over = {customer_id: count for customer_id, count in per_customer.items() if count > cap}
    assert not over, f"more than the cap of {cap}: {over}"


async def nothing_waits_past_its_end(house: House, timeout_s: float = 60) -> None:
    """A timer has a moment to look; then nothing is left that can be sent too late."""
    late = "select state, expires_at from messages where state = any($1) and expires_at <= $2"
    rows: list[Any] = []
    async with asyncio.timeout(timeout_s + 5):
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            rows = await house.sql(late, ["pending", "claimed", "retry_wait"], await house.now())
            if not rows:
                return
            await asyncio.sleep(0.1)
    raise AssertionError(f"waits past its end: {[dict(row) for row in rows]}")


async def well_again(house: House, timeout_s: float = 120) -> None:
    """Every service is ready, in the process that it was, and what happens now is sent."""
    for client in house.services:
        await client.app.until_ready(timeout_s)
        (canary,) = await house.crowd(1)
        await house.arrive([canary], through=client)
        state: Any = None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while state != "accepted":
                    rows = await house.sql("select state, failure from messages where customer_id = $1", canary)
                    state = rows[0]["state"] if rows else None
                    await asyncio.sleep(0.05)
        assert state == "accepted", f"not well again: a new message is {state}, {[dict(row) for row in rows]}"


# The event loop -----------------------------------------------------------------------------------------------------


def the_loop_lives(before: LoopLag, after: LoopLag, frozen_by_test: int) -> None:
    """Late by more than 50 ms at most one time in ten, but for what the process waited for a processor."""
    assert after.looks, "the service does not watch its event loop"
    looks = after.looks - before.looks
    late = after.late - before.late
    frozen = after.frozen - before.frozen
    waited_s = after.waited_s - before.waited_s
    assert late <= 3 + 0.1 * looks + waited_s / LAG_MAX_S, (late, looks, waited_s)
    assert frozen <= 1 + frozen_by_test + waited_s / FREEZE_S, (frozen, waited_s)


@dataclass(frozen=True)
class LoopLag:
    """Since the process began: looks at its event loop, those that came back late, and seconds without a processor."""

    looks: float = 0.0
    late: float = 0.0
    frozen: float = 0.0
    waited_s: float = 0.0


async def loop_lag(client: Client) -> LoopLag:
    async with aiohttp.ClientSession() as session, session.get(f"{client.app.url}/metrics") as answer:
        buckets = {float(le): float(count) for le, count in _BUCKET.findall(await answer.text())}
    looks = buckets[float("inf")]
    # What the main thread waited on a run queue, in nanoseconds (the kernel's sched-stats.rst).
    waited_s = int(Path(f"/proc/{client.app.pid}/schedstat").read_text().split()[1]) / 1e9
    return LoopLag(looks, looks - buckets[LAG_MAX_S], looks - buckets[FREEZE_S], waited_s)
