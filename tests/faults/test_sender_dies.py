"""A sender dies, or only seems to: kill -9 at every step of a message, and zombies that come back."""

from __future__ import annotations

import asyncio

import pytest
from fault_house import house, place_of
from tcp_proxy import Way
from verdict import verdict

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

SLOW = {"kind": "accept", "delay_s": 30, "times": None}


async def test_killed_before_the_claim(home):
    """What was decided and not yet claimed goes out after the restart; what was under way stays in doubt."""
    await home.provider.script(SLOW)
    customers = await home.crowd(200)
    await home.arrive(customers)
    await home.in_state("sending", customers, 20)
    unclaimed = await home.in_state("pending", customers, 1)
    await home.kill_and_start_again()
    await home.at_rest()
    found = await verdict(home, customers)
    assert len(found.rows) == 200
    assert {found.accepted[message_id] for message_id in unclaimed} == {1}
    assert found.states.keys() == {"accepted", "unknown"}
    assert found.states["accepted"] >= len(unclaimed)


async def test_killed_after_the_claim(home):
    """Claimed, and nothing had left the house: every message goes out after the restart, once."""
    customers = await home.crowd(20)
    async with home.held("sending"):
        await home.arrive(customers)
        await home.in_state("claimed", customers, 5)
        home.service.app.kill()
    await home.kill_and_start_again()
    await home.at_rest()
    found = await verdict(home, customers)
    assert found.states == {"accepted": 20}


@pytest.mark.parametrize(
    ("arrived", "kind", "end", "times"),
    [
        # Marketing is not said again, at the price of losing what never arrived.
        (True, "plain", "unknown", {1}),
        pytest.param(False, "plain", "unknown", set(), marks=pytest.mark.long),
        # `resend` loses none, at the price of saying twice what had arrived; the phone replaces the first copy.
        pytest.param(True, "insistent", "accepted", {2}, marks=pytest.mark.long),
        (False, "insistent", "accepted", {1}),
    ],
)
async def test_killed_in_mid_call(home, arrived, kind, end, times):
    """Nobody knows whether the provider has it: it stays in doubt, or goes out again where the campaign resends."""
    if arrived:
        await home.provider.script(SLOW)
    else:
        home.provider_way.set(Way.BLACK_HOLE)
    before = (await home.provider.counts())["accepted"]
    customers = await home.crowd(10)
    await home.arrive(customers, place_of(0, kind))
    await home.in_state("sending", customers)
    if arrived:
        await home.provider.until(accepted=before + 10)
    await home.kill_and_start_again()
    await home.in_state(end, customers)
    found = await verdict(home, customers)
    assert set(found.accepted.values()) == times


async def test_killed_before_the_completion(home):
    """The provider's yes was heard and not written down: in doubt, and not said again."""
    before = (await home.provider.counts())["accepted"]
    customers = await home.crowd(10)
    async with home.held("accepted"):
        await home.arrive(customers)
        await home.provider.until(accepted=before + 10)
        await asyncio.sleep(0.2)
        home.service.app.kill()
    await home.kill_and_start_again()
    await home.in_state("unknown", customers)
    found = await verdict(home, customers)
    assert len(found.accepted) == 10


@pytest.mark.long
@pytest.mark.parametrize("kind", ["plain", "insistent"])
async def test_a_zombie_completes_after_its_lease_was_lost(postgres, furnished, tmp_path, kind):
    """It is frozen in mid-call, others settle its messages, it wakes up with an answer: nobody listens any more."""
    async with house(postgres, furnished, tmp_path) as ours:
        await ours.provider.script({"kind": "accept", "delay_s": 1, "times": 10})
        customers = await ours.crowd(10)
        await ours.arrive(customers, place_of(0, kind))
        await ours.provider.until(accepted=10)
        zombie = ours.service.app
        zombie.pause()
        await ours.end_leases()
        await ours.start()
        await ours.in_state("unknown" if kind == "plain" else "accepted", customers)
        columns = "message_id, state, provider_message_id, accepted_at, finished_at"
        before = await ours.sql(f"select {columns} from messages order by message_id")
        await asyncio.sleep(1)  # the answers have come, and wait in the zombie's sockets
        zombie.resume()
        await asyncio.sleep(1)
        assert before == await ours.sql(f"select {columns} from messages order by message_id")
        found = await verdict(ours, customers, frozen=1)
        assert set(found.accepted.values()) == ({1} if kind == "plain" else {2})


@pytest.mark.long
async def test_a_zombie_does_not_begin_what_it_claimed(postgres, furnished, tmp_path):
    """It is frozen after its claim and before its call; others send the messages; it wakes up and sends nothing."""
    async with house(postgres, furnished, tmp_path) as ours:
        zombie = ours.service.app
        customers = await ours.crowd(10)
        async with ours.held("sending"):
            await ours.arrive(customers)
            await ours.in_state("claimed", customers)
            zombie.pause()
            # The database would end its transaction after 30 s, and free the rows that it has locked.
            await ours.sql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'advisory'")
        await ours.end_leases()
        await ours.start()
        await ours.in_state("accepted", customers)
        zombie.resume()
        await asyncio.sleep(1)
        found = await verdict(ours, customers, frozen=1)
        assert found.states == {"accepted": 10}
