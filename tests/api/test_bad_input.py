"""What an attacker or a broken client sends: refused in a sentence, at no cost to anybody else."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import socket
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import pytest_asyncio
from conftest import NOON, Client, environment, fix, new_database, ring, running_process

from geoservice.api.routing import SMALL_BODY, Route
from geoservice.app import all_routes

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITH_BODY = [route for route in all_routes(steerable=True) if route.body is not None]
SMALL = [route for route in WITH_BODY if route.body_max == SMALL_BODY]
GUARDED_GETS = [route for route in all_routes(steerable=True) if route.method == "GET"]
INNARDS = ("Traceback", 'File "', "Error(", "Exception", "msgspec", "aiohttp", "asyncpg", "bytearray(", "b'", "orjson")
"""Words that only somebody with the source should ever read."""


def named(routes: list[Route]) -> Any:
    return pytest.mark.parametrize("route", routes, ids=[f"{route.method} {route.path}" for route in routes])


def path_of(route: Route) -> str:
    return (
        route.path.replace("{id}", "thing")
        .replace("{purpose}", "location")
        .replace("{alias}", "other")
        .replace("{feed}", "till")
    )


def credentials(client: Client, route: Route) -> dict[str, str]:
    return client.customer("eve") if route.roles is None else client.ops


async def send(client: Client, route: Route, body: bytes, **headers: str) -> Any:
    return await post(client, path_of(route), body, credentials(client, route), route.method, **headers)


async def post(client: Client, path: str, body: Any, who: dict[str, str], method: str = "POST", **headers: str) -> Any:
    """Send a body of any size."""
    data = body if isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_UTC_Z)
    headers = {"Content-Type": "application/json"} | who | headers
    async with client.session.request(method, client.app.url + path, data=io.BytesIO(data), headers=headers) as answer:
        raw_answer = await answer.read()
        json = orjson.loads(raw_answer) if "json" in answer.content_type else raw_answer
        return SimpleNamespace(status=answer.status, headers=answer.headers, body=json)


def refused(answer: Any, *statuses: int) -> None:
    """Check a problem document with a code, which shows nothing of the inside."""
    assert answer.status in statuses, (answer.status, answer.body)
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["code"].replace("_", "").isalpha()
    shows_nothing(answer)


def shows_nothing(answer: Any) -> None:
    text = str(answer.body)
    assert [word for word in INNARDS if word in text] == []


# Bytes, as they are -------------------------------------------------------------------------------------------------


async def raw(client: Client, data: bytes, timeout_s: float = 5) -> bytes:
    """Send bytes and read until the other side hangs up, or the time is over."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.app.address[1])
    received = b""
    try:
        writer.write(data)
        async with asyncio.timeout(timeout_s):
            while chunk := await reader.read(65_536):
                received += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return received


