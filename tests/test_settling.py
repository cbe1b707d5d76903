"""From what the provider said to the next state of a message, as a table; and storing it when others are in the way."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import asyncpg
import pytest
from conftest import NOON, environment, running

from geoservice.demo.fcm_stand_in import Answer
from geoservice.push import outcomes
from geoservice.push.outcomes import DeadToken
from geoservice.vocabulary import MESSAGE_MOVES, MessageState
from geoservice.workflows.settling import BACKOFF_MAX_S, settle

TEN_MINUTES = NOON + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("outcome", "state", "failure"),
    [
        (outcomes.Accepted("projects/p/messages/1"), "accepted", None),
        # The provider may have it.
        (outcomes.InDoubt("timeout"), "unknown", "timeout"),
        (outcomes.InDoubt("http_500"), "unknown", "http_500"),
        # It certainly does not, and there is time.
        (outcomes.RetryLater(60, "quota_exceeded"), "retry_wait", "quota_exceeded"),
        (outcomes.RetryLater(None, "unavailable"), "retry_wait", "unavailable"),
        (outcomes.NotSent("connect"), "retry_wait", "connect"),
        (outcomes.CredentialsRefused("token_refused"), "retry_wait", "token_refused"),
        (outcomes.WrongProject("not_found"), "retry_wait", "not_found"),
        # It certainly does not, and there is none: told to wait for longer than the message lives.
        (outcomes.RetryLater(601, "unavailable"), "failed", "unavailable"),
        (outcomes.RetryLater(86_400, "quota_exceeded"), "failed", "quota_exceeded"),
        # It never will.
        (outcomes.TokenDead(DeadToken.UNREGISTERED), "failed", "unregistered"),
        (outcomes.Rejected("invalid_payload"), "failed", "invalid_payload"),
    ],
    ids=str,
)
def test_each_outcome_has_its_state(outcome, state, failure):
    """Each outcome leads to one state that the table of moves allows, with its reason."""
    settled = settle(outcome, attempts=1, expires_at=TEN_MINUTES, at=NOON)
    assert (settled.state, settled.failure) == (state, failure)
    assert settled.state in MESSAGE_MOVES[MessageState.SENDING]
    assert (settled.finished_at is None) == (state == "retry_wait")


def test_a_dead_token_with_another_phone_is_tried_there():
    """When she has another phone, a dead token is only a detour."""
    dead = outcomes.TokenDead(DeadToken.UNREGISTERED)
    settled = settle(dead, attempts=1, expires_at=TEN_MINUTES, at=NOON, elsewhere=True)
    assert (settled.state, settled.not_before) == ("retry_wait", NOON)


def waited_s(outcome: outcomes.Outcome, *, attempts: int, expires_at: datetime) -> float:
    settled = settle(outcome, attempts=attempts, expires_at=expires_at, at=NOON)
    return (settled.not_before - NOON).total_seconds()


@pytest.mark.parametrize("told_s", [1, 60, 300])
def test_the_providers_wish_is_kept_with_jitter(told_s):
    """`Retry-After` is a floor: nobody comes earlier, and not all come at once."""
    outcome = outcomes.RetryLater(told_s, "unavailable")
    waits_s = {waited_s(outcome, attempts=1, expires_at=TEN_MINUTES) for _ in range(50)}
    assert told_s <= min(waits_s)
    assert max(waits_s) <= told_s * 1.2
    assert len(waits_s) > 40


def test_without_a_wish_the_wait_grows_with_full_jitter():
    """Without `Retry-After` the wait is anything up to twice the last longest one, and never more than 30 s."""
    later = NOON + timedelta(days=1)
    for attempts in (1, 3, 6, 50):
        longest_s = min(BACKOFF_MAX_S, 0.5 * 2**attempts)
        waits_s = [waited_s(outcomes.NotSent("dns"), attempts=attempts, expires_at=later) for _ in range(200)]
        assert min(waits_s) < longest_s / 4
        assert longest_s * 3 / 4 < max(waits_s) <= longest_s


async def test_an_outcome_waits_for_whoever_holds_the_message(service):
    """Somebody holds the message's row while its outcome comes: it is stored afterwards, and the others do not wait."""
    await service.set_up_store()
    await service.set_up_campaign()
    for name in ("ada", "bea"):
        await service.opt_in(name)
        await service.browse(name)
    service.fcm.script(Answer(kind="accept", times=2, delay_s=0.4))
    await service.walk_in("ada")
    async with asyncio.timeout(60):
        while not await service.sql("select from messages where state = 'sending'"):
            await asyncio.sleep(0.01)
    holder = await asyncpg.connect(service.app.settings.database_url)
    try:
        async with holder.transaction():
            await holder.execute("select from messages where customer_id = 'ada' for update")
            await service.walk_in("bea")
            async with asyncio.timeout(60):
                while not await service.sql("select from messages where customer_id = 'bea' and state = 'accepted'"):
                    await asyncio.sleep(0.01)
            assert await service.sql("select from messages where customer_id = 'ada' and state = 'sending'")
    finally:
        await holder.close()
    async with asyncio.timeout(60):
        while not await service.sql("select from messages where customer_id = 'ada' and state = 'accepted'"):
            await asyncio.sleep(0.01)


