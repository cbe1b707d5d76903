"""The demo's only way into the service: HTTP, as an app, as a till and as operations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson

from geoservice.errors import GeoserviceError

ACCESS_REASON: Final = "geoservice demo"


class Refused(GeoserviceError):
    """The service answered a call of the story with an error."""


class Client:
    """Calls one service; ``sign`` makes a customer's token."""

    def __init__(self, url: str, session: aiohttp.ClientSession, ops_key: str, sign: Callable[[str], str]) -> None:
        self.url = url
        self._session = session
        self._ops_key = ops_key
        self._sign = sign

    async def call(self, method: str, path: str, body: Any = None, *, customer: str | None = None) -> Any:
        """Give the answer's body; ``customer`` is who calls, None is the shop. Raises Refused."""
        headers = {
            "Authorization": f"Bearer {self._ops_key if customer is None else self._sign(customer)}",
            "Access-Reason": ACCESS_REASON,
            "Content-Type": "application/json",
        }
        data = None if body is None else orjson.dumps(body)
        async with self._session.request(method, self.url + path, data=data, headers=headers) as response:
            raw = await response.read()
        if response.status >= 300:
            raise Refused(f"{method} {path} answered {response.status}: {raw.decode(errors='replace')[:500]}")
        return orjson.loads(raw) if "json" in response.content_type else raw.decode()

    async def put_clock(self, at: datetime, *, flows: bool = False) -> None:
        """Move the service's clock."""
        await self.call("PUT", "/v1/clock", {"now": at, "flows": flows})

    async def items(self, path: str, *, customer: str | None = None) -> list[dict[str, Any]]:
        """Give the items of a list; the story's lists fit one page."""
        items: list[dict[str, Any]] = (await self.call("GET", path, customer=customer))["items"]
        return items
