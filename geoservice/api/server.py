"""The HTTP server's own manners, where aiohttp leaves them open: how long it waits, and how it refuses."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import http_exceptions, web
from aiohttp.abc import AbstractAccessLogger

from geoservice.api.browsers import ALL_ANSWERS
from geoservice.api.problems import internal_error, problem
from geoservice.errors import SettingsError

_log = structlog.get_logger(__name__)


class _NoAccessLog(AbstractAccessLogger):
    """Addresses and customers' paths are nobody's log."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        pass

    @property
    def enabled(self) -> bool:
        return False


class Connection(web.RequestHandler):
    """One connection; what is no HTTP is refused with a problem document that repeats nothing of it.

    One that takes its answers too slowly is cut: they would wait in memory for ever, and so would its handler.
    """

    __slots__ = ("_cut",)

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._cut: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """More is unread than is kept in memory: from here on the clock runs."""
        super().pause_writing()
        self._cut_later()

    def resume_writing(self) -> None:
        """Enough was read."""
        super().resume_writing()
        self._cut_not()

    def force_close(self) -> None:
        """Hang up when everything was read; do not wait for that for ever."""
        self._cut_later()
        super().force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self._cut_not()
        super().connection_lost(exc)

    def _cut_later(self) -> None:
        if self._cut is None and self.transport is not None:
            self._cut = self._loop.call_later(self._keepalive_timeout, self.transport.abort)

    def _cut_not(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def log_exception(self, *_: Any, **kw: Any) -> None:
        """Log what went wrong here, not at whose address; a body that cannot be unpacked was answered already."""
        error = kw.get("exc_info")
        if not isinstance(error, web.RequestPayloadError):
            _log.error("connection_failed", exc_info=error)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never became a request, and what failed outside every handler; then hang up."""
        if isinstance(exc, http_exceptions.HttpProcessingError):
            _log.debug("unreadable_request", error=type(exc).__name__)  # the message would quote what was sent
            response = _refusal(exc)
        else:
            super().handle_error(request, status, exc, message)  # raises when half an answer is out already
            response = internal_error()
        response.headers.update(ALL_ANSWERS)
        response.force_close()
        return response


def _refusal(error: http_exceptions.HttpProcessingError) -> web.Response:
    if isinstance(error, http_exceptions.LineTooLong):
        return problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            "too_large",
            "Too large",
            "The address or a header is too long.",
        )
    return problem(HTTPStatus.BAD_REQUEST, "bad_request", "Bad request", "This is no HTTP request that can be read.")


class Requests:
    """The requests under way. A stop lets them finish, those included whose body is still coming.

    aiohttp's own stop drops what still comes on a connection, so a body that was half there would never be whole: this
    comes before it.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False

    @web.middleware
    async def count(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Count one; while stopping, ask its sender to go elsewhere with the next one."""
        self._under_way += 1
        self._idle.clear()
        try:
            response = await handler(request)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()
        if self._stopping:
            response.force_close()
        return response

    async def finish(self, timeout_s: float) -> None:
        """Wait until none is under way, or it takes too long; call it once nobody can connect any more."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()


def cannot_listen(error: OSError, host: str, port: int) -> SettingsError:
    """Say which of the two is at fault, the address or the port, and why."""
    reason = (error.strerror or "").rpartition(": ")[2].capitalize()  # what stands before it names the address
    no_address = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    return SettingsError([f"{f'Address {host}' if no_address else f'Port {port}'} cannot be used: {reason}."])


class Site(web.BaseSite):
    """Where the service listens."""

    __slots__ = ("_host", "_idle_s", "_port", "_share_port")

    def __init__(
        self, runner: web.BaseRunner, host: str, port: int, *, idle_s: float, share_port: bool = False
    ) -> None:
        super().__init__(runner)
        self._idle_s = idle_s
        self._host = host
        self._port = port
        self._share_port = share_port

    @property
    def name(self) -> str:
        """The address, for aiohttp's own messages."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; every connection is a :class:`Connection`. Raises SettingsError where the port cannot be had."""
        await super().start()
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None  # noqa: S101 - a site cannot be made of a runner that was not set up
        try:
            self._server = await loop.create_server(
                lambda: Connection(
                    server,
                    loop=loop,
                    access_log_class=_NoAccessLog,
                    keepalive_timeout=self._idle_s,
                    auto_decompress=False,
                ),
                self._host,
                self._port,
                backlog=self._backlog,
                reuse_port=self._share_port or None,
            )
        except OSError as error:
            raise cannot_listen(error, self._host, self._port) from error
