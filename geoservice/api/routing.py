"""The route table: method, path, handler, and who may call. One guard stands before every handler."""

from __future__ import annotations

import asyncio
import re
import zlib
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import msgspec
import orjson
from aiohttp import HttpVersion11, web

from geoservice.api.auth import ApiKeys, CustomerTokens
from geoservice.api.problems import refuse_invalid, refuse_malformed
from geoservice.api.rates import RateLimit
from geoservice.api.readiness import Readiness
from geoservice.clock import Clock
from geoservice.config import Settings
from geoservice.errors import Forbidden, Invalid, MalformedBody, NotFound, TooLarge, Unauthenticated, UnsupportedMedia
from geoservice.storage.database import ACTING, Acting, Database
from geoservice.storage.journal import Journal
from geoservice.vocabulary import CustomerId, Id, Role
from geoservice.workflows.deliver import Deliver
from geoservice.workflows.directory import Directory
from geoservice.workflows.ingest import Ingest
from geoservice.workflows.live import Viewers
from geoservice.workflows.operating import Actor, audit
from geoservice.workflows.preconditions import ANYTHING, Expected
from geoservice.workflows.preferences import heed_privacy_signal

SMALL_BODY: Final = 256 * 1024
"""Bytes; what a form or a single thing needs. Routes that take batches or uploads say more."""

BODY_S: Final = 20.0
BODY_LEAST_BYTES_PER_S: Final = 1024 * 1024
"""A body that has not come after 20 s, plus a second for each MiB that its route takes, is not waited for."""

_EITHER_HEADER: Final = zlib.MAX_WBITS + 32
_JSON_TYPES: Final = ("application/json", "application/geo+json", "application/octet-stream")
"""The last is what a body without a type is taken for."""
_ENCODINGS: Final = frozenset({"identity", "gzip", "deflate"})
_TAG: Final = re.compile(r'(?<![^\s,])"(\d{1,18})"(?![^\s,])')
"""A strong tag, as ours are; every other matches nothing."""

Body = TypeVar("Body")


Body_co = TypeVar("Body_co", covariant=True)


class BodyDecoder(Protocol[Body_co]):
    """Reads a body as its type; raises what msgspec raises."""

    type: type[Any]

    def decode(self, raw: bytes, /) -> Body_co:
        """Give the body."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How often each may call."""

    customers: RateLimit
    devices: RateLimit
    keys: RateLimit


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with."""

    settings: Settings
    database: Database
    journal: Journal
    directory: Directory
    ingest: Ingest
    deliver: Deliver
    clock: Clock
    tokens: CustomerTokens
    keys: ApiKeys
    readiness: Readiness
    limits: Limits
    viewers: Viewers
    routes: tuple[Route, ...]
    is_demo: bool = False
    """Whether anybody may get a made-up customer's token here, and move the time."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table. ``roles`` is None for a customer's route, empty for a public one.

    The rest describes the route to the outside: types of the body, the query string and the answer, the status of a
    good answer, and the refusals that do not follow from these.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[web.StreamResponse]]
    roles: frozenset[Role] | None = None
    body_max: int = SMALL_BODY
    body: Any = None
    query: Any = None
    answer: Any = None
    answer_type: str = "application/json"
    status: int = 200
    refuses: tuple[int, ...] = ()
    body_types: tuple[str, ...] = ("application/json",)
    also: tuple[int, ...] = ()
    """Other statuses that come with the same answer."""
    headers: tuple[str, ...] = ()
    """Headers that a good answer has."""
    takes: tuple[str, ...] = ()
    """Headers of a request that change what is done."""
    basic: bool = False
    """Whether a customer's token may also come as the password of HTTP Basic."""
    asks_reason: bool = False
    """Whether it can read one customer's records, which needs the header Access-Reason."""


