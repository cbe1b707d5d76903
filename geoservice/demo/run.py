"""``geoservice demo``: a service of its own, the story played against it, and then it is yours to try."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import orjson
import uvloop

from geoservice.api.auth import CustomerTokens, jwt_secret
from geoservice.app import App
from geoservice.config import Settings, load_settings
from geoservice.demo.city import CAMPAIGNS, publish
from geoservice.demo.client import Client
from geoservice.demo.fcm_stand_in import FcmStandIn
from geoservice.demo.phones import Phones
from geoservice.demo.result import Result
from geoservice.demo.stage import ZONE
from geoservice.demo.story import LENA, Story
from geoservice.demo.timeline import Timeline
from geoservice.telemetry.logs import configure_logs

STORY_TIMEOUT_S: Final = 60.0
TOKEN_TTL_S: Final = 3_600
FOLDER: Final = "geoservice-demo-"
HOST: Final = "127.0.0.1"
_FAILED: Final = 1
_INTERRUPTED: Final = 130
_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_demo(*, once: bool, as_json: bool) -> int:
    """Play the story; 0 when it went as told, 1 when not, 130 when it was interrupted.

    With ``as_json`` the result is one JSON object on the last line of standard output, and the timeline goes
    to standard error. Without ``once`` the service keeps running until it is told to stop.
    """
    configure_logs("console", level="warning")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # terminals without Unicode
    # Mode 0700. Fresh each time, so that the story is the same each time.
    with tempfile.TemporaryDirectory(prefix=FOLDER, ignore_cleanup_errors=True) as folder:
        return uvloop.run(_Demo(Path(folder), once=once, as_json=as_json).run())


class _Demo:
    def __init__(self, folder: Path, *, once: bool, as_json: bool) -> None:
        self._folder = folder
        self._once = once
        self._as_json = as_json
        self._ops_key = secrets.token_urlsafe(24)
        self._timeline = Timeline(sys.stderr if as_json else sys.stdout)
        self._told_to_stop = asyncio.Event()

    async def run(self) -> int:
        """Start, play, serve, stop. Signals only set a mark: what has begun to start is stopped in order."""
        for number in _ENDINGS:
            asyncio.get_running_loop().add_signal_handler(number, self._told_to_stop.set)
        async with FcmStandIn(project_id="demo") as provider:
            phones = Phones(provider)
            # The phones end before the app does: their streams would hold it up.
            async with App(self._settings(provider), demo=phones.routes) as app, phones, self._client(app) as client:
                return await self._play_and_serve(app, client, provider)

    async def _play_and_serve(self, app: App, client: Client, provider: FcmStandIn) -> int:
        result = await self._until_told(app, self._play(app, client, provider))
        if result is None:
            return _FAILED if app.failed.is_set() else _INTERRUPTED
        self._report(result)
        if not self._once:
            await self._keep_serving(app, client, result)
        return 0 if result.ok and not app.failed.is_set() else _FAILED

    def _settings(self, provider: FcmStandIn) -> Settings:
        """Settings of the demo alone: the others in the environment are for services that are no story."""
        wanted = _wanted_port()
        port = wanted if _is_free(wanted) else 0
        if port != wanted:
            self._timeline.say(f"Port {wanted} is taken, so the demo takes another.", "")
        return load_settings(
            {
                "GEOSERVICE_DATA_DIR": str(self._folder),
                "GEOSERVICE_HOST": HOST,
                "GEOSERVICE_PORT": str(port),
                "GEOSERVICE_OPS_KEY": self._ops_key,
                "GEOSERVICE_FCM_CREDENTIALS": str(provider.write_service_account(self._folder / "fcm.json")),
                "GEOSERVICE_FCM_ENDPOINT": provider.base_url,
                "GEOSERVICE_CLOCK": "steerable",
            }
        )

    @contextlib.asynccontextmanager
    async def _client(self, app: App) -> AsyncIterator[Client]:
        # The secret that the service made into its folder; `geoservice token` finds it there, too.
        tokens = CustomerTokens(jwt_secret(None, self._folder))
        async with aiohttp.ClientSession() as session:
            yield Client(app.url, session, self._ops_key, lambda customer: tokens.sign(customer, TOKEN_TTL_S))

    async def _play(self, app: App, client: Client, provider: FcmStandIn) -> Result:
        started = time.perf_counter()
        city = await publish(client)
        self._timeline.opening(len(city.places), city.geofences, len(CAMPAIGNS))
        story = Story(client, city, lambda: [push.message_id for push in provider.accepted], self._timeline.step)
        try:
            async with asyncio.timeout(STORY_TIMEOUT_S):
                await story.play()
        except TimeoutError:
            story.result.differences.append(f"The story was not over after {STORY_TIMEOUT_S:.0f} s.")
        result = story.result
        result.seconds, result.url = round(time.perf_counter() - started, 2), app.url
        return result

    async def _until_told(self, app: App, work: Coroutine[Any, Any, Result]) -> Result | None:
        """Give what ``work`` gives, or None when the service failed or a signal came first."""
        task = asyncio.ensure_future(work)
        ends = [asyncio.ensure_future(event.wait()) for event in (self._told_to_stop, app.failed)]
        await asyncio.wait([task, *ends], return_when=asyncio.FIRST_COMPLETED)
        finished = task.done()
        for each in (task, *ends):
            each.cancel()
        await asyncio.gather(task, *ends, return_exceptions=True)
        return task.result() if finished else None

    def _report(self, result: Result) -> None:
        self._timeline.ending(result)
        if self._as_json:
            summary = {"ok": result.ok, "pushes": result.pushes, "silences": dict(result.silences)}
            document = {**summary, **msgspec.to_builtins(result)}
            print(orjson.dumps(document, default=msgspec.to_builtins).decode(), flush=True)  # noqa: T201 - the answer

    async def _keep_serving(self, app: App, client: Client, result: Result) -> None:
        now = datetime.fromisoformat((await client.call("GET", "/v1/clock"))["now"]).astimezone(ZONE)
        await client.put_clock(now, flows=True)
        if not self._as_json:
            self._timeline.serving(result, self._commands(result), now)
        ends = [asyncio.ensure_future(event.wait()) for event in (self._told_to_stop, app.failed)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()

    def _commands(self, result: Result) -> dict[str, list[str]]:
        """Lines that work against this service, by what they are for."""
        geoservice = _own_command()
        silence = next((step.decision_id for step in reversed(result.steps) if step.decision_id), "DECISION_ID")
        return {
            "where it is, and the keys": [
                f"export GEOSERVICE_DATA_DIR={self._folder}",
                f"OPS_KEY={self._ops_key}",
                f"TOKEN=$({geoservice} token --customer {LENA})",
            ],
            f"{LENA.capitalize()}'s messages, as her app gets them": [
                f'curl -s -H "Authorization: Bearer $TOKEN" \\\n    {result.url}/v1/me/messages'
            ],
            "every decision about her, as operations get them": [
                f'curl -s -H "Authorization: Bearer $OPS_KEY" \\\n    "{result.url}/v1/decisions?customer_id={LENA}"'
            ],
            "the last of them, check by check": [f"{geoservice} explain {silence}"],
        }


def _wanted_port() -> int:
    given = {name: os.environ[name] for name in ("GEOSERVICE_PORT",) if name in os.environ}
    return load_settings(given).port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _own_command() -> str:
    """The command as it can be typed here: by its name if the shell finds it, else by its shortest path."""
    own = Path(sys.argv[0]).absolute()
    found = shutil.which(own.name)
    if found is not None and Path(found).resolve() == own.resolve():
        return own.name
    with contextlib.suppress(ValueError):
        return str(own.relative_to(Path.cwd()))
    return str(own)
