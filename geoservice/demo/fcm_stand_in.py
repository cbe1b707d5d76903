"""A stand-in for Firebase Cloud Messaging: a small real server on loopback that speaks FCM's wire format.

It has the OAuth token endpoint and ``messages:send``, checks what the real ones check, keeps what it accepted
and can be told how to answer next. Nothing reaches a phone. An async context manager, or a process::

    python -m geoservice.demo.fcm_stand_in --port 0 --credentials account.json
    {"base_url": "http://127.0.0.1:39271", ...}

A process is steered over HTTP: ``POST /_script`` takes ``{"answers": [{"kind": "unavailable", "times": 3}],
"token": null}`` (``"endpoint": "token"`` scripts the token endpoint, ``"instead": true`` drops what was scripted
before), ``GET /_accepted?since=0`` lists, ``GET /_counts`` only counts, ``POST /_revoke`` makes every access token
worthless, ``POST /_reset`` forgets. Scripted answers are used up in order, those for a token before those for all.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import jwt
import msgspec
import orjson
import uvloop
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Meta, Struct

from geoservice.demo.fcm_wire import Message, Notification, SendRequest, place_of, wrong_field

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
GOOGLE_AUDIENCE: Final = "https://oauth2.googleapis.com/token"
FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"
HTML: Final = "<!doctype html><title>Error</title><p>That is all we know."


Kind = Literal[
    "accept", "unregistered", "not_found", "sender_id_mismatch", "invalid_token", "invalid_payload",
    "quota_exceeded", "unavailable", "unauthenticated", "third_party_auth", "permission_denied", "internal",
    "bad_gateway_html", "unavailable_html", "too_many_html", "html_ok", "cut", "hang",
]  # fmt: skip
"""How to answer; ``_html`` is a proxy's page instead of Google's JSON."""


class Answer(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One scripted answer, used ``times`` times (None: from now on), given after ``delay_s`` seconds.

    ``retry_after`` is the header itself: seconds or an HTTP date. ``taken`` says whether the push counts
    as accepted whatever the answer; left open it does for HTML with 200, a cut and a hang: the worst case.
    ``hang`` never answers: it closes the connection after ``delay_s``, an hour unless told.
    """

    kind: Kind = "accept"
    times: Annotated[int, Meta(ge=1)] | None = 1
    delay_s: Annotated[float, Meta(ge=0)] = 0.0
    retry_after: str | None = None
    taken: bool | None = None


