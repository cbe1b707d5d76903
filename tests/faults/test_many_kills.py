"""25 kills in a row while 5,000 messages go out."""

from __future__ import annotations

import asyncio
import random

import pytest
from fault_house import house, place_of
from verdict import verdict

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

MESSAGES = 5_000
KILLS = 25


@pytest.mark.parametrize("kind", ["plain", "insistent"])
async def test_25_kills_in_a_row(postgres, furnished, tmp_path, kind):
    """5,000 messages, and the service is killed 25 times: by default none arrives twice; with `resend` all arrive."""
    rng = random.Random(25)  # noqa: S311 - the same moments in every run
    async with house(postgres, furnished, tmp_path) as ours:
        await ours.provider.script({"kind": "accept", "delay_s": 0.05, "times": None})
        customers = await ours.crowd(MESSAGES)
        async with ours.arriving(customers, place_of(0, kind)):
            for number in range(1, KILLS + 1):
                # Spread over the run: the next kill comes when the next part of it was accepted.
                await ours.provider.until(300, messages=int(MESSAGES * 0.9 * number / (KILLS + 1)))
                await asyncio.sleep(rng.uniform(0, 0.05))
                ours.service.app.kill()
                await ours.end_leases()
                await ours.service.app.start()
        await ours.at_rest(300)
        found = await verdict(ours, customers)
        assert len(found.rows) == MESSAGES
        if kind == "plain":
            assert set(found.accepted.values()) == {1}
            assert found.states.keys() <= {"accepted", "unknown"}
        else:
            assert len(found.accepted) == MESSAGES, "lost"
            assert found.states == {"accepted": MESSAGES}