def head(route: str, *lines: str) -> bytes:
    return "\r\n".join([f"{route} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


async def alive(client: Client, within_s: float = 1.0) -> None:
    """Check that somebody else is answered, and soon."""
    started = time.monotonic()
    assert (await client.call("GET", "/healthz")).status == 200
    assert (await client.call("GET", "/v1/me/consents", who=client.customer("bystander"))).status == 200
    assert time.monotonic() - started < within_s


NO_HTTP = {
    "zeros": b"\x00\x01\x02\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
    "words": b"hello there\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "a path of no characters": head("GET /v1/") .replace(b"/v1/", b"/v1/\xff\xfe"),
    "a port that cannot be": head("GET http://x:99999/healthz"),
    "two lengths": head("POST /v1/pings", "Content-Length: 2", "Content-Length: 3"),
    "length and chunks": head("POST /v1/pings", "Content-Length: 2", "Transfer-Encoding: chunked"),
    "a length below zero": head("POST /v1/pings", "Content-Length: -2"),
    "a length beyond numbers": head("POST /v1/pings", "Content-Length: " + "9" * 40),
    "a length in words": head("POST /v1/pings", "Content-Length: two"),
    "a chunk of no size": head("POST /v1/pings", "Transfer-Encoding: chunked") + b"zz\r\n",
    "NUL in a header": head("GET /healthz", "X: a\x00b"),
    "a lone CR in a header": head("GET /healthz", "X: a\rSet-Cookie: b"),
    "a name with a space": head("GET /healthz", "X y: a"),
    "a folded header": head("GET /healthz", "X: a", "\tb: c"),
    "1,000 headers": head("GET /healthz", *(f"X{n}: a" for n in range(1_000))),
    "a long header": head("GET /healthz", "Authorization: Bearer " + "s3cret" * 5_000),
    "a long path": head("GET /" + "a" * 20_000),
    "a long query": head("GET /v1/transitions?customer_id=" + "a" * 20_000),
}  # fmt: skip


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=list(NO_HTTP))
async def test_what_is_no_http_is_refused(shared, data):
    """What breaks HTTP gets a problem document that repeats nothing of it, and the connection is closed."""
    answer = await raw(shared, data)
    first, _, rest = answer.partition(b"\r\n")
    assert first.split(b" ")[1] in {b"400", b"431"}, answer
    assert b"application/problem+json" in rest
    body = orjson.loads(rest.partition(b"\r\n\r\n")[2])
    assert body["code"] in {"bad_request", "too_large"}
    assert not [word for word in (*INNARDS, "aaaa", "s3cret") if word in str(body)]
    await alive(shared)


async def test_garbage_behind_a_request_costs_only_itself(shared):
    """A good request is answered though garbage follows on the same connection; then the connection is closed."""
    answer = await raw(shared, head("GET /healthz") + b"asdf asdf\r\n\r\n")
    assert b"alive" in answer or answer.startswith(b"HTTP/1.0 400 ")
    answer = await raw(shared, head("GET /healthz") * 5 + head("GET /healthz", "Connection: close"))
    assert answer.count(b"HTTP/1.1 200 OK") == 6


async def test_old_clients_are_answered(shared):
    """HTTP/1.0 works, without a host, and the connection is closed after the answer."""
    answer = await raw(shared, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK")
    assert answer.endswith(b'{"status":"alive"}')


async def test_a_body_that_nobody_asked_for_is_dropped(shared):
    """A GET with a body is answered as one without, and so is the next request on that connection."""
    data = head("GET /healthz", "Content-Length: 5") + b"hello" + head("GET /healthz", "Connection: close")
    assert (await raw(shared, data)).count(b"200 OK") == 2


def authorised(client: Client) -> str:
    return "Authorization: " + client.customer("eve")["Authorization"]


async def test_a_body_is_asked_for_only_when_it_is_wanted(shared):
    """With `Expect: 100-continue`, a good request is told to go on; a stranger or too large a body is refused first."""
    expecting = ("Expect: 100-continue", "Content-Type: application/json", "Connection: close")
    body = b'{"events": []}'
    answer = await raw(
        shared, head("POST /v1/events", authorised(shared), *expecting, f"Content-Length: {len(body)}") + body
    )
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ")
    for lines, status in (((), 401), ((authorised(shared),), 413)):
        answer = await raw(shared, head("POST /v1/events", *lines, *expecting, "Content-Length: 10000000"), 0.5)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"Connection: close" in answer


async def test_hanging_up_is_no_error(shared, capfd):
    """A client that hangs up in the middle of its body leaves no error behind."""
    capfd.readouterr()
    for _ in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", shared.app.address[1])
        writer.write(
            head("POST /v1/events", authorised(shared), "Content-Type: application/json", "Content-Length: 99")
        )
        writer.write(b'{"events"')
        await writer.drain()
        writer.close()
    await alive(shared)
    await asyncio.sleep(0.1)
    out, err = capfd.readouterr()
    assert "request_failed" not in out + err


# Slow, and many -----------------------------------------------------------------------------------------------------


async def test_a_head_that_never_ends_is_cut(postgres, tmp_path):
    """Who sends headers a byte at a time disturbs nobody and is cut after a bounded time, 75 s unless changed."""
    async with one_service(postgres, tmp_path, GEOSERVICE_CONNECTION_IDLE_S="1") as client:
        slow = [asyncio.create_task(drip(client, head("GET /healthz", "X: " + "a" * 100)[:-4])) for _ in range(50)]
        await asyncio.sleep(0.3)
        await alive(client)
        assert max(await asyncio.gather(*slow)) < 4


async def test_a_body_that_never_ends_is_cut(postgres, tmp_path, monkeypatch):
    """Who sends a body a byte at a time is told 408 after a bounded time, 20 s for a small one unless changed."""
    from geoservice.api import routing

    monkeypatch.setattr(routing, "BODY_S", 0.5)
    async with one_service(postgres, tmp_path) as client:
        start = head("POST /v1/events", authorised(client), "Content-Type: application/json", "Content-Length: 5000")
        reader, writer = await asyncio.open_connection("127.0.0.1", client.app.address[1])
        writer.write(start)
        async with asyncio.timeout(5):
            while not reader._buffer:
                writer.write(b" ")
                await asyncio.sleep(0.05)
        answer = await reader.read(10_000)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"request_timeout"' in answer
        await alive(client)


async def drip(client: Client, data: bytes) -> float:
    """Send a byte every tenth of a second until the other side hangs up; gives the seconds that it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.app.address[1])
    started = time.monotonic()
    for byte in data:
        if reader.at_eof() or writer.is_closing():
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.1)
    writer.close()
    return time.monotonic() - started


@asynccontextmanager
async def one_service(postgres: str, folder: Path, **settings: str) -> AsyncIterator[Client]:
    from conftest import running

    async with new_database(postgres) as url, running(environment(url, None, folder, **settings), None) as client:
        yield client


@pytest.mark.parametrize(("path", "times"), [("/openapi.json", 200), ("/healthz", 500)])
async def test_who_never_reads_the_answers_is_cut(postgres, tmp_path, path, times):
    """A connection that asks and never reads, for much or for little, is cut; nothing of it stays in memory."""
    async with one_service(postgres, tmp_path, GEOSERVICE_CONNECTION_IDLE_S="1") as client:
        address = client.app.address[:2]
        deaf = []
        for _ in range(5):
            channel = socket.socket()
            channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            channel.setblocking(False)
            await asyncio.get_running_loop().sock_connect(channel, address)
            with suppress(BlockingIOError):
                channel.send(head(f"GET {path}") * times)
            deaf.append(channel)
        theirs = {channel.getsockname()[1] for channel in deaf}
        assert open_connections(address[1], theirs) == len(deaf)
        async with asyncio.timeout(15):
            while open_connections(address[1], theirs):
                await asyncio.sleep(0.1)
                await alive(client)
        for channel in deaf:
            channel.close()


def open_connections(port: int, of_ports: set[int]) -> int:
    """How many connections from these ports the service has not let go of, as the kernel sees it (proc(5))."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ours, theirs = (int(each.rpartition(":")[2], 16) for each in fields[1:3])
        # What the kernel still tries to deliver after the service has hung up has no inode any more.
        found += ours == port and theirs in of_ports and fields[9] != "0"
    return found


async def test_idle_connections_disturb_nobody(shared):
    """With 500 connections that were used once and kept open, others are answered as before."""
    writers = []
    for _ in range(500):
        reader, writer = await asyncio.open_connection("127.0.0.1", shared.app.address[1])
        writer.write(head("GET /healthz"))
        writers.append((reader, writer))
    for reader, _ in writers:
        assert (await reader.readuntil(b"alive")).startswith(b"HTTP/1.1 200")
    await alive(shared)
    for _, writer in writers:
        writer.close()


# Too much -----------------------------------------------------------------------------------------------------------


@named(SMALL)
async def test_ten_megabytes_are_too_much(shared, route):
    """A body of 10 MB on a route for small things is a 413 before it was read, and others go on."""
    started = time.monotonic()
    refused(await send(shared, route, b" " * 10_000_000), 413)
    assert time.monotonic() - started < 3
    await alive(shared)


@pytest.mark.parametrize(
    ("path", "name", "item"),
    [
        ("/v1/pings", "pings", fix(NOON, 53.5, 10)),
        ("/v1/events", "events", {"type": "searched", "occurred_at": NOON}),
        ("/v1/pings", "pings", {}),
        ("/v1/events", "events", 7),
    ],
)
async def test_ten_thousand_items_are_too_many(shared, path, name, item):
    """A batch of 10,000 items, good or bad ones, is refused as a whole."""
    body = {name: [item] * 10_000} | ({"device_id": "phone"} if name == "pings" else {})
    refused(await shared.call("POST", path, body, who=shared.customer("eve")), 413)


async def test_a_large_upload_is_legal(shared):
    """20,000 geofences in one upload are taken, and meanwhile others are answered."""
    await shared.ok(
        "PUT", "/v1/stores/grid", {"name": "Grid", "lat": 53.5, "lon": 10, "timezone": "UTC"}, who=shared.ops
    )
    features = []
    for n in range(20_000):
        feature = ring("grid", 53 + n // 200 * 0.005, 9.5 + n % 200 * 0.005, 50)
        feature["properties"] |= {"id": f"grid-{n}", "store_id": None}
        features.append(feature)
    body = {"type": "FeatureCollection", "features": features}
    upload = asyncio.create_task(post(shared, "/v1/geofences/import", body, shared.ops))
    while not upload.done():
        await alive(shared, within_s=5)
        await asyncio.sleep(0.1)
    answer = await upload
    assert (answer.status, answer.body["created"]) == (200, 20_000)


# Packed -------------------------------------------------------------------------------------------------------------

EMPTY = b'{"events": []}'
BADLY_PACKED = {
    "gzip of garbage": ("gzip", b"garbage" * 10, 400),
    "gzip cut off": ("gzip", gzip.compress(os.urandom(2_000))[:500], 400),
    "gzip of nothing": ("gzip", b"", 400),
    "deflate of garbage": ("deflate", b"\xff" * 50, 400),
    "brotli": ("br", b"garbage", 415),
    "zstandard": ("zstd", b"garbage", 415),
    "a packing that does not exist": ("foo", EMPTY, 415),
    "packed twice": ("gzip, gzip", gzip.compress(gzip.compress(EMPTY)), 415),
}


@pytest.mark.parametrize(("encoding", "body", "status"), BADLY_PACKED.values(), ids=list(BADLY_PACKED))
async def test_a_badly_packed_body_is_refused(shared, encoding, body, status):
    """What cannot be unpacked is refused, and the service goes on."""
    who = shared.customer("eve")
    refused(await shared.call("POST", "/v1/events", body, who=who, headers={"Content-Encoding": encoding}), status)
    await alive(shared)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_a_packed_body_is_taken(shared, encoding):
    """Gzip and deflate are unpacked."""
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[encoding]
    who = shared.customer("eve")
    answer = await shared.call("POST", "/v1/events", pack(EMPTY), who=who, headers={"Content-Encoding": encoding})
    assert answer.status == 202


@pytest_asyncio.fixture(loop_scope="module")
async def process(postgres, tmp_path):
    """The service as a process of its own."""
    async with (
        new_database(postgres) as url,
        running_process(environment(url, None, tmp_path), tmp_path / "log") as client,
    ):
        yield client


def memory_mb(client: Client) -> float:
    status = Path(f"/proc/{client.app._process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def bomb() -> bytes:
    """A megabyte that unpacks to a gigabyte of spaces."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * 2**24
    return b"".join(packer.compress(block) for _ in range(64)) + packer.flush()


async def test_a_bomb_does_not_go_off(process):
    """A megabyte that unpacks to a gigabyte is a 413; the service's memory stays where it was."""
    packed = bomb()
    assert len(packed) < 1_100_000
    await alive(process, within_s=5)
    before = memory_mb(process)
    for path, who in (
        ("/v1/events", process.customer("eve")),
        ("/v1/pings", process.customer("eve")),
        ("/v1/stores/a", process.ops),
    ):
        headers = {"Content-Encoding": "gzip"}
        method = "PUT" if "stores" in path else "POST"
        refused(await post(process, path, packed, who, method, **headers), 413)
        await alive(process, within_s=0.5)
    assert memory_mb(process) - before < 150
    await alive(process, within_s=5)


# JSON ---------------------------------------------------------------------------------------------------------------

NO_JSON = {
    "nothing": b"",
    "spaces": b"   ",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "no UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-8 of half a character": b'{"name": "\xed\xa0\xbd"}',
    "a raw NUL": b'{"name": "\x00"}',
    "two bodies": b"{}{}",
    "never closed": b'{"a":' * 5_000,
    "a comment": b"{} // nothing",
    "single quotes": b"{'a': 1}",
    "not a number": b'{"a": NaN}',
}
ODD_JSON = {
    "5,000 brackets": b"[" * 5_000 + b"]" * 5_000,
    "5,000 objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "half a character": b'{"name": "\\ud83d"}',
    "NUL, escaped": b'{"name": "\\u0000"}',
    "1e400": b'{"name": 1e400, "lat": 1e400}',
    "10**400": b'{"name": 1' + b"0" * 400 + b', "lat": 1' + b"0" * 400 + b"}",
    "null": b"null",
    "a number": b"7",
    "a list": b"[]",
    "a name twice": b'{"name": 1, "name": 2}',
    "a prototype": b'{"__proto__": {"a": 1}, "constructor": 1}',
    "a long name": b'{"' + b"a" * 100_000 + b'": 1}',
}


OWNTRACKS = "/v1/ingest/owntracks"
"""It takes an empty body, and messages of kinds that it does not know, since its app would send them for ever."""
MAY_BE_EMPTY = {OWNTRACKS, "/v1/campaigns/{id}/dry-run"}


@named(WITH_BODY)
async def test_what_is_no_json_is_a_400(shared, route):
    """A body that is no JSON is refused as such on every route."""
    for name, body in NO_JSON.items():
        if route.path in MAY_BE_EMPTY and not body.strip():
            continue
        answer = await send(shared, route, body)
        assert answer.status == 400, (name, answer.status, answer.body)
        refused(answer, 400)


@named(WITH_BODY)
async def test_odd_json_is_refused(shared, route):
    """Nested to absurdity, huge numbers, half characters: a refusal on every route, never an error of ours."""
    for name, body in ODD_JSON.items():
        answer = await send(shared, route, body)
        if route.path == OWNTRACKS and answer.status == 200:
            assert answer.body == []
            continue
        assert 400 <= answer.status < 500, (name, answer.status, answer.body)
        refused(answer, 400, 404, 422)
    await alive(shared)


@named(WITH_BODY)
async def test_another_content_type_is_refused(shared, route):
    """A body that does not call itself JSON is not read."""
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/xml", "application/json5", "nonsense"):
        answer = await send(shared, route, b"{}", **{"Content-Type": kind})
        if kind != "nonsense":  # what is no content type at all is read as none
            refused(answer, 415)
        assert answer.status < 500


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "nonsense", '"', "utf-8"])
async def test_a_charset_changes_nothing(shared, charset):
    """JSON is UTF-8, whatever its content type says."""
    headers = {"Content-Type": f"application/json; charset={charset}"}
    answer = await shared.call("POST", "/v1/events", EMPTY, who=shared.customer("eve"), headers=headers)
    assert answer.status == 202


async def test_an_item_beyond_numbers_costs_no_other(shared):
    """Numbers that no number can hold spoil their own item only, and the answer names it."""
    who = shared.customer("eve")
    for number in (b"1e400", b"1" + b"0" * 400, b"-1e400"):
        bad = b'{"type": "carted", "occurred_at": "2026-03-04T11:00:00Z", "quantity": ' + number + b"}"
        good = b'{"type": "carted", "occurred_at": "2026-03-04T11:00:00Z"}'
        answer = await shared.call("POST", "/v1/events", b'{"events": [' + bad + b"," + good + b"]}", who=who)
        if answer.status == 202:
            assert [each["index"] for each in answer.body["rejected"]] == [0]
        else:
            refused(answer, 400)
        shows_nothing(answer)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
                                "10000-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z"])  # fmt: skip
