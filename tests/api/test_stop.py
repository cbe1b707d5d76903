"""The stop and its release, support's look at a message, and trying one again."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from conftest import NOON, Client, environment, running

from geoservice.demo.fcm_stand_in import Answer, FcmStandIn
from geoservice.errors import Conflict
from geoservice.storage.database import Database, open_pool
from geoservice.workflows import messages


async def shoppers(service: Client, *names: str, **campaign: Any) -> None:
    await service.set_up_store()
    await service.set_up_campaign(**campaign)
    for name in names:
        await service.opt_in(name)
        await service.browse(name)


async def states(service: Client) -> dict[str, tuple[str, str | None]]:
    rows = await service.sql("select customer_id, state, failure from messages")
    return {row["customer_id"]: (row["state"], row["failure"]) for row in rows}


async def until_state(service: Client, customer_id: str, state: str) -> str:
    """Wait until her newest message is in a state; gives its id."""
    query = "select message_id, state from messages where customer_id = $1 order by reserved_at desc limit 1"
    async with asyncio.timeout(60):
        while not (rows := await service.sql(query, customer_id)) or rows[0]["state"] != state:
            await asyncio.sleep(0.02)
    return rows[0]["message_id"]


@pytest.mark.parametrize(
    "what", [{}, {"channel": "push"}, {"campaign_id": "shoes"}], ids=["all", "channel", "campaign"]
)
async def test_nothing_goes_out_after_a_stop(service, what):
    """After the stop has answered nothing of its scope is sent; what waits goes out when it is released in time."""
    await shoppers(service, "ada")
    answer = await service.ok("POST", "/v1/stop", {**what, "reason": "wrong price"}, who=service.ops)
    assert (answer["in_flight"], answer["reason"]) == (0, "wrong price")
    await service.walk_in("ada")
    await asyncio.sleep(1.3)  # longer than a sender rests
    assert (await states(service))["ada"] == ("pending", None)
    ready = (await service.call("GET", "/readyz")).body
    assert ready["ready"] is True
    assert any(answer["scope"] in warning for warning in ready["warnings"])
    query = "&".join(f"{name}={value}" for name, value in what.items())
    assert (await service.call("DELETE", f"/v1/stop?{query}", who=service.ops)).status == 204
    await service.delivered(1)
    assert (await service.call("GET", "/readyz")).body["warnings"] == []
    assert (await service.call("DELETE", f"/v1/stop?{query}", who=service.ops)).status == 404


async def test_another_campaign_goes_on(service):
    """A stop of one campaign silences no other one."""
    await shoppers(service, "ada")
    await service.ok("POST", "/v1/stop", {"campaign_id": "other"}, who=service.ops)
    await service.walk_in("ada")
    await service.delivered(1)
    assert [item["scope"] for item in (await service.ok("GET", "/v1/stop", who=service.ops))["items"]] == [
        "campaign:other"
    ]


async def test_what_waits_during_a_stop_expires(service):
    """A message whose moment passes while everything is stopped expires, and does not come late."""
    await shoppers(service, "ada")
    await service.ok("POST", "/v1/stop", {}, who=service.ops)
    await service.walk_in("ada")
    await service.pass_time(minutes=30)
    await until_state(service, "ada", "expired")
    await service.call("DELETE", "/v1/stop", who=service.ops)
    await asyncio.sleep(1.3)
    assert service.fcm.accepted == []


async def test_a_stop_holds_against_a_crowd(service):
    """Stopped in the middle of a rush, no push begins after the answer, although many wait."""
    crowd = [f"c{n}" for n in range(12)]
    await shoppers(service, *crowd)
    service.fcm.script(Answer(kind="accept", times=100, delay_s=0.3))
    for name in crowd[:6]:
        await service.walk_in(name)
    answer = await service.ok("POST", "/v1/stop", {}, who=service.ops)
    begun = service.fcm.sends
    for name in crowd[6:]:
        await service.walk_in(name)
    await asyncio.sleep(1.5)
    assert begun <= service.fcm.sends <= begun + answer["in_flight"]
    assert set((await states(service)).values()) <= {("accepted", None), ("pending", None), ("expired", "expired")}


async def test_a_stop_names_one_thing(service):
    """A stop is of a campaign, of a channel or of everything."""
    both = {"campaign_id": "shoes", "channel": "push"}
    answer = await service.call("POST", "/v1/stop", both, who=service.ops)
    assert (answer.status, answer.body["code"]) == (422, "invalid")
    assert (await service.call("DELETE", "/v1/stop?campaign_id=a&channel=push", who=service.ops)).status == 422


# Support ------------------------------------------------------------------------------------------------------------


async def test_support_sees_a_messages_life_with_a_reason(service):
    """Support sees whose message it is and what was tried; without a reason it does not, and the look is on record."""
    await shoppers(service, "ada")
    service.fcm.script(Answer(kind="unavailable"))
    await service.walk_in("ada")
    await until_state(service, "ada", "retry_wait")
    await service.pass_time(seconds=5)
    message_id = await until_state(service, "ada", "accepted")
    support = await service.key("support")
    path = f"/v1/messages/{message_id}"
    assert (await service.call("GET", path, who=support)).body["code"] == "access_reason_missing"
    told = await service.ok("GET", path, who={**support, "Access-Reason": "she asked"})
    assert (told["customer_id"], told["state"], told["attempts"]) == ("ada", "accepted", 2)
    assert [(step["what"], step["detail"]) for step in told["timeline"]] == [
        ("decided", None), ("retry_wait", "unavailable"), ("accepted", None),
    ]  # fmt: skip
    (record,) = await service.sql("select reason from audit_log where subject = $1", message_id)
    assert record["reason"] == "she asked"


# Trying again -------------------------------------------------------------------------------------------------------


async def requeue(service: Client, message_id: str) -> None:
    dsn = service.app.settings.database_url
    async with await open_pool(dsn, size=1) as pool:
        await messages.requeue(Database(pool, dsn), message_id, service.now)


async def test_a_failed_message_is_decided_anew(service):
    """A message that the provider refused stays failed; requeued in time, a new one follows by all rules of now."""
    await shoppers(service, "ada")
    service.fcm.script(Answer(kind="invalid_payload"))
    await service.walk_in("ada")
    failed = await until_state(service, "ada", "failed")
    await requeue(service, failed)
    await service.delivered(1)
    await service.settled()
    rows = await service.sql("select message_id, state from messages order by reserved_at, state desc")
    assert sorted(row["state"] for row in rows) == ["accepted", "failed"]
    assert service.fcm.accepted[0].message_id != failed


async def test_a_requeue_does_not_outvote_her(service):
    """Requeued after she switched the topic off, the new decision is silence."""
    await shoppers(service, "ada")
    service.fcm.script(Answer(kind="invalid_payload"))
    await service.walk_in("ada")
    failed = await until_state(service, "ada", "failed")
    await service.ok("PATCH", "/v1/me/preferences", {"topics": {"sneakers": False}}, who=service.customer("ada"))
    await requeue(service, failed)
    async with asyncio.timeout(60):
        while len(await service.decisions("ada")) < 2:
            await asyncio.sleep(0.05)
    assert [decision["reason"] for decision in await service.decisions("ada")] == [None, "topic_off"]


@pytest.mark.parametrize(
    ("state", "failure", "in_doubt", "minutes", "why"),
    [
        ("pending", None, False, 0, "waits for a sender"),
        ("sending", None, False, 0, "being sent"),
        ("retry_wait", "unavailable", False, 0, "by itself"),
        ("accepted", None, False, 0, "provider took it"),
        ("unknown", "timeout", True, 0, "see it twice"),
        ("expired", "expired", False, 60, "moment is over"),
        ("failed", "unavailable", True, 0, "see it twice"),
        ("failed", "unavailable", False, 60, "moment is over"),
        ("cancelled", "consent_withdrawn", False, 0, "decided against"),
        ("cancelled", "signed_out", False, 0, "decided against"),
        ("failed", "unregistered", False, 0, None),
        ("cancelled", "campaign_paused", False, 0, None),
    ],
)
def test_what_may_be_tried_again(state, failure, in_doubt, minutes, why):
    """Only what certainly did not go out, is still in time and was not her own wish may be tried again."""
    row = {
        "state": state,
        "failure": failure,
        "in_doubt": in_doubt,
        "expires_at": NOON + timedelta(minutes=10),
        "transition_id": "t",
    }
    said = messages.refuse_requeue(row, NOON + timedelta(minutes=minutes))
    assert said is None if why is None else why in (said or "")


async def test_the_commands_list_show_and_refuse(service, tmp_path):
    """`geoservice messages` lists, shows the timeline, and says why a message must not be tried again."""
    await shoppers(service, "ada")
    await service.walk_in("ada")
    message_id = await until_state(service, "ada", "accepted")
    settings = environment(service.app.settings.database_url, None, tmp_path)

    async def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "geoservice", "messages", *words]
        env = {**os.environ, **settings, "COLUMNS": "200"}
        return await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True)

    listed, shown, refused = await asyncio.gather(
        run("list", "--state", "accepted"), run("show", message_id), run("requeue", message_id)
    )
    assert message_id in listed.stdout
    assert not re.search(r"\bada\b", listed.stdout)  # as a word: an id may hold these letters
    assert shown.stdout.index("decided") < shown.stdout.rindex(" accepted\n")
    assert refused.returncode == 1
    assert "The provider took it." in refused.stderr
    with pytest.raises(Conflict):
        await requeue(service, message_id)


# The account --------------------------------------------------------------------------------------------------------


async def test_a_wrong_account_is_said_before_the_first_customer(database_url, fcm, tmp_path):
    """Credentials of another project are found at start: `/readyz` warns, and nothing is sent."""
    async with FcmStandIn(project_id="elsewhere") as other:
        other.credentials = other.write_service_account(tmp_path / "other.json")
        settings = environment(database_url, other, tmp_path, GEOSERVICE_FCM_ENDPOINT=fcm.base_url)
        async with running(settings, fcm) as service:
            async with asyncio.timeout(60):
                while not (warnings := (await service.call("GET", "/readyz")).body["warnings"]):
                    await asyncio.sleep(0.02)
            assert warnings == [
                "push: the provider refuses our credentials or our project; messages wait until it is mended."
            ]
            metrics = (await service.call("GET", "/metrics")).body.decode()
            assert 'geoservice_channel_breaker{channel="push"} 2.0' in metrics
