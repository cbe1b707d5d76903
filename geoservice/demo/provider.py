"""The push provider of the demo: the stand-in, which also remembers the message ids that it gave away."""

from __future__ import annotations

import orjson
from aiohttp import web

from geoservice.demo.fcm_stand_in import FcmStandIn


class Provider(FcmStandIn):
    """``names`` are the provider's message ids by ours."""

    def __init__(self) -> None:
        super().__init__(project_id="demo")
        self.names: dict[str, str] = {}

    async def _checked_send(self, request: web.Request) -> web.StreamResponse:
        response = await super()._checked_send(request)
        if response.status == 200 and isinstance(response, web.Response) and isinstance(response.body, bytes):
            message_id = orjson.loads(await request.read())["message"]["data"]["message_id"]
            self.names[message_id] = orjson.loads(response.body)["name"]
        return response