@dataclass(slots=True)
class Call:
    """One authenticated request."""

    request: web.Request
    services: Services
    route: Route
    customer_id: str = ""
    actor: Actor = Actor("nobody", frozenset())  # noqa: RUF009 - frozen

    async def raw_body(self) -> bytes:
        """Read the body, as much as the route takes."""
        request = self.request
        if request.content_type not in {*self.route.body_types, *_JSON_TYPES}:
            raise UnsupportedMedia(f"Send {' or '.join(self.route.body_types)}.")
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding not in _ENCODINGS:
            raise UnsupportedMedia("Send the body plain, or packed with gzip or deflate.")
        if (request.content_length or 0) > self.route.body_max:
            raise _too_large(self.route.body_max)
        if encoding == "identity" and request.content.is_eof() and "Expect" not in request.headers:
            body = request.content.read_nowait()  # it came with its head, as nearly all do
        else:
            body = await self._wait_for_body(encoding)
        if len(body) > self.route.body_max:
            raise _too_large(self.route.body_max)
        if b"\\u0000" in body:
            raise _no_nul()
        return body

    async def _wait_for_body(self, encoding: str) -> bytes:
        try:
            async with asyncio.timeout(BODY_S + self.route.body_max / BODY_LEAST_BYTES_PER_S):
                body = bytes(await self._read())
                if encoding == "identity":
                    return body
                return await asyncio.to_thread(_unpack, body, self.route.body_max)
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except (web.RequestPayloadError, ConnectionError, zlib.error):
            raise MalformedBody("The body ended early, or is not packed as it says.") from None

    async def _read(self) -> bytearray:
        request = self.request
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # nothing of the answer is out yet
        body = bytearray()
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > self.route.body_max:  # a body may come without its length
                raise _too_large(self.route.body_max)
        return body

    async def body(self, decoder: BodyDecoder[Body]) -> Body:
        """Read and check the body against a type."""
        return decode(decoder, await self.raw_body())

    def count_device(self, device_id: str) -> None:
        """Count a request of one phone against its limit; raises TooManyRequests."""
        self.services.limits.devices.spend((self.customer_id, device_id))

    def id(self, name: str = "id") -> str:
        """Give an id from the path; one that cannot exist is not found."""
        try:
            return msgspec.convert(self.request.match_info[name], Id)
        except msgspec.ValidationError:
            raise NotFound("There is no such thing: an id has 1 to 128 characters from A-Za-z0-9._:-.") from None

    def customer_in_path(self) -> str:
        """Give the customer id from the path, on routes of servers and operations."""
        try:
            return msgspec.convert(self.request.match_info["id"], CustomerId)
        except msgspec.ValidationError:
            raise Invalid("Customer ids have 1 to 128 characters from A-Za-z0-9._:-|@.") from None

    def query(self, kind: type[Body]) -> Body:
        """Check the query string against a type."""
        try:
            found = msgspec.convert(dict(self.request.query), kind, strict=False)
        except msgspec.ValidationError as error:
            raise refuse_invalid(error, kind) from None
        if "\0" in self.request.query_string:
            raise _no_nul()
        return found

    def expected(self) -> Expected:
        """Read If-Match and If-None-Match (RFC 9110, 13.1): what the caller takes for the present state."""
        if_match = self.request.headers.get("If-Match")
        if if_match is not None and if_match.strip() != "*":
            return Expected(frozenset(map(int, _TAG.findall(if_match))))
        if if_match is not None:
            return Expected(exists=True)
        none = self.request.headers.get("If-None-Match", "").strip() == "*"
        return Expected(exists=False) if none else ANYTHING

    def reason(self) -> str | None:
        """Tell why one customer's records are touched; raises Forbidden without a role for it, or without a reason."""
        reason = _header_text(self.request.headers.get("Access-Reason", "")).strip() or None
        if self.actor.key_id is not None:
            if self.actor.roles.isdisjoint({Role.SUPPORT, Role.OFFICER}):
                raise Forbidden("One customer's records are for the roles support and officer.")
            if reason is None:
                raise Forbidden(
                    "Say why in the header Access-Reason; it is put on record.", code="access_reason_missing"
                )
        return reason

    async def looks_at(self, action: str, customer_id: str | None, subject: str | None = None) -> None:
        """Put on record that one customer's data are read; needs a role for it, and a reason."""
        reason = self.reason()
        await audit(
            self.services.database,
            self.actor,
            action,
            self.services.clock.now(),
            customer_id=customer_id,
            subject=subject,
            reason=reason,
        )


