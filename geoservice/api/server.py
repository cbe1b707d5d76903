"""The HTTP server's own manners, where aiohttp leaves them open: how long it waits, and how it refuses."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import http_exceptions, web
from aiohttp.abc import AbstractAccessLogger

from geoservice.api.problems import problem

IDLE_S: Final = 75.0
"""How long a connection may take for a request line and headers, or idle between requests; then it is cut.

Longer than the 60 s after which common proxies drop an idle connection, so that they do it first.
"""

_log = structlog.get_logger(__name__)


class _NoAccessLog(AbstractAccessLogger):
    """Addresses and customers' paths are nobody's log."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        pass

    @property
    def enabled(self) -> bool:
        return False


class Connection(web.RequestHandler):
    """One connection; what is no HTTP is refused with a problem document that repeats nothing of it."""

    __slots__ = ()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong here; a body that cannot be unpacked was answered already."""
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never became a request, and what failed outside every handler; then hang up."""
        if not isinstance(exc, http_exceptions.HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        _log.debug("unreadable_request", error=type(exc).__name__)  # the message would quote what was sent
        response = _refusal(exc)
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


class Site(web.BaseSite):
    """Where the service listens."""

    __slots__ = ("_host", "_port", "_share_port")

    def __init__(self, runner: web.BaseRunner, host: str, port: int, *, share_port: bool = False) -> None:
        super().__init__(runner)
        self._host = host
        self._port = port
        self._share_port = share_port

    @property
    def name(self) -> str:
        """The address, for aiohttp's own messages."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; every connection is a :class:`Connection`."""
        await super().start()
        loop = asyncio.get_running_loop()
        server = self._runner.server
        assert server is not None  # noqa: S101 - a site cannot be made of a runner that was not set up
        self._server = await loop.create_server(
            lambda: Connection(
                server, loop=loop, access_log_class=_NoAccessLog, keepalive_timeout=IDLE_S, auto_decompress=False
            ),
            self._host,
            self._port,
            backlog=self._backlog,
            reuse_port=self._share_port or None,
        )
