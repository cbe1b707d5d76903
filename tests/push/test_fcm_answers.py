"""The sender and FCM's answers: each has its outcome, after one call, in time or not, and costs no connection."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pushes import push

from geoservice.demo.fcm_stand_in import Answer
from geoservice.push.fcm import FcmSender
from geoservice.push.outcomes import (
    Accepted,
    CredentialsRefused,
    DeadToken,
    InDoubt,
    NotSent,
    Rejected,
    RetryLater,
    TokenDead,
    WrongProject,
)


async def test_a_push_is_accepted_under_the_providers_id(fcm, sender):
    """A push that FCM takes is accepted, and FCM's own id for it is kept."""
    outcome = await sender.send(push())
    assert isinstance(outcome, Accepted)
    assert outcome.provider_message_id.startswith("projects/stand-in/messages/")
    [taken] = fcm.accepted
    assert (taken.message_id, taken.token, taken.title) == ("m-1", "secret-token-1", "Hello Ada")


ROWS = [
    ("unregistered", TokenDead(DeadToken.UNREGISTERED), False),
    ("not_found", WrongProject("not_found"), False),
    ("sender_id_mismatch", TokenDead(DeadToken.SENDER_MISMATCH), False),
    ("invalid_token", TokenDead(DeadToken.INVALID_TOKEN), False),
    ("invalid_payload", Rejected("invalid_payload"), False),
    ("quota_exceeded", RetryLater(60.0, "quota_exceeded"), False),
    ("unavailable", RetryLater(None, "unavailable"), False),
    ("permission_denied", CredentialsRefused("permission_denied"), False),
    ("internal", InDoubt("http_500"), False),
    ("bad_gateway_html", InDoubt("http_502"), False),
    ("html_ok", InDoubt("answer_not_understood"), True),
    ("cut", InDoubt("cut"), True),
]


@pytest.mark.parametrize(("kind", "outcome", "taken"), ROWS, ids=[row[0] for row in ROWS])
async def test_each_answer_has_its_outcome(fcm, sender, kind, outcome, taken):
    """Each answer that FCM can give ends in its outcome, after one single call."""
    fcm.script(Answer(kind))
    assert await sender.send(push()) == outcome
    assert fcm.sends == 1
    assert bool(fcm.accepted) is taken


async def test_an_answer_can_be_scripted_for_one_token(fcm, sender):
    """One phone's dead token says nothing about the next phone."""
    fcm.script(Answer("unregistered", times=2), token="secret-token-7")
    outcomes = [await sender.send(push(number)) for number in (7, 8, 7)]
    assert [type(outcome) for outcome in outcomes] == [TokenDead, Accepted, TokenDead]


async def test_retry_after_arrives_as_seconds_and_as_date(fcm, sender):
    """FCM's wish to be left alone is understood in both of its spellings."""
    later = datetime.now(UTC) + timedelta(seconds=300)
    fcm.script(Answer("unavailable", retry_after="17"), Answer("quota_exceeded", retry_after="120"))
    fcm.script(Answer("quota_exceeded", retry_after=format_datetime(later, usegmt=True)))
    assert await sender.send(push()) == RetryLater(17.0, "unavailable")
    assert await sender.send(push()) == RetryLater(120.0, "quota_exceeded")
    dated = await sender.send(push())
    assert isinstance(dated, RetryLater)
    assert dated.after_s == pytest.approx(300, abs=5)


@pytest.mark.parametrize("answer", [Answer("accept", delay_s=5), Answer("hang", delay_s=5)], ids=["slow", "hang"])
async def test_no_answer_in_time_is_in_doubt(fcm, hasty, answer):
    """When FCM takes a push but answers too late, the push is in doubt, not failed."""
    await hasty.send(push(1))
    fcm.script(answer)
    assert await hasty.send(push(2)) == InDoubt("timeout")
    assert [taken.message_id for taken in fcm.accepted] == ["m-1", "m-2"]


async def test_a_closed_connection_without_a_byte_is_in_doubt(fcm, sender):
    """When the connection ends before any answer, the push may have arrived."""
    fcm.script(Answer("hang", delay_s=0.05))
    assert await sender.send(push()) == InDoubt("cut")


async def test_a_refused_connection_is_not_sent(account):
    """When nobody listens, the push has definitely not left."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed_port = unused.getsockname()[1]
    sender = FcmSender(account, endpoint=f"http://127.0.0.1:{closed_port}")
    assert await sender.send(push()) == NotSent("connect")
    await sender.close()


async def test_an_unknown_host_is_not_sent(account):
    """When the name cannot be resolved, the push has definitely not left."""
    sender = FcmSender(account, endpoint="http://fcm.invalid")
    assert await sender.send(push()) in {NotSent("dns"), NotSent("connect")}
    await sender.close()


async def test_a_thousand_bad_answers_leave_the_sender_healthy(fcm, sender):
    """After a long run of 503s the very next push goes through: no connection is lost on the way."""
    fcm.script(Answer("unavailable", times=1_000))
    outcomes = await asyncio.gather(*(sender.send(push(number)) for number in range(1_000)))
    assert {type(outcome) for outcome in outcomes} == {RetryLater}
    assert isinstance(await sender.send(push()), Accepted)


async def test_calls_in_flight_are_bounded(fcm, account):
    """However many pushes wait, only so many calls are open at once, and none times out for waiting."""
    sender = FcmSender(account, endpoint=fcm.base_url, in_flight_max=4, timeout_s=0.8)
    fcm.script(Answer("accept", times=40, delay_s=0.1))
    outcomes = await asyncio.gather(*(sender.send(push(number)) for number in range(40)))
    await sender.close()
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert fcm.in_flight_peak == 4
