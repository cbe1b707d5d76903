"""A customer's phones: dead addresses, new ones, and several phones that count as one customer."""

from __future__ import annotations

import asyncio
from typing import Any

from conftest import Client

from geoservice.demo.fcm_stand_in import Answer


async def shopper(service: Client, *devices: str) -> None:
    await service.set_up_store()
    await service.set_up_campaign()
    for device in devices:
        await service.opt_in("ada", device_id=device)
    await service.browse("ada")


async def only_message(service: Client, *states: str) -> Any:
    """Wait until her one message is in one of these states."""
    async with asyncio.timeout(60):
        while True:
            (row,) = await service.sql("select * from messages")
            if row["state"] in states:
                return row
            await asyncio.sleep(0.02)


async def test_a_dead_token_is_forgotten_and_her_other_phone_gets_it(service):
    """The phone that moved was wiped: its token goes, and the same message reaches her other phone, once."""
    await shopper(service, "phone", "tablet")
    service.fcm.script(Answer(kind="unregistered"), token="token-ada-phone")
    await service.walk_in("ada", device_id="phone")
    await service.delivered(1)
    message = await only_message(service, "accepted")
    assert [push.token for push in service.fcm.accepted] == ["token-ada-tablet"]
    assert (message["device_id"], message["attempts"]) == ("tablet", 2)
    assert await service.sql("select from devices where device_id = 'phone' and push_token is null")


async def test_the_last_dead_token_ends_the_message(service):
    """With no other phone to reach, the message has failed and gives its place under the caps back."""
    await shopper(service, "phone")
    service.fcm.script(Answer(kind="unregistered"))
    await service.walk_in("ada")
    message = await only_message(service, "failed")
    assert message["failure"] == "unregistered"
    await service.pass_time(minutes=10)
    assert len(await service.sql("select from messages where state = 'failed'")) == 1


async def test_a_token_that_changed_since_the_claim_stays(service):
    """The app registers a new token while FCM refuses the old one: the new one is kept, and gets the message."""
    await shopper(service, "phone")
    service.fcm.script(Answer(kind="unregistered", delay_s=0.5), token="token-ada-phone")
    await service.walk_in("ada")
    await only_message(service, "sending")
    await service.pass_time(seconds=1)
    body = {"platform": "android", "push_token": "a-new-token"}
    await service.ok("PUT", "/v1/devices/phone", body, who=service.customer("ada"))
    await only_message(service, "retry_wait", "claimed", "sending", "accepted")
    await service.delivered(1)
    assert service.fcm.accepted[0].token == "a-new-token"
    (device,) = await service.sql("select push_token from devices")
    assert device["push_token"] == "a-new-token"


async def test_a_phone_without_an_address_leaves_it_to_another(service):
    """The phone that moved never registered a token: the message goes to the one that did."""
    await shopper(service, "tablet")
    await service.walk_in("ada", device_id="watch")
    await service.delivered(1)
    message = await only_message(service, "accepted")
    assert message["device_id"] == "tablet"


async def test_three_phones_are_one_customer(service):
    """Three phones enter together: one visit, one message, on one phone."""
    await shopper(service, "phone", "tablet", "watch")
    now = service.now
    for device in ("phone", "tablet", "watch"):
        service.now = now
        await service.walk_in("ada", device_id=device)
    await service.settled()
    await service.delivered(1)
    assert len(await service.sql("select from messages")) == 1
    assert len(service.fcm.accepted) == 1


async def test_a_jump_of_dead_tokens_stops_pruning(service, capfd):
    """When suddenly a large share of tokens is called dead, they are kept and somebody is told: it may be our fault."""
    names = [f"c{n:02}" for n in range(40)]
    await service.set_up_store()
    for name in names:
        await service.opt_in(name)
    service.fcm.script(Answer(kind="unregistered", times=40))
    await service.sql(
        """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, device_id, purposes,
                                 payload, why, reserved_at, not_before, expires_at)
           select customer_id, 'm-' || customer_id, 'd', 'c', 't', 'push', device_id, '{}',
                  '{"title": "t", "body": "b"}', '{}', $1, $1, $1::timestamptz + interval '10 minutes' from devices""",
        service.now,
    )
    await service.sql("select pg_notify('geoservice_outbox', '')")
    async with asyncio.timeout(60):
        while await service.sql("select from messages where state <> 'failed'"):
            await asyncio.sleep(0.05)
    kept = await service.sql("select from devices where push_token is not null")
    assert len(kept) == 21
    assert "pruning_stopped" in capfd.readouterr().out
    metrics = (await service.call("GET", "/metrics")).body.decode()
    assert 'geoservice_pruning_stopped{channel="push"} 1.0' in metrics