async def test_what_is_known_outlives_a_lost_database(service):
    """Every connection is cut while the provider answers: the message is accepted afterwards, not in doubt."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in("ada")
    await service.browse("ada")
    service.fcm.script(Answer(kind="accept", delay_s=0.5))
    await service.walk_in("ada")
    async with asyncio.timeout(60):
        while not service.fcm.in_flight:
            await asyncio.sleep(0.01)
        for _ in range(20):
            await service.sql(
                """select pg_terminate_backend(pid) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()"""
            )
            await asyncio.sleep(0.05)
        while not await service.sql("select from messages where state = 'accepted'"):
            await asyncio.sleep(0.05)
    assert len(service.fcm.accepted) == 1


async def test_large_campaigns_do_not_make_small_ones_wait(service):
    """Three hundred messages of one campaign wait; the one of another, which came later, is among the first to go."""
    await service.opt_in("ada")
    service.fcm.script(Answer(kind="accept", times=1_000, delay_s=0.02))
    await service.sql(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, device_id, purposes,
                                 payload, why, reserved_at, not_before, expires_at)
           select 'ada', 'm' || n, 'd', case when n = 301 then 'small' else 'large' end, 't', 'push', 'phone', '{}',
                  '{"title": "t", "body": "b"}', '{}', at, at, at + interval '10 minutes'
           from (select n, $1::timestamptz + (n - 400) * interval '1 second' as at
                 from generate_series(1, 301) as n) as row""",
        service.now,
    )
    await service.sql("select pg_notify('geoservice_outbox', '')")
    await service.delivered(301, timeout_s=60)
    order = [push.message_id for push in service.fcm.accepted]
    assert order.index("m301") < 100


