"""A push on the wire: Android's fields, Apple's fields, and what cannot be written."""

from __future__ import annotations

import pytest
from pushes import EXPIRES_AT, push

from geoservice.push.outcomes import Accepted, Rejected
from geoservice.vocabulary import Platform


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
