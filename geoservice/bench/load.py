"""A load generator that costs little: prepared HTTP/1.1 requests over keep-alive connections."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(slots=True)
class Load:
    """What happened: how many answers of each status, how long each took (seconds), and all in all."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        """Latency below which that share of requests stayed, in milliseconds."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer to the one before is complete."""

    def __init__(self, requests: Iterator[bytes], load: Load, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._load = load
        self._done = done
        self._buffer = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without inheriting from it
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(_END_OF_HEAD)
        if not found or len(body) < _content_length(head):
            return
        self._buffer = b""
        status = int(head[9:12])
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        self._load.latencies_s.append(time.perf_counter() - self._began)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the service closed the connection"))

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._done.set_result(None)
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(request)


class _PacedConnection(asyncio.Protocol):
    """Sends when told to, whether the answer before has come or not; answers come in the order of the requests."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._due_s: deque[float] = deque()
        self._buffer = b""
        self.idle = asyncio.Event()
        self.idle.set()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, due_s: float) -> None:
        self._due_s.append(due_s)
        self.idle.clear()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, found, rest = self._buffer.partition(_END_OF_HEAD)
            length = _content_length(head) if found else 0
            if not found or len(rest) < length:
                return
            self._buffer = rest[length:]
            status = int(head[9:12])
            self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
            self._load.latencies_s.append(time.perf_counter() - self._due_s.popleft())
            if not self._due_s:
                self.idle.set()


async def run_paced(host: str, port: int, requests: Sequence[bytes], *, per_s: float, connections: int) -> Load:
    """Send at a steady pace, whatever the answers do; a request that is sent late counts from when it was due."""
    load = Load()
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: _PacedConnection(load), host, port) for _ in range(connections)]
    lines = [connection for _, connection in made]
    began = time.perf_counter()
    for number, request in enumerate(requests):
        due_s = began + number / per_s
        if (wait_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        lines[number % connections].send(request, due_s)
    await asyncio.gather(*(line.idle.wait() for line in lines))
    load.seconds = time.perf_counter() - began
    for line in lines:
        line.transport.close()
    return load


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else None]) if at >= 0 else 0


def request(method: str, path: str, token: str, body: bytes) -> bytes:
    """Prepare one request."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run_load(host: str, port: int, requests_of_connections: Sequence[Iterable[bytes]]) -> Load:
    """Send every list over a connection of its own, all at once; return when the last answer is in."""
    loop = asyncio.get_running_loop()
    load = Load()
    waits = []
    began = time.perf_counter()
    for requests in requests_of_connections:
        done: asyncio.Future[None] = loop.create_future()
        waits.append(done)
        await loop.create_connection(
            lambda requests=requests, done=done: _Connection(iter(requests), load, done),  # type: ignore[misc]
            host,
            port,
        )
    await asyncio.gather(*waits)
    load.seconds = time.perf_counter() - began
    return load
