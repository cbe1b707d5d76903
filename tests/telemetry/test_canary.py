"""Marked places, ids and tokens go through every path, also those that end badly; nothing that others read has them."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import jwt
import orjson
import pytest
from aiohttp import web
from conftest import CAMPAIGN, JWT_SECRET, STORE, Client, environment, ring, running_process, walk

from geoservice.api.routing import Route
from geoservice.app import all_routes
from geoservice.demo.fcm_stand_in import Answer

MARK = "cnry4d1e"
WHO, DEVICE, TOKEN, FID = (f"{MARK}-{part}" for part in ("customer", "device", "token", "fid"))
LAT, LON = 53.5571937, 10.0071937
PLACES = ("5571937", "0071937")
MARKS = (MARK, *PLACES)
OPEN = {**CAMPAIGN, "uses": [], "context": {}, "limits": {"cooldown_s": 0, "min_gap_s": 0, "per_visit": 50}}


class Leaks:
    """What others may read, and where a mark stands in it."""

    def __init__(self) -> None:
        self.read: list[tuple[str, str]] = []

    def see(self, where: str, text: str | bytes) -> None:
        """Keep a text, by where it was found."""
        self.read.append((where, text.decode("utf-8", "replace") if isinstance(text, bytes) else text))

    def found(self) -> list[str]:
        """Name each place with a mark, and some of the text around it."""
        return [
            f"{where}: …{text[max(0, at.start() - 80) : at.end() + 40]}…"
            for where, text in self.read
            for at in re.finditer("|".join(MARKS), text, re.IGNORECASE)
        ]


@asynccontextmanager
async def collector(leaks: Leaks) -> AsyncIterator[str]:
    """A collector of traces that keeps what it got as it came."""

    async def take(request: web.Request) -> web.Response:
        leaks.see("traces", await request.read())
        return web.Response(content_type="application/x-protobuf")

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def bodies() -> Iterator[Any]:
    """Bodies that carry marks to wherever a body is looked at: as names, as values, as broken JSON, as no JSON."""
    here = {"lat": LAT, "lon": LON, "accuracy_m": 10}
    yield {MARK: MARK}
    yield [MARK]
    yield f'{{"{MARK}": "{MARK}'.encode()
    yield MARK.encode()
    yield {
        "device_id": DEVICE,
        "pings": [{"type": MARK}, {"type": "location", **here, "recorded_at": MARK}, here, MARK],
    }
    yield {"device_id": f"{MARK} {MARK}", "pings": [here]}
    yield {"platform": MARK, "push_token": TOKEN}
    yield {"platform": "ios", "push_token": TOKEN, "timezone": MARK, "locale": f"{MARK}!"}
    yield {"granted": MARK, "notice_version": MARK}
    yield {
        "topics": {MARK: MARK},
        "channels": {MARK: True},
        "timezone": MARK,
        "quiet_hours": {"start": MARK, "end": MARK},
    }
    yield {"events": [{"type": MARK}, {"type": "searched", "occurred_at": MARK, "id": f"{MARK} x"}, MARK]}
    yield {"alias": f"{MARK} x"}
    yield {"name": MARK, "lat": MARK, "lon": LON, "timezone": MARK}
    yield {"event": MARK}
    yield {
        "type": "FeatureCollection",
        "features": [{"type": MARK, "geometry": {"type": MARK, "coordinates": [LON, LAT]}}],
    }
    yield {"name": "n", "topic": "t", "trigger": {"on": MARK}, "content": {"title": f"{{{{ {MARK} }}}}", "body": MARK}}


async def knock(client: Client, leaks: Leaks, route: Route) -> None:
    """Call one route with marks everywhere, as the right caller and as nobody; keep every refusal."""
    path = re.sub(r"\{\w+\}", f"{MARK}-id", route.path)
    right = client.customer(WHO) if route.roles is None else client.ops
    forged = jwt.encode({"sub": WHO, "exp": 1}, JWT_SECRET)
    others = jwt.encode({"sub": WHO}, f"{MARK}-secret-of-at-least-32-bytes-and-more")
    callers = [right, {}, *({"Authorization": f"Bearer {t}"} for t in (forged, others, f"{MARK}-token", f"gsk_{MARK}"))]
    query = f"?customer_id={WHO}%20x&device_id={DEVICE}&since={MARK}&{MARK}={MARK}&limit={MARK}"
    sent = list(bodies()) if route.body is not None else [None]
    for who in callers:
        for body in sent if who is right else sent[:1]:
            for where in (path, path + query) if route.query is not None else (path,):
                answer = await client.call(route.method, where, body, who=who)
                assert answer.status != 500, (route, body)
                if answer.status >= 400:
                    leaks.see(f"{route.method} {route.path} {answer.status}", orjson.dumps(answer.body))
                    leaks.see(f"{route.method} {route.path} headers", str(dict(answer.headers)))


async def live(client: Client) -> None:
    """Be near a store again and again, with a push that ends in each of the ways in which it can end."""
    await client.ok("PUT", "/v1/stores/harbour", {**STORE, "lat": 53.557, "lon": 10.007}, who=client.ops)
    for n, kind in enumerate(ENDS):
        fence = ring("harbour", 53.557, 10.007)
        await client.ok(
            "POST", "/v1/geofences/import", {"type": "FeatureCollection", "features": [fence]}, who=client.ops
        )
        await client.ok("PUT", "/v1/campaigns/open", OPEN, who=client.ops)
        who = f"{WHO}-{n}"
        client.fcm.script(Answer(kind, times=2), token=f"{TOKEN}-{n}")
        address = {"platform": "android", "push_token": f"{TOKEN}-{n}"}
        await client.ok("PUT", f"/v1/devices/{DEVICE}", address, who=client.customer(who))
        for purpose in ("location", "marketing_push", "personalisation"):
            body = {"granted": True, "notice_version": "1", "source": MARK}
            await client.ok("PUT", f"/v1/me/consents/{purpose}", body, who=client.customer(who))
        await client.ok("PATCH", "/v1/me/preferences", {"topics": {"sneakers": True}}, who=client.customer(who))
    async with asyncio.timeout(60):
        while b"geoservice_geofences 1.0" not in (await client.call("GET", "/metrics")).body:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1.2)
    path = walk(client.now, LAT, LON)
    await client.set_clock(path[-1]["recorded_at"])
    await asyncio.gather(*(walk_by(client, f"{WHO}-{n}", path) for n in range(len(ENDS))))
    await asyncio.sleep(1.5)


ENDS = ("accept", "unregistered", "invalid_token", "invalid_payload", "unavailable", "internal", "cut",
        "bad_gateway_html", "permission_denied", "sender_id_mismatch")  # fmt: skip


async def walk_by(client: Client, who: str, path: list[dict[str, Any]]) -> None:
    for each in path:
        await client.ping(who, each | {"id": f"{MARK}-{each['recorded_at']:%H%M%S}"}, device_id=DEVICE)


REFUSING = ("transitions", "visits", "decisions", "messages", "message_events", "events", "consents", "preferences",
            "aliases", "devices", "customers", "erasures", "audit_log")  # fmt: skip
BROKEN = (
    ("alter table devices rename column track to track_gone", "alter table devices rename column track_gone to track"),
    *(
        (
            f"alter table {table} add constraint never check (customer_id = 'nobody') not valid"
            if table != "erasures"
            else "alter table erasures add constraint never check (of_customer = 'nobody') not valid",
            f"alter table {table} drop constraint never",
        )
        for table in REFUSING
    ),
)
"""Statements that make the database refuse what it is given, with errors that quote it, and that mend it again."""

RUBBISH = (
    ("devices", "track", f"convert_to('{MARK}', 'utf8')"),
    ("preferences", "body", f"""'{{"topics": "{MARK}", "daily_cap": "{MARK}"}}'"""),
    ("messages", "tries", f"""'[{{"at": "{MARK}"}}]'"""),
    ("messages", "payload", f"""'["{MARK}"]'"""),
    ("decisions", "checks", f"""'["{MARK}"]'"""),
    ("campaigns", "body", f"""'{{"name": "{MARK}", "trigger": "{MARK}"}}'"""),
)
"""What no version of the code writes: reading it fails in Python, with errors that quote it."""


async def run_into_the_database(client: Client, leaks: Leaks) -> None:
    """Let every way of storing something fail in the database, whose errors quote what they refuse."""
    who = f"{WHO}-db"
    for n, (breaks, mends) in enumerate(BROKEN):
        await client.sql(breaks)
        await everything(client, leaks, who, n)
        await client.sql(mends)
    for n, (table, column, value) in enumerate(RUBBISH):
        await client.sql(f"update {table} set {column} = {value}")
        await everything(client, leaks, f"{WHO}-0", n + 200)
    others = "pid <> pg_backend_pid() and datname = current_database()"
    await client.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where {others}")


async def everything(client: Client, leaks: Leaks, who: str, n: int) -> None:
    """Do once whatever stores or reads something of a customer."""
    at = client.now + timedelta(seconds=n)
    her = client.customer(who)
    (message,) = await client.sql("select message_id from messages limit 1")
    calls = (
        ("PUT", f"/v1/devices/{DEVICE}", {"platform": "ios", "push_token": f"{TOKEN}-db", "fid": FID}, her),
        ("PUT", "/v1/me/consents/location", {"granted": True, "notice_version": MARK}, her),
        ("PATCH", "/v1/me/preferences", {"topics": {"sneakers": True}, "interests": {MARK: True}}, her),
        ("POST", "/v1/pings", {"device_id": DEVICE, "pings": walk(at, LAT, LON)}, her),
        ("POST", "/v1/events", {"events": [{"type": "searched", "id": f"{MARK}-{n}", "occurred_at": at}]}, her),
        ("POST", f"/v1/me/messages/{message['message_id']}/feedback", {"event": "creepy"}, client.customer(f"{WHO}-0")),
        ("POST", f"/v1/customers/{who}/aliases", {"alias": f"{MARK}-alias-{n}"}, client.ops),
        ("PUT", f"/v1/customers/{who}", {"attributes": {MARK: MARK}}, client.ops),
        ("GET", f"/v1/decisions?customer_id={who}", None, client.ops),
        ("GET", "/v1/me/messages", None, her),
        ("GET", "/v1/me/attention", None, her),
        ("GET", "/v1/me/presence", None, her),
        ("GET", "/v1/me/export", None, her),
        ("DELETE", "/v1/me", None, client.customer(f"{WHO}-gone-{n}")),
    )

    async def one(method: str, path: str, body: Any, caller: dict[str, str]) -> None:
        with suppress(aiohttp.ClientPayloadError):  # an export that was cut off
            answer = await client.call(method, path, body, who=caller)
            if answer.status >= 400:
                leaks.see(f"{method} {path} {answer.status}", orjson.dumps(answer.body))

    await asyncio.gather(*(one(*each) for each in calls))


async def test_nothing_that_others_read_shows_who_is_where(postgres, database_url, fcm, tmp_path: Path):
    """No mark is in logs at their most talkative, also PostgreSQL's, in metrics, traces or refusals."""
    leaks = Leaks()
    log = tmp_path / "log"
    async with collector(leaks) as otlp:
        more = {
            "GEOSERVICE_OTLP_ENDPOINT": otlp,
            "GEOSERVICE_LOG_FORMAT": "json",
            "GEOSERVICE_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        settings = environment(database_url, fcm, tmp_path, **more)
        async with running_process(settings, log) as client:
            client.fcm = fcm
            await client.set_clock(client.now)
            await live(client)
            for route in all_routes(steerable=True):
                await knock(client, leaks, route)
            await run_into_the_database(client, leaks)
            await raw_rubbish(client, leaks)
            await client.call("DELETE", "/v1/me", who=client.customer(f"{WHO}-0"))
            leaks.see("metrics", (await client.call("GET", "/metrics")).body)
    text = log.read_text()
    leaks.see("log", text)
    data = Path(unquote(parse_qs(urlsplit(postgres).query)["host"][0])).parent
    for file in data.glob("*.log"):
        leaks.see("postgresql", file.read_text(errors="replace"))
    kinds = {where.split()[0] for where, _ in leaks.read}
    assert {"traces", "metrics", "log", "postgresql", "PUT", "POST", "PATCH", "GET", "DELETE"} <= kinds
    assert len(fcm.accepted) >= 1, "the walk did not lead to a push, so this test did not see what it is about"
    assert '"level":"debug"' in text
    for provoked in ("CheckViolationError", "ValidationError", "Decode"):
        assert provoked in text, f"no {provoked} happened, so this test did not see what it is about"
    assert not leaks.found(), "\n".join(leaks.found())


async def raw_rubbish(client: Client, leaks: Leaks) -> None:
    """Send what is no HTTP, with marks in it."""
    port = urlsplit(client.app.url).port
    for data in (
        f"GET /{MARK}\x00 HTTP/1.1\r\n\r\n",
        f"POST /v1/pings HTTP/1.1\r\nHost: x\r\n{MARK} x: y\r\n\r\n",
        f"POST /v1/pings HTTP/1.1\r\nHost: x\r\nContent-Length: {MARK}\r\n\r\n",
        f"GET /{MARK * 3_000} HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data.encode())
        try:
            async with asyncio.timeout(3):
                leaks.see("GET raw", await reader.read())
        except (TimeoutError, ConnectionError):
            pass
        writer.close()


def test_the_search_finds_a_leak():
    """The search itself notices a mark, however it is written."""
    leaks = Leaks()
    leaks.see("somewhere", f"at {LAT}, {LON} of {WHO.upper()}")
    assert len(leaks.found()) == 3


CRASH = """
import asyncio, gc, sys, threading
from geoservice.telemetry.logs import configure_logs, log_lost_error, log_what_nobody_catches

configure_logs("json", level="debug")
log_what_nobody_catches()
mark = sys.argv[1]

class Careless:
    def __del__(self):
        raise KeyError(mark)

async def lose():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_lost_error)
    loop.call_soon(lambda given: int(given), mark)
    task = asyncio.create_task(fail(mark))
    await asyncio.sleep(0.05)
    del task
    gc.collect()

async def fail(given):
    raise LookupError(f"nobody is called {given}, not even '{given}'")

asyncio.run(lose())
Careless()
thread = threading.Thread(target=lambda: float(mark))
thread.start()
thread.join()
{}[mark]
"""


def test_a_process_that_dies_says_nothing_of_anybody():
    """An error that nobody caught, in the process, a thread, a task or a clean-up, is told by kind, without values."""
    command = [sys.executable, "-c", CRASH, f"{WHO}-1"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    events = ("ended_by_an_error", "thread_ended", "error_in_cleanup", "error_that_nobody_waited_for")
    assert all(event in done.stderr for event in events), done.stderr
    assert done.stderr.count("error_that_nobody_waited_for") == 2
    assert "KeyError" in done.stderr.partition("ended_by_an_error")[2]
    assert MARK not in done.stdout + done.stderr, done.stderr


WRONG = {
    "GEOSERVICE_OPS_KEY": {"GEOSERVICE_JWT_SECRET": MARK, "GEOSERVICE_OPS_KEY": f"{MARK} key"},
    "FCM credentials": {"GEOSERVICE_FCM_CREDENTIALS": "credentials.json"},
    "database": {},
}


@pytest.mark.parametrize("named", WRONG)
def test_a_process_that_cannot_start_shows_no_secret(tmp_path, named):
    """A setting that does not work is named, and so is a database that is away; no secret is shown."""
    (tmp_path / "credentials.json").write_text(f'{{"type": "service_account", "private_key": "{MARK}"}}')
    env = {
        "PATH": os.environ["PATH"],
        "GEOSERVICE_DATA_DIR": str(tmp_path / "data"),
        "GEOSERVICE_DATABASE_URL": f"postgresql://geo:{MARK}@127.0.0.1:9/geo",
        "GEOSERVICE_PORT": "0",
        **WRONG[named],
    }
    command = [sys.executable, "-m", "geoservice", "serve"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode
    assert named in said, said
    assert MARK not in said, said
