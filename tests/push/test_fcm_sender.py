"""The FCM sender against the stand-in: real HTTP, real OAuth, every answer."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import msgspec
import pytest

from geoservice.demo.fcm_stand_in import Answer, FcmStandIn
from geoservice.errors import SettingsError
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
from geoservice.push.port import OutgoingPush, Sender
from geoservice.push.recorder import RecorderSender
from geoservice.vocabulary import Platform

EXPIRES_AT = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)
PUSH = OutgoingPush(
    message_id="m-1",
    campaign_id="spring",
    platform=Platform.ANDROID,
    push_token="secret-token-1",
    title="Hello Ada",
    body="Your size is in store",
    collapse_key="spring-visit-1",
    expires_at=EXPIRES_AT,
    ttl_s=3_600,
    data={"store_id": "s-1"},
)


def push(number: int = 1, **changes) -> OutgoingPush:
    changed = {"message_id": f"m-{number}", "push_token": f"secret-token-{number}", **changes}
    return msgspec.structs.replace(PUSH, **changed)


@pytest.fixture
async def fcm():
    async with FcmStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def account(fcm, tmp_path):
    return fcm.write_service_account(tmp_path / "account.json")


@pytest.fixture
async def sender(fcm, account):
    made = FcmSender(account, endpoint=fcm.base_url, timeout_s=10)
    yield made
    await made.close()


@pytest.fixture
async def hasty(fcm, account):
    """A sender with a timeout of half a second, so that tests of timeouts are short."""
    made = FcmSender(account, endpoint=fcm.base_url, timeout_s=0.5)
    yield made
    await made.close()


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


# Access tokens --------------------------------------------------------------------------------------------


async def test_fifty_first_pushes_cost_one_access_token(fcm, sender):
    """Fifty pushes at once fetch one access token between them."""
    outcomes = await asyncio.gather(*(sender.send(push(number)) for number in range(50)))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert fcm.token_requests == 1


async def test_a_401_costs_one_refresh_and_the_push_goes_out(fcm, sender):
    """An access token that FCM stops accepting is replaced once, and the push is not lost."""
    await sender.send(push(1))
    fcm.revoke_access_tokens()
    outcomes = await asyncio.gather(*(sender.send(push(number)) for number in range(2, 52)))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert fcm.token_requests == 2


@pytest.mark.parametrize(
    ("kind", "reason"), [("unauthenticated", "unauthenticated"), ("third_party_auth", "third_party_auth")]
)
async def test_a_401_that_stays_blames_the_credentials(fcm, sender, kind, reason):
    """When a new access token does not help, the credentials are at fault, at the cost of one refresh."""
    fcm.script(Answer(kind, times=1_000))
    outcomes = [await sender.send(push(number)) for number in range(10)]
    outcomes += await asyncio.gather(*(sender.send(push(number)) for number in range(50)))
    assert set(outcomes) == {CredentialsRefused(reason)}
    assert fcm.token_requests == 2


async def test_a_slow_token_endpoint_does_not_stop_the_service(fcm, sender):
    """While Google's token endpoint is slow, everything else in the service goes on."""
    fcm.script_token_endpoint(Answer("accept", delay_s=1.5))
    sending = asyncio.create_task(sender.send(push()))
    worst_s = 0.0
    while not sending.done():
        before_s = time.perf_counter()
        await asyncio.sleep(0.005)
        worst_s = max(worst_s, time.perf_counter() - before_s)
    assert isinstance(sending.result(), Accepted)
    assert worst_s < 1


async def test_the_access_token_is_renewed_before_it_ends(account, fcm):
    """A new access token is fetched while the old one still holds: no push waits for it."""
    fcm.token_lifetime_s = 20
    sender = FcmSender(account, endpoint=fcm.base_url)
    await sender.send(push(1))
    fcm.script_token_endpoint(Answer("accept", delay_s=2))
    sender._access._refresh_at_s = time.monotonic()  # as if nine tenths of its time were over
    assert isinstance(await sender.send(push(2)), Accepted)
    assert len(fcm._access_tokens) == 1
    async with asyncio.timeout(60):
        while len(fcm._access_tokens) < 2:
            await asyncio.sleep(0.02)
    await sender.close()