async def test_impossible_times_are_refused(shared, at):
    """Times at the ends of the calendar are refused by item, and elsewhere with a 422."""
    who = shared.customer("eve")
    events = await shared.call("POST", "/v1/events", {"events": [{"type": "searched", "occurred_at": at}]}, who=who)
    pings = await shared.call(
        "POST", "/v1/pings", {"device_id": "p", "pings": [fix(NOON, 1, 1) | {"recorded_at": at}]}, who=who
    )
    for answer in (events, pings):
        assert answer.status == 202
        assert answer.body["accepted"] == 0
        shows_nothing(answer)
    for body in ({"snooze_until": at},):
        answer = await shared.call("PATCH", "/v1/me/preferences", body, who=who)
        assert answer.status in {200, 422}, answer.body
        assert (await shared.call("GET", "/v1/me/preferences", who=who)).status == 200


async def test_a_phone_of_somebody_else_stays_hers(shared):
    """Pings under the id of somebody else's phone are the sender's own: they touch nothing of hers."""
    await shared.opt_in("ada", device_id="adas")
    await shared.ping("ada", fix(NOON, 53.55, 10.0), device_id="adas")
    answer = await shared.call(
        "POST", "/v1/pings", {"device_id": "adas", "pings": [fix(NOON, 10, 10)]}, who=shared.customer("mallory")
    )
    assert answer.status == 202
    rows = await shared.sql("select newest_at from devices where customer_id = 'ada' and device_id = 'adas'")
    assert [row["newest_at"] for row in rows] == [NOON]


