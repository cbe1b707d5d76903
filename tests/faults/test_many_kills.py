"""25 kills in a row while messages go out, 5,000 that are said once and 5,000 that are said at least once."""

from __future__ import annotations

import asyncio
import random

import pytest
from fault_house import house, place_of
from verdict import verdict

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

MESSAGES = 5_000
"""Of each kind."""
LATE = 500
"""So many of them are decided while the service is being killed; the others wait already."""
KILLS = 25


async def test_25_kills_in_a_row(postgres, furnished, tmp_path):
    """Twice 5,000 messages, and the service is killed 25 times: by default none arrives twice; with `resend` all do."""
    rng = random.Random(25)  # noqa: S311 - the same moments in every run
    async with house(postgres, furnished, tmp_path) as ours:
        await ours.provider.script({"kind": "accept", "delay_s": 0.05, "times": None})
        late = [await ours.crowd(LATE), await ours.crowd(LATE)]
        waiting = await ours.outbox_of(MESSAGES - LATE, "plain", "insistent")
        async with (
            ours.arriving(late[0], place_of(0), at_once=32),
            ours.arriving(late[1], place_of(0, "insistent"), at_once=32),
        ):
            for number in range(1, KILLS + 1):
                # Spread over the run: the next kill comes when the next part of it was accepted.
                await ours.provider.until(300, messages=int(2 * MESSAGES * 0.9 * number / (KILLS + 1)))
                await asyncio.sleep(rng.uniform(0, 0.05))
                ours.service.app.kill()
                await ours.end_leases()
                await ours.service.app.start()
        await ours.at_rest(300)
        plain, insistent = (late[0] + waiting[0], late[1] + waiting[1])
        found = await verdict(ours, [*plain, *insistent])
    by_default, resent = found.of(set(plain)), found.of(set(insistent))
    assert by_default.states.total() == resent.states.total() == MESSAGES
    assert set(by_default.accepted.values()) == {1}
    assert by_default.states.keys() <= {"accepted", "unknown"}
    assert len(resent.accepted) == MESSAGES, "lost"
    assert resent.states == {"accepted": MESSAGES}
