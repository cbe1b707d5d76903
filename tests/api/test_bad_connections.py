"""Connections that an attacker or a broken client makes: refused or cut, at no cost to anybody else."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web
from bad_house import INNARDS, alive, authorised, head, raw
from conftest import Client, environment, new_database

from geoservice.api.server import Site
from geoservice.telemetry.logs import configure_logs

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Bytes, as they are -------------------------------------------------------------------------------------------------


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


@pytest.mark.usefixtures("logging_as_before")
async def test_what_breaks_outside_every_handler_tells_nothing(capfd):
    """What fails beside all handlers is a problem document, too; the log has the error, not the caller's address."""

    @web.middleware
    async def broken(request: web.Request, handler: object) -> web.StreamResponse:  # noqa: ARG001 - so aiohttp calls it
        raise OSError(request.remote)

    runner = web.AppRunner(web.Application(middlewares=[broken]), access_log=None)
    await runner.setup()
    site = Site(runner, "127.0.0.1", 0, idle_s=5)
    await site.start()
    configure_logs("json")
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert (answer.status, (await answer.json())["code"]) == (500, "internal_error")
    finally:
        await runner.cleanup()
    (line,) = capfd.readouterr().err.splitlines()
    assert "connection_failed" in line
    assert "OSError" in line
    assert "127.0.0.1" not in line


async def test_nobody_is_told_what_runs_here(shared):
    """No answer names the server's software by version, that to garbage included."""
    answers = [await raw(shared, data) for data in (head("GET /healthz", "Connection: close"), b"hello\r\n\r\n")]
    for answer in answers:
        assert b"\r\nServer: geoservice\r\n" in answer
        assert b"aiohttp" not in answer


async def test_monitors_may_ask_without_wanting_a_body(shared):
    """HEAD on the routes of the service itself is answered as GET, without the body."""
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        answer = await raw(shared, head(f"HEAD {path}", "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert answer.endswith(b"\r\n\r\n")


async def test_old_clients_are_answered(shared):
    """HTTP/1.0 works, without a host, and the connection is closed after the answer."""
    answer = await raw(shared, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK")
    assert answer.endswith(b'{"status":"alive"}')


async def test_a_body_that_nobody_asked_for_is_dropped(shared):
    """A GET with a body is answered as one without, and so is the next request on that connection."""
    data = head("GET /healthz", "Content-Length: 5") + b"hello" + head("GET /healthz", "Connection: close")
    assert (await raw(shared, data)).count(b"200 OK") == 2


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
        assert max(await asyncio.gather(*slow)) < 9  # all of it would take 12


async def test_a_body_that_never_ends_is_cut(postgres, tmp_path, monkeypatch):
    """Who sends a body a byte at a time is told 408 after a bounded time, 20 s for a small one unless changed."""
    from geoservice.api import routing

    monkeypatch.setattr(routing, "BODY_S", 0.5)
    async with one_service(postgres, tmp_path) as client:
        start = head("POST /v1/events", authorised(client), "Content-Type: application/json", "Content-Length: 5000")
        reader, writer = await asyncio.open_connection("127.0.0.1", client.app.address[1])
        writer.write(start)
        async with asyncio.timeout(60):
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
        async with asyncio.timeout(60):
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
