"""Two processes send for one account: they share its pace, and when one dies the other has all of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from conftest import Client
from fault_house import House, house
from verdict import verdict

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

RATE = 60
"""Pushes a second that the account may send, reached within a minute."""
GETTING_READY_S = 5
"""At most, from the moment in which a service knows its pace until it answers."""
LOOK_S = 5
WAITING = 800
"""More than can go out while anybody looks."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    postgres: str, furnished: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[House, float]]:
    """Two services on one account, and when the first of them began; monotonic seconds."""
    async with house(postgres, furnished, tmp_path_factory.mktemp("pair"), GEOSERVICE_FCM_RATE=str(RATE)) as ours:
        began_s = time.monotonic() - GETTING_READY_S
        await ours.start()
        yield ours, began_s


async def arrivals_per_s(ours: House) -> float:
    """How many pushes reach the stand-in while we look."""
    before = len(await ours.provider.accepted())
    began_s = time.monotonic()
    await asyncio.sleep(LOOK_S)
    return (len(await ours.provider.accepted()) - before) / (time.monotonic() - began_s)


def permitted_per_s(began_s: float) -> float:
    """The pace of an account whose first sender began then: a fifth at first, all of it after a minute."""
    return RATE * min(1.0, 0.2 + 0.8 * (time.monotonic() - began_s) / 60)


async def pushed_by(client: Client) -> int:
    """How many pushes of this process were accepted."""
    metrics = (await client.call("GET", "/metrics")).body.decode()
    return int(float(re.search(r'geoservice_pushes_total{outcome="Accepted"} (\S+)', metrics)[1]))


async def test_two_processes_share_the_pace_of_one_account(pair):
    """Hundreds of messages wait and two processes send: together they are no faster than one may be."""
    ours, began_s = pair
    (waiting,) = await ours.outbox_of(WAITING, "plain")
    await ours.in_state("accepted", waiting, 20)
    slowest = 0.2 * RATE
    seen = await arrivals_per_s(ours)
    assert 0.7 * slowest <= seen <= permitted_per_s(began_s)
    assert all([await pushed_by(client) >= 10 for client in ours.services])
    await ours.call_off(waiting)


async def test_whoever_is_left_has_the_whole_pace(pair):
    """One of two processes is killed while both send: within a second the other sends as much as both did."""
    ours, began_s = pair
    (waiting,) = await ours.outbox_of(WAITING, "plain")
    await ours.in_state("accepted", waiting, 20)
    together = await arrivals_per_s(ours)
    ours.services[1].app.kill()
    await asyncio.sleep(1.5)
    alone = await arrivals_per_s(ours)
    # One that went on with its half would have at most three quarters: the pace grows in its first minute.
    assert 0.9 * together <= alone <= permitted_per_s(began_s)
    await ours.mend()
    await ours.call_off(waiting)
    found = await verdict(ours, waiting)
    assert set(found.accepted.values()) == {1}