class Script(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of ``POST /_script``."""

    answers: list[Answer]
    token: str | None = None
    endpoint: Literal["send", "token"] = "send"
    instead: bool = False


class AcceptedPush(Struct, frozen=True):
    """A push that was taken. ``token`` is the token or fid, ``message`` the wire form as it came."""

    message_id: str | None
    token: str
    title: str | None
    body: str | None
    received_at: datetime
    message: dict[str, Any]


# The rows: HTTP status, google.rpc status, text, FcmError code, field that BadRequest names.
_ERRORS: Final[dict[Kind, tuple[int, str, str, str | None, str | None]]] = {
    "unregistered": (404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED", None),
    "not_found": (404, "NOT_FOUND", "Requested entity was not found.", None, None),
    "sender_id_mismatch": (403, "PERMISSION_DENIED", "SenderId mismatch", "SENDER_ID_MISMATCH", None),
    "invalid_token": (400, "INVALID_ARGUMENT", "Not a valid registration token", "INVALID_ARGUMENT", None),
    "invalid_payload": (400, "INVALID_ARGUMENT", "Invalid value", "INVALID_ARGUMENT", "message.data"),
    "quota_exceeded": (429, "RESOURCE_EXHAUSTED", "Quota exceeded.", "QUOTA_EXCEEDED", None),
    "unavailable": (503, "UNAVAILABLE", "The service is currently unavailable.", "UNAVAILABLE", None),
    "unauthenticated": (401, "UNAUTHENTICATED", "Invalid authentication credentials.", None, None),
    "third_party_auth": (401, "UNAUTHENTICATED", "Auth error from APNS", "THIRD_PARTY_AUTH_ERROR", None),
    "permission_denied": (403, "PERMISSION_DENIED", "Permission denied on resource.", None, None),
    "internal": (500, "INTERNAL", "Internal error encountered.", "INTERNAL", None),
}
_PAGES: Final[dict[Kind, int]] = {
    "html_ok": 200,
    "too_many_html": 429,
    "bad_gateway_html": 502,
    "unavailable_html": 503,
}
"""HTTP status of the answers that are a page."""

_TAKEN_UNLESS_TOLD: Final = frozenset({"accept", "html_ok", "cut", "hang"})


class FcmStandIn:
    """The server. ``accepted`` is in order of arrival; ``sends`` and ``token_requests`` count calls.

    ``answers`` counts what was scripted or found wrong, by kind.
    """

    def __init__(self, *, project_id: str = "stand-in", port: int = 0, token_lifetime_s: int = 3_599) -> None:
        self.project_id = project_id
        self.token_lifetime_s = token_lifetime_s
        self.client_email = f"geoservice@{project_id}.iam.gserviceaccount.com"
        self.base_url = ""
        self.on_accepted: Callable[[], None] = lambda: None
        """Called after each push that was taken, for whoever shows them as they come."""
        self._key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self._access_tokens: set[str] = set()
        self._port = port
        self._runner: web.AppRunner | None = None
        self.reset()

    def reset(self) -> None:
        """Forget what was accepted, scripted and counted; access tokens stay good."""
        self.accepted: list[AcceptedPush] = []
        self.sends = self.token_requests = self.in_flight = self.in_flight_peak = 0
        self.answers: Counter[Kind] = Counter()
        self._scripts: dict[str | None, deque[Answer]] = {}
        self._token_script: deque[Answer] = deque()

    def script(self, *answers: Answer, token: str | None = None) -> None:
        """Append answers for pushes to ``token`` (or fid), or to anyone."""
        self._scripts.setdefault(token, deque()).extend(answers)

    def script_token_endpoint(self, *answers: Answer) -> None:
        """Append answers for the OAuth endpoint; ``unauthenticated`` is a refused key."""
        self._token_script.extend(answers)

    def revoke_access_tokens(self) -> None:
        """From now on every access token handed out so far gets a 401."""
        self._access_tokens.clear()

    @property
    def token_uri(self) -> str:
        """Where access tokens are made."""
        return f"{self.base_url}/token"

    def write_service_account(self, path: Path) -> Path:
        """Write a service-account file (mode 0600) as the Firebase console makes them, for this server."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {
            "type": "service_account",
            "project_id": self.project_id,
            "private_key_id": "stand-in",
            "private_key": pem.decode(),
            "client_email": self.client_email,
            "client_id": "1",
            "token_uri": self.token_uri,
        }
        path.touch(mode=0o600)
        path.write_bytes(orjson.dumps(account, option=orjson.OPT_INDENT_2))
        return path

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/token", self._token)
        app.router.add_post("/v1/projects/{project}/messages:send", self._send)
        app.router.add_get("/_accepted", self._list_accepted)
        app.router.add_get("/_counts", self._list_counts)
        app.router.add_post("/_script", self._add_script)
        app.router.add_post("/_revoke", self._revoke)
        app.router.add_post("/_reset", self._reset)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{self._port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _list_accepted(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", "0"))
        counters = {"sends": self.sends, "token_requests": self.token_requests}
        return _json(200, {"accepted": msgspec.to_builtins(self.accepted[since:]), **counters})

    async def _list_counts(self, _: web.Request) -> web.Response:
        counts: dict[str, Any] = {
            "accepted": len(self.accepted),
            "messages": len({push.message_id for push in self.accepted}),
            "sends": self.sends,
            "token_requests": self.token_requests,
            "in_flight": self.in_flight,
            "in_flight_peak": self.in_flight_peak,
            "answers": self.answers,
        }
        return _json(200, counts)

    async def _add_script(self, request: web.Request) -> web.Response:
        try:
            script = msgspec.json.decode(await request.read(), type=Script)
        except msgspec.DecodeError as error:
            return _json(400, {"error": str(error)})
        if script.instead:
            (self._token_script if script.endpoint == "token" else self._scripts).clear()
        if script.endpoint == "token":
            self.script_token_endpoint(*script.answers)
        else:
            self.script(*script.answers, token=script.token)
        return web.Response(status=204)

    async def _revoke(self, _: web.Request) -> web.Response:
        self.revoke_access_tokens()
        return web.Response(status=204)

    async def _reset(self, _: web.Request) -> web.Response:
        self.reset()
        return web.Response(status=204)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        """RFC 7523: a signed assertion for an access token."""
        self.token_requests += 1
        form = await request.post()
        answer = _next(self._token_script)
        await asyncio.sleep(answer.delay_s)
        if answer.kind == "unauthenticated" or not self._assertion_holds(str(form.get("assertion"))):
            return _json(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        if answer.kind != "accept":
            return await _answer(request, answer)
        access_token = f"ya29.{secrets.token_urlsafe(24)}"
        self._access_tokens.add(access_token)
        granted = {"access_token": access_token, "expires_in": self.token_lifetime_s, "token_type": "Bearer"}
        return _json(200, granted)

    def _assertion_holds(self, assertion: str) -> bool:
        try:
            claims = jwt.decode(
                assertion,
                self._key.public_key(),
                algorithms=["RS256"],
                audience=[GOOGLE_AUDIENCE, self.token_uri],
                issuer=self.client_email,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except jwt.InvalidTokenError:
            return False
        return bool(claims.get("scope") == SCOPE)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        self.sends += 1
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
        try:
            return await self._checked_send(request)
        finally:
            self.in_flight -= 1

    async def _checked_send(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._access_tokens:
            return self._refuse("unauthenticated")
        if request.match_info["project"] != self.project_id:
            return self._refuse("not_found")
        try:
            wanted = msgspec.json.decode(raw, type=SendRequest)
        except msgspec.DecodeError as error:
            return self._refuse("invalid_payload", text=str(error), field=place_of(str(error)))
        message = wanted.message
        if (wrong := wrong_field(message)) is not None:
            return self._refuse("invalid_payload", text="Message is invalid.", field=wrong)
        if wanted.validate_only:
            self.sends -= 1  # nothing was to be sent, so nothing scripted is used up either
            return _error("invalid_token")
        token = message.token or message.fid or ""
        answer = _next(self._scripts.get(token) or self._scripts.get(None) or deque())
        self.answers[answer.kind] += 1
        if answer.kind in _TAKEN_UNLESS_TOLD if answer.taken is None else answer.taken:
            self._accept(message, token, raw)
        await asyncio.sleep(answer.delay_s or (3_600 if answer.kind == "hang" else 0))
        return await _answer(request, answer, f"projects/{self.project_id}/messages/0:{secrets.token_hex(8)}")

    def _refuse(self, kind: Kind, **why: str) -> web.Response:
        self.answers[kind] += 1
        return _error(kind, **why)

    def _accept(self, message: Message, token: str, raw: bytes) -> None:
        shown = message.notification or Notification()
        self.accepted.append(
            AcceptedPush(
                message_id=message.data.get("message_id"),
                token=token,
                title=shown.title,
                body=shown.body,
                received_at=datetime.now(UTC),
                message=orjson.loads(raw)["message"],
            )
        )
        self.on_accepted()


def _next(script: deque[Answer]) -> Answer:
    """Use up one answer; with none left, accept."""
    if not script:
        return Answer()
    answer = script.popleft()
    if answer.times is None:
        script.appendleft(answer)
    elif answer.times > 1:
        script.appendleft(msgspec.structs.replace(answer, times=answer.times - 1))
    return answer


async def _answer(request: web.Request, answer: Answer, name: str = "") -> web.StreamResponse:
    match answer.kind:
        case "accept":
            return _json(200, {"name": name})
        case kind if kind in _PAGES:
            headers = {} if answer.retry_after is None else {"Retry-After": answer.retry_after}
            return web.Response(status=_PAGES[kind], text=HTML, content_type="text/html", headers=headers)
        case "cut" | "hang":
            return await _break_off(request, started=answer.kind == "cut")
        case _:
            return _error(answer.kind, retry_after=answer.retry_after)


async def _break_off(request: web.Request, *, started: bool) -> web.StreamResponse:
    """Cut the connection, in the middle of a 200's body when ``started``."""
    response = web.StreamResponse(headers={"Content-Length": "400", "Content-Type": "application/json"})
    if started:
        await response.prepare(request)
        await response.write(b'{"name": "projects/')
    if request.transport is not None:
        request.transport.close()
    return response


def _error(
    kind: Kind, *, text: str | None = None, field: str | None = None, retry_after: str | None = None
) -> web.Response:
    status, code, standard_text, fcm_code, standard_field = _ERRORS[kind]
    details: list[dict[str, Any]] = [] if fcm_code is None else [{"@type": FCM_ERROR, "errorCode": fcm_code}]
    named = field or standard_field
    if named is not None:
        violation = {"field": named, "description": text or standard_text}
        details.append({"@type": BAD_REQUEST, "fieldViolations": [violation]})
    error = {"code": status, "message": text or standard_text, "status": code}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return _json(status, {"error": {**error, "details": details} if details else error}, headers)


def _json(status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    body = orjson.dumps(value)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


async def _serve(port: int, credentials: Path | None) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with FcmStandIn(port=port) as stand_in:
        if credentials is not None:
            stand_in.write_service_account(credentials)
        said = {"base_url": stand_in.base_url, "project_id": stand_in.project_id}
        sys.stdout.write(orjson.dumps(said).decode() + "\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m geoservice.demo.fcm_stand_in", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--credentials", type=Path, help="where to write the service-account file")
    arguments = parser.parse_args()
    uvloop.run(_serve(arguments.port, arguments.credentials))


if __name__ == "__main__":
    main()
