"""The yardstick: an aiohttp handler that reads the body and answers a few bytes of JSON."""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web


async def _handle(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=202, body=b'{"accepted":1}', content_type="application/json")


async def _serve() -> None:
    application = web.Application()
    application.router.add_post("/v1/pings", _handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(f"http://{host}:{port}", flush=True)  # noqa: T201 - the parent reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
