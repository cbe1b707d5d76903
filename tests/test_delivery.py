"""What becomes of a message after it was decided: doubt, opt-outs in mid-air, waits, places that go away."""

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

import asyncpg
from conftest import fix, ring

from geoservice.demo.fcm_stand_in import Answer

RESEND = {"ambiguous": "resend", "limits": {"cooldown_s": 0, "min_gap_s": 0, "per_visit": 10}}


async def rows(service, query, *arguments):
    """Look into the database, as a person with psql would."""
    connection = await asyncpg.connect(service.app.settings.database_url)
    try:
        return await connection.fetch(query, *arguments)
    finally:
        await connection.close()


async def until(service, query, *arguments, timeout_s=10):
    """Wait until a query finds something."""
    async with asyncio.timeout(timeout_s):
        while not (found := await rows(service, query, *arguments)):
            await asyncio.sleep(0.02)
    return found


async def ready(service, customer_id="ada", **campaign):
    """A store, a campaign, and a customer who browsed and allowed it."""
    await service.set_up_store()
    await service.set_up_campaign(**campaign)
    await service.opt_in(customer_id)
    await service.browse(customer_id)


async def test_a_message_in_doubt_is_not_sent_again_and_keeps_its_slot(service):
    """The connection is cut after the provider took it: marketing is not repeated, and the day's cap counts it."""
    await ready(service, limits={"cooldown_s": 0, "min_gap_s": 0, "per_visit": 10})
    await service.ok("PATCH", "/v1/me/preferences", {"daily_cap": 1}, who=service.customer("ada"))
    service.fcm.script(Answer(kind="cut"))
    await service.walk_in("ada")
    (message,) = await until(service, "select state, in_doubt from messages where state = 'unknown'")
    assert message["in_doubt"]
    await service.pass_time(hours=1)
    await service.ping("ada", *(fix(service.now + timedelta(seconds=s), 53.56, 10.0) for s in (-60, 0)))
    await service.pass_time(minutes=20)
    await service.walk_in("ada")
    assert [decision["reason"] for decision in await service.decisions("ada")][-1] == "daily_cap"
    assert len(service.fcm.accepted) == 1


async def test_doubt_outlives_later_failures(service):
    """`resend` repeats a message in doubt; whatever becomes of the repetitions, its slot is never given back."""
    await ready(service, **RESEND)
    service.fcm.script(Answer(kind="cut"), Answer(kind="unavailable", times=50))
    await service.walk_in("ada")
    await until(service, "select 1 from messages where state = 'unknown'")
    await service.pass_time(seconds=40)
    await until(service, "select 1 from messages where state = 'retry_wait' and in_doubt")
    await service.pass_time(minutes=30)
    await until(service, "select 1 from messages where state = 'expired' and in_doubt")
    await service.ok("PATCH", "/v1/me/preferences", {"daily_cap": 1}, who=service.customer("ada"))
    await service.ping("ada", *(fix(service.now + timedelta(seconds=s), 53.56, 10.0) for s in (-60, 0)))
    await service.pass_time(minutes=20)
    await service.walk_in("ada")
    assert [decision["reason"] for decision in await service.decisions("ada")][-1] == "daily_cap"


async def test_refusals_do_not_use_up_repetitions(service):
    """Refused six times and then in doubt, a message is still repeated: what was refused reached nobody."""
    await ready(service, **RESEND)
    service.fcm.script(Answer(kind="unavailable", retry_after="0", times=6), Answer(kind="cut"))
    await service.walk_in("ada")
    await until(service, "select 1 from messages where state = 'unknown'")
    await service.pass_time(seconds=40)
    (message,) = await until(service, "select attempts from messages where state = 'accepted'")
    assert message["attempts"] == 8


async def test_an_opt_out_in_mid_air_forbids_the_retry(service):
    """The topic goes off while the provider says 'later': the message is named in_flight and never begun again."""
    await ready(service)
    service.fcm.script(Answer(kind="unavailable", delay_s=0.5))
    await service.walk_in("ada")
    await until(service, "select 1 from messages where state = 'sending'")
    answer = await service.ok(
        "PATCH", "/v1/me/preferences", {"topics": {"sneakers": False}}, who=service.customer("ada")
    )
    assert len(answer["in_flight"]) == 1
    await until(service, "select 1 from messages where state = 'retry_wait'")
    await service.pass_time(minutes=1)
    (message,) = await until(service, "select failure from messages where state = 'cancelled'")
    assert message["failure"] == "opted_out"
    assert service.fcm.accepted == []


async def test_a_paused_campaign_cancels_what_waits(service):
    """Pausing silences at once, the messages that wait for another try included."""
    await ready(service)
    service.fcm.script(Answer(kind="unavailable", times=50))
    await service.walk_in("ada")
    await until(service, "select 1 from messages where state = 'retry_wait'")
    await service.ok("POST", "/v1/campaigns/shoes/pause", who=service.ops)
    await until(service, "select 1 from messages where state = 'cancelled' and failure = 'campaign_paused'")


