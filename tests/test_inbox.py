"""The inbox beside push: the same decision, caps and states, and no phone rings."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from conftest import Client, fix


async def shopper(service: Client, *, push_consent: bool = True, channels: dict[str, bool] | None = None) -> None:
    await service.set_up_store()
    purposes = ["location", "personalisation", *(["marketing_push"] if push_consent else [])]
    await service.opt_in("ada", purposes=purposes)
    await service.ok("PATCH", "/v1/me/preferences", {"channels": channels or {}}, who=service.customer("ada"))
    await service.browse("ada")


async def inbox_of(service: Client) -> list[dict[str, Any]]:
    return (await service.ok("GET", "/v1/me/messages", who=service.customer("ada")))["items"]


async def reasons(service: Client) -> list[str | None]:
    return [decision["reason"] for decision in await service.decisions("ada")]


@pytest.mark.parametrize(
    ("push_consent", "channels", "campaign", "channel", "reason"),
    [
        # As ever: push, and the inbox is only asked for when it has to be.
        (True, {}, {}, "push", None),
        (True, {"inbox": True}, {}, "push", None),
        # Push is off, or was never consented to, and she wants the inbox.
        (True, {"push": False, "inbox": True}, {}, "inbox", None),
        (False, {"inbox": True}, {}, "inbox", None),
        # The campaign names its channels, and their order.
        (True, {"inbox": True}, {"channels": ["inbox"]}, "inbox", None),
        (True, {"inbox": True}, {"channels": ["inbox", "push"]}, "inbox", None),
        (True, {}, {"channels": ["inbox", "push"]}, "push", None),
        # No record means no: nobody gets an inbox that she did not ask for.
        (True, {"push": False}, {}, None, "channel_off"),
        (True, {}, {"channels": ["inbox"]}, None, "channel_off"),
        (False, {"inbox": True}, {"channels": ["push"]}, None, "no_push_consent"),
    ],
)
async def test_a_message_goes_by_the_first_channel_that_she_allows(
    service, push_consent, channels, campaign, channel, reason
):
    """Of the channels that a campaign names, the first one that the customer allows takes the message, or none."""
    await shopper(service, push_consent=push_consent, channels=channels)
    await service.set_up_campaign(**campaign)
    await service.walk_in("ada")
    await service.settled()
    assert await reasons(service) == [reason]
    assert [(m["channel"], m["state"]) for m in await inbox_of(service)] == ([(channel, "accepted")] if channel else [])
    assert len(service.fcm.accepted) == (channel == "push")


async def test_inbox_and_push_share_the_caps(service):
    """A message in the inbox takes a place under the daily cap like a push."""
    await shopper(service, channels={"push": False, "inbox": True})
    await service.set_up_campaign(limits={"cooldown_s": 0, "min_gap_s": 0, "per_visit": 10})
    await service.ok("PATCH", "/v1/me/preferences", {"daily_cap": 1}, who=service.customer("ada"))
    await service.walk_in("ada")
    await service.settled()
    await service.ok("PATCH", "/v1/me/preferences", {"channels": {"push": True}}, who=service.customer("ada"))
    await service.pass_time(hours=1)
    await service.ping("ada", *(fix(service.now + timedelta(seconds=s), 53.56, 10.0) for s in (-60, 0)))
    await service.pass_time(minutes=20)
    await service.walk_in("ada")
    assert (await reasons(service))[-1] == "daily_cap"
    assert service.fcm.accepted == []


async def test_the_inbox_goes_on_while_push_is_stopped(service):
    """A stop of push leaves the inbox alone."""
    await shopper(service, channels={"push": False, "inbox": True})
    await service.set_up_campaign()
    await service.ok("POST", "/v1/stop", {"channel": "push"}, who=service.ops)
    await service.walk_in("ada")
    await service.settled()
    assert [message["channel"] for message in await inbox_of(service)] == ["inbox"]


async def test_switching_a_channel_off_cancels_only_what_waits_for_it(service):
    """Push goes off: a push that waits is cancelled, a message for the inbox is not, and the other way round."""
    await shopper(service, channels={"push": True, "inbox": True})
    await service.ok("POST", "/v1/stop", {}, who=service.ops)
    await service.set_up_campaign()
    await service.walk_in("ada")
    keep = await service.ok("PATCH", "/v1/me/preferences", {"channels": {"inbox": False}}, who=service.customer("ada"))
    assert keep["cancelled"] == []
    gone = await service.ok("PATCH", "/v1/me/preferences", {"channels": {"push": False}}, who=service.customer("ada"))
    assert len(gone["cancelled"]) == 1
    await service.call("DELETE", "/v1/stop", who=service.ops)
    await asyncio.sleep(1.2)
    assert service.fcm.accepted == []