def decode(decoder: BodyDecoder[Body], body: bytes) -> Body:
    """Check a body against a type: 400 if it is no JSON, 422 if it is another."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        refuse_no_json(body)  # the decoder stops at the first thing that is wrong; what follows may be no JSON at all
        raise refuse_invalid(error, decoder.type) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        refuse_no_json(body)  # it knows the line
        raise refuse_malformed() from None


def refuse_no_json(body: bytes) -> None:
    """Raise MalformedBody unless all of it is JSON, nested at most 1,024 deep (orjson's own limit)."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise refuse_malformed(error) from None


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Write a JSON answer."""
    return web.Response(
        body=orjson.dumps(value, option=orjson.OPT_UTC_Z),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def tag(version: int) -> dict[str, str]:
    """Give a version as the header that If-Match is compared with."""
    return {"ETag": f'"{version}"'}


def guarded(route: Route, services: Services) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Put the check of who calls before a handler."""

    async def public(request: web.Request) -> web.StreamResponse:
        return await route.handler(Call(request, services, route))

    async def customers(request: web.Request) -> web.StreamResponse:
        token = _password(request) if route.basic else bearer(request)
        customer_id = await services.tokens.holder(token)
        services.limits.customers.spend(customer_id)
        if request.headers.get("Sec-GPC") == "1":
            await heed_privacy_signal(services.database, services.journal, customer_id, services.clock.now())
        return await route.handler(Call(request, services, route, customer_id))

    async def with_password(request: web.Request) -> web.StreamResponse:
        try:
            return await customers(request)
        except Unauthenticated as error:
            error.challenge = 'Basic realm="geoservice", charset="UTF-8"'
            raise

    async def operators(request: web.Request) -> web.StreamResponse:
        actor = await services.keys.actor(bearer(request))
        services.limits.keys.spend(actor.key_id or actor.name)
        if actor.roles.isdisjoint(route.roles or ()):
            needed = " or ".join(sorted(role.value for role in route.roles or ()))
            raise Forbidden(f"This needs an API key with the role {needed}.")
        # A connection is one task for all of its requests: what is set here must not outlast this one.
        acting = ACTING.set(Acting(actor.name, actor.key_id, services.clock.now()))
        try:
            return await route.handler(Call(request, services, route, actor=actor))
        finally:
            ACTING.reset(acting)

    if route.roles is None:
        return with_password if route.basic else customers
    return operators if route.roles else public


def _no_nul() -> Invalid:
    return Invalid("Text must not hold NUL characters.", code="nul_character")


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"This route takes at most {most} bytes.")


def _unpack(packed: bytes, most: int) -> bytes:
    """Unpack gzip or deflate, with or without zlib's header; one that grows beyond ``most`` is not followed further.

    aiohttp would unpack by itself, on the event loop, also what is only read to be dropped: a megabyte that grows to
    a gigabyte would stop everybody for seconds.
    """
    if not packed:
        raise zlib.error
    has_header = packed[:2] == b"\x1f\x8b" or packed[0] & 15 == 8
    unpacking = zlib.decompressobj(_EITHER_HEADER if has_header else -zlib.MAX_WBITS)
    body = unpacking.decompress(packed, most + 1)
    if len(body) > most:
        raise _too_large(most)
    if not unpacking.eof or unpacking.unused_data:
        raise zlib.error
    return body


async def expected(_request: web.Request) -> None:
    """Let `Expect: 100-continue` wait until somebody wants the body: a refusal needs none."""


def _header_text(value: str) -> str:
    """Read a header as UTF-8 or, as HTTP once had it, as Latin-1; aiohttp leaves what is no UTF-8 as surrogates."""
    raw = value.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _password(request: web.Request) -> str:
    """The password of HTTP Basic, else the bearer; whatever the user's name is."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return bearer(request)
    try:
        _, _, password = b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:  # UnicodeDecodeError and binascii's Error are such
        password = ""
    if not password or not password.isascii():
        raise Unauthenticated("Send the customer's token as the password.")
    return password


def bearer(request: web.Request) -> str:
    """The token or key that came with a request; raises Unauthenticated."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credentials or not credentials.isascii():
        raise Unauthenticated("Send Authorization: Bearer with a token or an API key.")
    return credentials.strip()