async def test_a_campaign_waits_and_looks_again(service):
    """`after_s` defers; when it is due and she is still there, the message goes out, once."""
    await ready(service, trigger={"on": "enter", "geofence_kind": "approach", "after_s": 300})
    await service.walk_in("ada")
    (waiting,) = await service.decisions("ada")
    assert (waiting["outcome"], waiting["reason"]) == ("defer", "waiting_for_delay")
    await service.pass_time(seconds=200)
    await service.delivered(1)
    assert [decision["outcome"] for decision in await service.decisions("ada")] == ["defer", "send"]


async def test_a_message_for_another_day_waits_for_the_end_of_quiet_hours(service):
    """What is due within quiet hours, days after the visit, goes out when they end: once, with both waits on record."""
    await ready(service, schedule={"send": "days_later", "days": 2})
    await service.walk_in("ada")
    due_at = service.now + timedelta(days=2)
    local = due_at.astimezone(ZoneInfo("Europe/Berlin"))
    quiet = {"start": f"{local - timedelta(hours=1):%H:%M}", "end": f"{local + timedelta(hours=1):%H:%M}"}
    await service.ok("PATCH", "/v1/me/preferences", {"quiet_hours": quiet}, who=service.customer("ada"))
    await service.set_clock(due_at)
    async with asyncio.timeout(60):
        while len(found := await service.decisions("ada")) < 2:
            await asyncio.sleep(0.02)
    assert [(each["outcome"], each["reason"]) for each in found] == [
        ("defer", "waiting_for_delay"),
        ("defer", "quiet_hours_customer"),
    ]
    assert service.fcm.accepted == []
    await service.pass_time(hours=1)
    await service.delivered(1)
    assert [each["outcome"] for each in await service.decisions("ada")] == ["defer", "defer", "send"]


async def test_whoever_left_meanwhile_is_not_told_that_she_is_there(service):
    """She left before the wait was over: silence, with that reason."""
    await ready(service, trigger={"on": "enter", "geofence_kind": "approach", "after_s": 300})
    await service.walk_in("ada")
    await service.pass_time(seconds=60)
    await service.ping("ada", fix(service.now, 53.56, 10.0))  # a kilometre away, too fast for feet: wait for a witness
    await service.pass_time(seconds=30)
    await service.ping("ada", fix(service.now, 53.56, 10.0))
    assert [t["kind"] for t in await service.transitions("ada")] == ["enter", "exit"]
    await service.pass_time(seconds=120)
    async with asyncio.timeout(60):
        while len(await service.decisions("ada")) < 2:
            await asyncio.sleep(0.02)
    assert (await service.decisions("ada"))[-1]["reason"] == "left_meanwhile"
    assert service.fcm.accepted == []


async def test_a_geofence_that_is_removed_takes_what_waits_with_it(service):
    """A message that waits when its geofence is removed is not sent, and the record says why."""
    await ready(service, schedule={"send": "days_later", "days": 2})
    await service.walk_in("ada")
    assert [each["outcome"] for each in await service.decisions("ada")] == ["defer"]
    await service.ok("DELETE", "/v1/geofences/harbour-approach", who=service.ops)
    async with asyncio.timeout(60):
        while service.app.directory.snapshot.fence("harbour-approach") is not None:
            await asyncio.sleep(0.01)
    await service.pass_time(days=2)
    async with asyncio.timeout(60):
        while len(found := await service.decisions("ada")) < 2:
            await asyncio.sleep(0.02)
    assert (found[-1]["outcome"], found[-1]["reason"]) == ("suppress", "geofence_gone")
    assert service.fcm.accepted == []


async def test_a_removed_geofence_ends_the_visit(service):
    """The fence is taken away around her: presence ends as removed, and so does the visit of the store."""
    await ready(service)
    await service.walk_in("ada")
    await service.ok("DELETE", "/v1/geofences/harbour-approach", who=service.ops)
    async with asyncio.timeout(60):
        while service.app.directory.snapshot.fence("harbour-approach") is not None:
            await asyncio.sleep(0.01)
    await service.pass_time(seconds=30)
    await service.ping("ada", fix(service.now, 53.55, 10.0))
    assert [t["kind"] for t in await service.transitions("ada")] == ["enter", "removed"]
    (visit,) = await rows(service, "select ended_at from visits")
    assert visit["ended_at"] is not None


async def test_publishing_a_fence_around_people_pushes_to_nobody(service):
    """A fence that appears around her is an initial presence, which campaigns ignore."""
    await ready(service)
    await service.ok("DELETE", "/v1/geofences/harbour-approach", who=service.ops)
    async with asyncio.timeout(60):
        while service.app.directory.snapshot.fence("harbour-approach") is not None:
            await asyncio.sleep(0.01)
    await service.walk_in("ada")
    await service.ok("PUT", "/v1/geofences/harbour-approach", ring("harbour", 53.55, 10.0), who=service.ops)
    await service.wait_until_matching("harbour-approach")
    await service.pass_time(seconds=60)
    await service.ping("ada", *(fix(service.now + timedelta(seconds=s), 53.55, 10.0) for s in (-45, 0)))
    (transition,) = await service.transitions("ada")
    assert transition["initial"]
    assert [decision["reason"] for decision in await service.decisions("ada")] == ["initial_presence"]