async def test_a_held_message_does_not_make_the_others_wait(service):
    """Somebody holds one message that is due: the others go out meanwhile, and it follows when it is free."""
    for name in ("ada", "bea"):
        await service.opt_in(name)
    await service.ok("POST", "/v1/stop", {}, who=service.ops)
    await service.sql(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, device_id, purposes,
                                 payload, why, reserved_at, not_before, expires_at)
           select customer_id, 'm-' || customer_id, 'd', 'c', 't', 'push', 'phone', '{}',
                  '{"title": "t", "body": "b"}', '{}', $1, $1, $1::timestamptz + interval '10 minutes'
           from customers""",
        service.now,
    )
    holder = await asyncpg.connect(service.app.settings.database_url)
    try:
        async with holder.transaction():
            await holder.execute("select from messages where customer_id = 'ada' for update")
            await service.call("DELETE", "/v1/stop", who=service.ops)
            (first,) = await service.delivered(1)
            assert first.message_id == "m-bea"
    finally:
        await holder.close()
    assert {push.message_id for push in await service.delivered(2)} == {"m-ada", "m-bea"}


async def test_a_broken_message_costs_no_other_one(service):
    """A payload that is none fails alone; the message behind it goes out."""
    await service.opt_in("ada")
    await service.sql(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, device_id, purposes,
                                 payload, why, reserved_at, not_before, expires_at)
           select 'ada', id, 'd', 'c', 't', 'push', 'phone', '{}', payload, '{}', $1, $1,
                  $1::timestamptz + interval '10 minutes'
           from (values ('bad', '[]'::jsonb), ('good', '{"title": "t", "body": "b"}')) as m (id, payload)""",
        service.now,
    )
    await service.sql("select pg_notify('geoservice_outbox', '')")
    await service.delivered(1)
    await service.settled()
    rows = await service.sql("select message_id, state, failure from messages order by 1")
    assert [tuple(row) for row in rows] == [("bad", "failed", "unreadable_payload"), ("good", "accepted", None)]


async def test_whoever_is_on_call_hears_when_messages_wait(service, capfd):
    """Messages that are due and wait for half a minute are said in the log, with their number; so is the end of it."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in("ada")
    await service.browse("ada")
    await service.ok("POST", "/v1/stop", {}, who=service.ops)
    await service.walk_in("ada")
    await service.pass_time(seconds=45)
    out = ""
    async with asyncio.timeout(60):
        while "delivery_late" not in out:
            out += capfd.readouterr().out
            await asyncio.sleep(0.05)
    assert "stops=['all']" in out
    assert await _oldest_due_s(service) >= 45
    await service.call("DELETE", "/v1/stop", who=service.ops)
    async with asyncio.timeout(60):
        while "delivery_on_time" not in out:
            out += capfd.readouterr().out
            await asyncio.sleep(0.05)
    await service.delivered(1)


async def test_a_process_that_others_forestall_tells_what_waits_now(service):
    """Whichever process settles the outbox, the metrics of each of them say how long messages wait."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in("ada")
    await service.browse("ada")
    await service.ok("POST", "/v1/stop", {}, who=service.ops)
    await service.sql("update timers set last_slot = 'infinity' where name = 'settle_messages'")
    await service.walk_in("ada")
    await service.pass_time(seconds=45)
    async with asyncio.timeout(60):
        while await _oldest_due_s(service) < 45:
            await asyncio.sleep(0.1)


async def _oldest_due_s(service):
    text = (await service.call("GET", "/metrics")).body.decode()
    return float(text.partition("\ngeoservice_oldest_due_seconds ")[2].partition("\n")[0])


async def test_a_stop_of_the_service_finishes_what_it_began(database_url, fcm, tmp_path):
    """Told to stop in the middle of a rush, the service records what was under way and gives back the rest."""
    async with running(environment(database_url, fcm, tmp_path), fcm) as service:
        await service.opt_in("ada")
        fcm.script(Answer(kind="accept", times=1_000, delay_s=0.3))
        await service.sql(
            """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, device_id,
                                     purposes, payload, why, reserved_at, not_before, expires_at)
               select 'ada', 'm' || n, 'd', 'c', 't', 'push', 'phone', '{}', '{"title": "t", "body": "b"}', '{}', $1,
                      $1, $1::timestamptz + interval '10 minutes' from generate_series(1, 500) as n""",
            service.now,
        )
        await service.sql("select pg_notify('geoservice_outbox', '')")
        await service.delivered(20)
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("select state, count(*) as messages from messages group by state")
    await connection.close()
    counts = {row["state"]: row["messages"] for row in rows}
    assert counts.keys() == {"accepted", "pending"}
    assert counts["accepted"] == len(fcm.accepted)