async def test_headers_cannot_be_injected(shared):
    """Line breaks in paths, queries and ids do not reach the headers of an answer."""
    for path in (
        "/v1/stores/a%0d%0aSet-Cookie:%20b=c",
        "/v1/transitions?after=%0d%0aSet-Cookie:%20b=c",
        "/%0d%0aX:%20y",
    ):
        answer = await raw(
            shared, head(f"GET {path}", "Authorization: " + shared.ops["Authorization"], "Connection: close")
        )
        assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0].lower()
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 422"))


# Hostile maps -------------------------------------------------------------------------------------------------------


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": {"id": "f", "kind": "store", **properties}}


HOSTILE = {
    "a million vertices": feature(
        {"type": "Polygon", "coordinates": [[[n % 1_000 / 1e4, n / 1e7] for n in range(1_000_000)]]}
    ),
    "100,000 rings": feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]] * 100_000}),
    "a star that crosses itself": feature(
        {
            "type": "Polygon",
            "coordinates": [[[n * 4_001 % 9_998 / 1e4, n * 7_001 % 9_998 / 1e4] for n in range(9_998)] + [[0, 0]]],
        }
    ),
    "1e308": feature({"type": "Point", "coordinates": [1e308, -1e308]}, radius_m=100),
    "a polygon of 1e307": feature(
        {"type": "Polygon", "coordinates": [[[-1e307, 0], [1e307, 0], [1e307, 1], [-1e307, 0]]]}
    ),
    "a radius of 1e308": feature({"type": "Point", "coordinates": [10, 53]}, radius_m=1e308),
    "a number of 400 digits": feature({"type": "Point", "coordinates": [10, 10]}, radius_m=1, floor=float(10**300)),
    "a collection in itself": feature({"type": "GeometryCollection", "geometries": []}),
    "coordinates of texts": feature({"type": "Polygon", "coordinates": [[["0", "0"]] * 5]}),
    "deep metadata": feature(
        {"type": "Point", "coordinates": [10, 53]}, radius_m=100, deep=orjson.loads(b"[" * 200 + b"]" * 200)
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=list(HOSTILE))
async def test_a_hostile_map_is_refused_in_time(shared, hostile):
    """Absurd shapes are refused by feature, path and rule within seconds, and meanwhile others are answered."""
    body = {"type": "FeatureCollection", "features": [hostile]}
    upload = asyncio.create_task(post(shared, "/v1/geofences/import", body, shared.ops))
    await alive(shared, within_s=10)
    async with asyncio.timeout(60):
        answer = await upload
    refused(answer, 422)
    assert answer.body["errors"]


async def test_a_hundred_thousand_errors_are_a_short_list(shared):
    """An upload in which 100,000 features are wrong is answered within seconds, with the first of them and a count."""
    wrong = [{"type": "Feature", "geometry": None, "properties": {}}] * 100_000
    started = time.monotonic()
    body = {"type": "FeatureCollection", "features": wrong}
    answer = await post(shared, "/v1/geofences/import", body, shared.ops)
    refused(answer, 422)
    assert len(answer.body["errors"]) <= 101
    assert answer.body["errors"][-1]["code"] == "more_not_listed"
    assert time.monotonic() - started < 15
    await alive(shared)
