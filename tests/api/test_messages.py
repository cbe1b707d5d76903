"""What she and her phone say about a message, and the message's life as one timeline."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, get_args, get_type_hints

import pytest
from conftest import NOON, Client

from geoservice.api.schemas import FeedbackBody
from geoservice.vocabulary import MessageEvent


async def message_of(service: Client, customer_id: str = "ada") -> dict[str, Any]:
    """A message that reached the phone."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in(customer_id)
    await service.browse(customer_id)
    await service.walk_in(customer_id)
    await service.settled()
    (message,) = (await service.ok("GET", "/v1/me/messages", who=service.customer(customer_id)))["items"]
    return message


async def say(service: Client, message_id: str, event: str, who: str = "ada", **more: Any) -> Any:
    path = f"/v1/me/messages/{message_id}/feedback"
    return await service.call("POST", path, {"event": event, **more}, who=service.customer(who))


async def events_of(service: Client, message_id: str) -> set[str]:
    rows = await service.sql("select event from message_events where message_id = $1", message_id)
    return {row["event"] for row in rows}


async def test_a_messages_life_is_one_timeline(service):
    """Decided, accepted, delivered, opened: one list tells it in order, and the state stays `accepted`."""
    message = await message_of(service)
    assert [step["what"] for step in message["timeline"]] == ["decided", "accepted"]
    for event in ("delivered", "opened"):
        await service.pass_time(seconds=5)
        assert (await say(service, message["id"], event)).body["repeated"] is False
    told = await service.ok("GET", f"/v1/me/messages/{message['id']}", who=service.customer("ada"))
    assert [step["what"] for step in told["timeline"]] == ["decided", "accepted", "delivered", "opened"]
    assert told["timeline"] == sorted(told["timeline"], key=lambda step: step["at"])
    assert told["state"] == "accepted"


async def test_a_report_counts_once(service):
    """A report that is sent again changes nothing, also when ten arrive at once; the first time holds."""
    message = await message_of(service)
    answers = await asyncio.gather(*(say(service, message["id"], "opened") for _ in range(10)))
    assert [answer.status for answer in answers] == [200] * 10
    assert sorted(answer.body["repeated"] for answer in answers) == [False] + [True] * 9
    await service.pass_time(minutes=5)
    assert (await say(service, message["id"], "opened")).body["at"] == answers[0].body["at"]


@pytest.mark.parametrize("event", ["opened", "dismissed", "helpful", "creepy", "stop"])
async def test_whatever_she_does_with_it_has_reached_her(service, event):
    """A message that she did anything with was delivered, even if the phone never said so."""
    message = await message_of(service)
    assert (await say(service, message["id"], event)).status == 200
    assert await events_of(service, message["id"]) == {"delivered", event}


async def test_only_her_own_messages(service):
    """Nobody else's message can be reported on, nor one that does not exist, nor one that never left."""
    message = await message_of(service)
    assert (await say(service, message["id"], "opened", who="eve")).status == 404
    assert (await say(service, "no-such-message", "opened")).status == 404
    assert await events_of(service, message["id"]) == set()
    await service.sql(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, purposes, payload,
                                 why, state, reserved_at, not_before, expires_at)
           values ('ada', 'never', 'd', 'c', 't', 'push', '{}', '{}', '{}', 'expired', $1, $1, $1)""",
        NOON,
    )
    assert (await say(service, "never", "opened")).status == 404


async def test_a_late_report_keeps_its_time_within_reason(service):
    """A phone that was offline says when it happened; not before the message was decided, and not in the future."""
    message = await message_of(service)
    await service.pass_time(hours=2)
    seen_at = service.now - timedelta(hours=1)
    reports = {
        "delivered": (seen_at, seen_at),
        "opened": (service.now + timedelta(days=1), service.now),
        "helpful": (NOON - timedelta(days=400), None),
    }
    for event, (claimed, kept) in reports.items():
        answer = await say(service, message["id"], event, at=claimed)
        at = message["at"] if kept is None else f"{kept:%Y-%m-%dT%H:%M:%S}"
        assert answer.body["at"].startswith(at.rstrip("Z"))


async def test_a_wrong_report_is_refused(service):
    """Only what a phone or a customer can know is taken: a purchase is found by the service itself."""
    message = await message_of(service)
    path = f"/v1/me/messages/{message['id']}/feedback"
    for body in ({}, {"event": "converted"}, {"event": "opened", "at": "yesterday"}, {"event": 1}):
        answer = await service.call("POST", path, body, who=service.customer("ada"))
        assert (answer.status, answer.body["code"]) == (422, "invalid")
    assert await events_of(service, message["id"]) == set()


def test_every_report_is_an_event():
    """The words that a phone may use are events of a message; `converted` is the service's own."""
    words = set(get_args(get_type_hints(FeedbackBody)["event"]))
    assert words == {event.value for event in MessageEvent} - {"converted", "visited"}