@pytest.mark.parametrize(
    ("answer", "outcomes"),
    [
        (Answer("unauthenticated"), {CredentialsRefused("token_refused")}),
        (Answer("html_ok"), {NotSent("token_endpoint")}),
        (Answer("cut"), {NotSent("token_endpoint")}),
        # Two timeouts of the same length run: that of the push, and that of the HTTP call in the thread.
        (Answer("accept", delay_s=1.5), {NotSent("token_endpoint_slow"), NotSent("token_endpoint")}),
    ],
    ids=["refused", "html", "cut", "slow"],
)
async def test_without_an_access_token_nothing_is_sent(fcm, hasty, answer, outcomes):
    """When the token endpoint refuses, breaks or sleeps, FCM is not called at all."""
    fcm.script_token_endpoint(answer)
    assert await hasty.send(push()) in outcomes
    assert fcm.sends == 0


async def test_a_sender_that_gives_up_does_not_spoil_the_refresh(fcm, sender):
    """One cancelled push leaves the shared refresh to the others."""
    fcm.script_token_endpoint(Answer("accept", delay_s=0.2))
    first, second = (asyncio.create_task(sender.send(push(number))) for number in (1, 2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert isinstance(await second, Accepted)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert fcm.token_requests == 1


async def test_closing_while_a_push_waits_for_its_token_is_said(fcm, sender):
    """A push that waits when the sender closes is known not to be sent."""
    fcm.script_token_endpoint(Answer("accept", delay_s=0.3))
    waiting = asyncio.create_task(sender.send(push()))
    await asyncio.sleep(0.05)
    await sender.close()
    assert await waiting == NotSent("sender_closed")
    assert fcm.sends == 0


async def test_the_account_is_checked_without_sending_anything(fcm, sender, account):
    """A check asks FCM to look at a push that it never sends: the made-up phone is blamed, our account is good."""
    assert await sender.check() == TokenDead(DeadToken.INVALID_TOKEN)
    assert (fcm.accepted, fcm.sends) == ([], 0)
    fcm.script_token_endpoint(Answer("unauthenticated"))
    impostor = FcmSender(account, endpoint=fcm.base_url)
    assert await impostor.check() == CredentialsRefused("token_refused")
    await impostor.close()


# The wire -------------------------------------------------------------------------------------------------


async def test_android_fields_on_the_wire(fcm, sender):
    """An Android phone gets a high-priority push that replaces its older self and ends in time."""
    await sender.send(push(deep_link="shop://p/1", image_url="https://img/1.png", analytics_label="spring"))
    assert fcm.accepted[0].message == {
        "token": "secret-token-1",
        "notification": {"title": "Hello Ada", "body": "Your size is in store", "image": "https://img/1.png"},
        "data": {"store_id": "s-1", "deep_link": "shop://p/1", "campaign_id": "spring", "message_id": "m-1"},
        "android": {
            "collapse_key": "geoservice-0",
            "priority": "high",
            "ttl": "3600s",
            "notification": {"tag": "spring-visit-1", "channel_id": "nearby"},
        },
        "fcm_options": {"analytics_label": "spring"},
    }


async def test_apns_fields_on_the_wire(fcm, sender):
    """An iPhone gets the same, in Apple's words."""
    await sender.send(push(platform=Platform.IOS, image_url="https://img/1.png", collapse_key="k" * 65))
    message = fcm.accepted[0].message
    assert "android" not in message
    assert message["apns"]["headers"] == {
        "apns-collapse-id": message["apns"]["headers"]["apns-collapse-id"],
        "apns-priority": "10",
        "apns-expiration": str(int(EXPIRES_AT.timestamp())),
    }
    assert len(message["apns"]["headers"]["apns-collapse-id"]) == 64
    assert message["apns"]["payload"]["aps"] == {
        "thread-id": "spring",
        "mutable-content": 1,
        "interruption-level": "active",
    }


async def test_an_unknown_phone_gets_both_and_fid_goes_first(fcm, sender):
    """A phone of unknown make is served either way, and its installation id is used rather than its token."""
    assert isinstance(await sender.send(push(platform=None, fid="fid-1", ttl_s=9_999_999)), Accepted)
    message = fcm.accepted[0].message
    assert message["fid"] == "fid-1"
    assert "token" not in message
    assert {"android", "apns"} <= message.keys()
    assert message["android"]["ttl"] == "2419200s"


async def test_a_phone_that_is_off_never_keeps_more_than_four_collapse_keys(fcm, sender):
    """However many campaigns speak, Firebase is asked to keep four collapse keys for a phone; tags stay their own."""
    for number in range(40):
        await sender.send(push(collapse_key=f"campaign-{number}"))
    android = [taken.message["android"] for taken in fcm.accepted]
    assert len({each["collapse_key"] for each in android}) <= 4
    assert len({each["notification"]["tag"] for each in android}) == 40


async def test_our_ids_cannot_be_overwritten_by_data(fcm, sender):
    """A campaign's own data cannot take the place of the message id that the app reports back."""
    await sender.send(push(data={"message_id": "other"}))
    assert fcm.accepted[0].message["data"]["message_id"] == "m-1"


@pytest.mark.parametrize(
    "changes",
    [{"push_token": None}, {"title": "\ud800"}, {"analytics_label": "no spaces"}, {"push_token": ""}],
    ids=["no target", "broken text", "bad label", "empty token"],
)
async def test_a_push_that_cannot_be_written_is_our_fault(fcm, sender, changes):
    """A push that cannot be put on the wire is rejected here, and FCM is not asked."""
    assert await sender.send(push(**changes)) == Rejected("not_encodable")
    assert fcm.sends == 0


async def test_fcm_refuses_what_is_too_large_or_reserved(sender):
    """A payload over 4,096 bytes or with a reserved key is our fault, not the token's."""
    assert await sender.send(push(body="x" * 5_000)) == Rejected("invalid_payload")
    assert await sender.send(push(data={"google.x": "1"})) == Rejected("invalid_payload")


# Secrets and settings -------------------------------------------------------------------------------------


async def test_nothing_secret_in_representations(account, sender):
    """Tokens, texts and keys stand in no representation and no description."""
    shown = repr(push()) + str(push()) + repr(push().__rich_repr__()) + repr(sender) + sender.describe()
    shown += repr(vars(sender)) + repr(await sender.send(push()))
    for secret in ("secret-token", "Ada", "size", "PRIVATE KEY", "ya29", account.read_text()[:40]):
        assert secret not in shown
    assert "m-1" in shown


BAD_FILES = {
    "missing": None,
    "empty": "",
    "list": "[]",
    "other kind": '{"type": "authorized_user", "refresh_token": "hush"}',
    "bad key": json.dumps(
        {
            "type": "service_account",
            "client_email": "a",
            "token_uri": "b",
            "private_key": "hush",
            "project_id": "p",
        }
    ),
    "key is a number": '{"type": "service_account", "client_email": "a", "token_uri": "b", "private_key": 7}',
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_that_is_no_service_account_is_said_at_start(tmp_path, content):
    """A credentials file that cannot be used is named at start, in a sentence that quotes nothing from it."""
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        FcmSender(path)
    text = "".join(traceback.format_exception(caught.value))
    assert str(path) in str(caught.value)
    assert "hush" not in text


async def test_an_account_without_a_project_is_said_at_start(account):
    """A service account that names no project cannot send."""
    content = json.loads(account.read_text())
    del content["project_id"]
    account.write_text(json.dumps(content))
    with pytest.raises(SettingsError, match="project_id"):
        FcmSender(account)


@pytest.mark.parametrize("endpoint", ["fcm.googleapis.com", "ftp://fcm", "http://", "http://a:port"])
async def test_an_endpoint_that_is_no_url_is_said_at_start(account, endpoint):
    """An endpoint that is no web address is refused at start."""
    with pytest.raises(SettingsError, match="endpoint"):
        FcmSender(account, endpoint=endpoint)


async def test_the_recorder_sends_nothing_and_says_so():
    """Without credentials pushes are kept, not sent, and the service says so loudly."""
    recorder: Sender = RecorderSender(kept_max=2)
    outcomes = [await recorder.send(push(number)) for number in (1, 2, 3)]
    await recorder.close()
    assert outcomes[0] == Accepted("recorded:m-1")
    assert [kept.message_id for kept in recorder.recorded] == ["m-2", "m-3"]
    assert {kept.push_token for kept in recorder.recorded} == {None}
    assert "NOTHING LEAVES" in recorder.describe()


# The stand-in itself ----------------------------------------------------------------------------------------


async def test_the_stand_in_checks_key_and_project(fcm, account, tmp_path):
    """The stand-in trusts neither another key nor another project, as the real service would not."""
    async with FcmStandIn() as other:
        stranger = json.loads(other.write_service_account(tmp_path / "other.json").read_text())
    content = json.loads(account.read_text())
    account.write_text(json.dumps({**content, "private_key": stranger["private_key"]}))
    impostor = FcmSender(account, endpoint=fcm.base_url)
    account.write_text(json.dumps({**content, "project_id": "elsewhere"}))
    lost = FcmSender(account, endpoint=fcm.base_url)
    assert await impostor.send(push()) == CredentialsRefused("token_refused")
    assert await lost.send(push()) == WrongProject("not_found")
    await impostor.close()
    await lost.close()


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"token": "t", "topik": "x"}, "message"),
        ({"token": "t", "android": {"ttl": "1h"}}, "message.android.ttl"),
        ({"token": "t", "android": {"ttl": "2419201s"}}, "message.android.ttl"),
        ({"token": "t", "data": {"n": 1}}, "message.data[...]"),
        ({"topic": "all"}, "message"),
        ({}, "message"),
    ],
)
async def test_the_stand_in_refuses_a_wrong_shape(fcm, message, field):
    """The stand-in answers a wrong message as FCM does: 400, and the field that is wrong."""
    fcm._access_tokens.add("good")
    async with (
        aiohttp.ClientSession(headers={"Authorization": "Bearer good"}) as session,
        session.post(f"{fcm.base_url}/v1/projects/stand-in/messages:send", json={"message": message}) as response,
    ):
        error = (await response.json())["error"]
    assert (response.status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][-1]["fieldViolations"][0]["field"] == field


async def test_the_stand_in_runs_as_a_process(tmp_path):
    """Started by itself, the stand-in says where it is, and is steered over HTTP."""
    path = tmp_path / "account.json"
    command = [
        sys.executable,
        "-m",
        "geoservice.demo.fcm_stand_in",
        "--port",
        "0",
        "--credentials",
        str(path),
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        base_url = json.loads(await process.stdout.readline())["base_url"]
        sender = FcmSender(path, endpoint=base_url)
        async with aiohttp.ClientSession(base_url) as session:
            script = {"answers": [{"kind": "unregistered"}]}
            async with session.post("/_script", json=script) as response:
                assert response.status == 204
            async with session.post("/_script", json={"answers": [{"kind": "sing"}]}) as response:
                assert response.status == 400
            assert isinstance(await sender.send(push(1)), TokenDead)
            assert isinstance(await sender.send(push(2)), Accepted)
            async with session.get("/_accepted") as response:
                assert [taken["message_id"] for taken in (await response.json())["accepted"]] == ["m-2"]
            async with session.post("/_reset") as response:
                assert response.status == 204
            async with session.get("/_accepted") as response:
                assert (await response.json())["accepted"] == []
        await sender.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
