"""A real TCP proxy that can spoil the way between two processes: slow it, cut it, swallow it, close it.

It moves bytes and knows no protocol. One `TcpProxy` is one way: whoever should pass connects to ``port``.
"""

# ruff: noqa: D102 - the names of helpers say what they do

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Self

from conftest import free_port

CHUNK_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST, as a machine that crashed and came back does."""


class Way(StrEnum):
    """What becomes of bytes."""

    PASS = "pass"
    """They arrive, after ``delay_s``."""
    HALF_OPEN = "half_open"
    """What the client says arrives; no answer comes back, and nobody hangs up."""
    BLACK_HOLE = "black_hole"
    """Connections are made and nothing arrives, in either direction."""


class TcpProxy:
    """Between clients and ``target``: host and port, or the path of a UNIX socket."""

    def __init__(self, target: tuple[str, int] | Path) -> None:
        self.target = target
        self.way = Way.PASS
        self.delay_s = 0.0
        self.port = 0
        self.made = 0
        """Connections so far."""
        self._forgotten = 0
        """The first so many of them lead nowhere any more."""
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        self.port = self.port or free_port()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def close(self) -> None:
        """Refuse new connections and cut those that are open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self.cut()

    async def cut(self) -> None:
        """Reset every open connection; new ones are welcome."""
        for writer in self._connections.values():
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def set(self, way: Way, *, delay_s: float = 0.0) -> None:
        """Spoil, or mend; open connections change with it."""
        self.way = way
        self.delay_s = delay_s
        self._changed.set()
        self._changed = asyncio.Event()

    def forget(self) -> None:
        """Let open connections lead nowhere from now on, as a firewall that lost its table does; new ones pass."""
        self._forgotten = self.made

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            await self._join(self.made, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # one of both ends is gone; that is what this is for
        finally:
            del self._connections[task]
            writer.close()

    async def _join(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.way is Way.BLACK_HOLE:
            await self._changed.wait()
        beyond_reader, beyond_writer = await self._connect()
        try:
            there = asyncio.create_task(self._carry(number, reader, beyond_writer, back=False))
            back = asyncio.create_task(self._carry(number, beyond_reader, writer, back=True))
            try:
                await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            finally:
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)
        finally:
            beyond_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(str(self.target))
        return await asyncio.open_connection(*self.target)

    async def _carry(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if number <= self._forgotten:
                continue
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            while self.way is Way.BLACK_HOLE or (back and self.way is Way.HALF_OPEN):
                await self._changed.wait()
            writer.write(data)
            await writer.drain()
