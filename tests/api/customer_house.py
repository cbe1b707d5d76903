"""What tests of customers share: messages in a state, and lists to their end."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from conftest import Client

from geoservice.demo.fcm_stand_in import Answer

LATER = Answer("unavailable", retry_after="30")


async def waiting(client: Client, who: str) -> str:
    """Give a message of hers that waits, since the provider is not available; returns its id."""
    return await message_in(client, who, "retry_wait", LATER)


async def sending(client: Client, who: str) -> str:
    """Give a message of hers that is with the provider right now, which takes its time; returns its id."""
    return await message_in(client, who, "sending", Answer("accept", delay_s=0.6))


async def message_in(client: Client, who: str, state: str, answer: Answer) -> str:
    client.fcm.script(answer, token=f"token-{who}-phone")
    await client.opt_in(who)
    await client.browse(who)
    await client.walk_in(who)
    async with asyncio.timeout(60):
        while not (rows := await messages(client, who)) or rows[0]["state"] != state:
            await asyncio.sleep(0.01)
    (row,) = rows
    return row["message_id"]


async def messages(client: Client, who: str) -> list[Any]:
    return await client.sql("select * from messages where customer_id = $1", who)


async def state_of(client: Client, message_id: str) -> tuple[str, str | None]:
    (row,) = await client.sql("select state, failure from messages where message_id = $1", message_id)
    return row["state"], row["failure"]


async def all_pages(client: Client, path: str, who: dict[str, str], parameter: str) -> list[dict[str, Any]]:
    """Follow ``next`` to the end; no page is empty or longer than asked for."""
    items: list[dict[str, Any]] = []
    step = ""
    while True:
        body = await client.ok("GET", path + step, who=who)
        assert 1 <= len(body["items"]) <= 2
        items += body["items"]
        if "next" not in body:
            return items
        step = f"&{parameter}={quote(body['next'], safe='')}"
