"""The stand-in is steered over HTTP: what it is told to answer, it answers, and it counts what it was asked."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from geoservice.demo.fcm_stand_in import FcmStandIn

ANSWERS = [
    ({"kind": "unavailable", "retry_after": "120"}, 503, "120", "application/json"),
    ({"kind": "unavailable_html"}, 503, None, "text/html"),
    ({"kind": "too_many_html", "retry_after": "7"}, 429, "7", "text/html"),
    ({"kind": "bad_gateway_html"}, 502, None, "text/html"),
    ({"kind": "html_ok"}, 200, None, "text/html"),
]


async def steer(fcm: FcmStandIn, path: str, body: object = None) -> dict:
    async with ClientSession(fcm.base_url) as session:
        method = session.get if path == "/_counts" else session.post
        async with method(path, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.status == 200 else {}


async def push(fcm: FcmStandIn) -> tuple[int, str | None, str]:
    path = f"/v1/projects/{fcm.project_id}/messages:send"
    message = {"token": "t", "data": {"message_id": "m"}}
    async with (
        ClientSession(fcm.base_url, headers={"Authorization": "Bearer known"}) as session,
        session.post(path, json={"message": message}) as answer,
    ):
        return answer.status, answer.headers.get("Retry-After"), answer.content_type


@pytest.fixture
async def known(fcm: FcmStandIn) -> FcmStandIn:
    """The stand-in, which has given out an access token."""
    fcm._access_tokens.add("known")
    return fcm


@pytest.mark.parametrize(("answer", "status", "retry_after", "content_type"), ANSWERS)
async def test_it_answers_as_told(known, answer, status, retry_after, content_type):
    """Status, Retry-After and page or JSON are those of the script."""
    await steer(known, "/_script", {"answers": [answer]})
    assert await push(known) == (status, retry_after, content_type)


async def test_a_script_may_hold_for_ever_and_be_replaced(known):
    """`times: null` answers so from now on; `instead` drops what was said before."""
    await steer(known, "/_script", {"answers": [{"kind": "internal", "times": None}]})
    assert [(await push(known))[0] for _ in range(3)] == [500, 500, 500]
    await steer(known, "/_script", {"answers": [], "instead": True})
    assert (await push(known))[0] == 200
    counts = await steer(known, "/_counts")
    assert (counts["sends"], counts["accepted"], counts["messages"]) == (4, 1, 1)
    assert counts["answers"] == {"internal": 3, "accept": 1}


async def test_revoked_access_tokens_are_refused(known):
    """After a revocation every access token that was given out gets a 401."""
    await steer(known, "/_revoke")
    assert (await push(known))[0] == 401


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
async def test_a_wrong_shape_is_refused(known, message, field):
    """A wrong message is answered as FCM does: 400, and the field that is wrong."""
    async with (
        ClientSession(headers={"Authorization": "Bearer known"}) as session,
        session.post(f"{known.base_url}/v1/projects/stand-in/messages:send", json={"message": message}) as response,
    ):
        error = (await response.json())["error"]
    assert (response.status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert error["details"][-1]["fieldViolations"][0]["field"] == field
