"""What became of one attempt to hand a message to the provider, read from its answer. Pure.

The rules are one table, ``judge``: the first row that fits wins. It leans to the safe side. A token is
called dead only when the answer says so about the token itself; whatever may have reached the phone is
in doubt, not retried; anything that says "your project, your key" blames no single message.

Sources: the FCM HTTP v1 reference (``google.firebase.fcm.v1.FcmError``, ``google.rpc.BadRequest``); RFC 9110,
10.2.3, for ``Retry-After``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

MIN_QUOTA_WAIT_S: Final = 60.0
"""After 429 FCM asks for at least a minute's silence, whatever ``Retry-After`` says."""

MAX_RETRY_AFTER_S: Final = 86_400.0
"""No header can make a message wait for longer than a day; no message lives that long."""

SENDER_CLOSED: Final = "sender_closed"
"""Why a push was not sent when the service stops: this says nothing about the provider."""

FCM_ERROR: Final = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"


class DeadToken(StrEnum):
    """Why a push token is of no more use."""

    UNREGISTERED = "unregistered"
    SENDER_MISMATCH = "sender_mismatch"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a name, no secret


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The provider took it. ``provider_message_id`` is ``projects/{project}/messages/{id}``."""

    provider_message_id: str


class TokenDead(msgspec.Struct, frozen=True, tag="token_dead"):
    """Not sent, and never will be to this token: retire it if it is unchanged.

    A sender mismatch is an alarm, too: the app was built for another project.
    """

    kind: DeadToken


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """Not sent: our payload is wrong. The token stays; alarm. ``reason`` never quotes the payload."""

    reason: str


class RetryLater(msgspec.Struct, frozen=True, tag="retry_later"):
    """Not sent: not now. Wait ``after_s`` seconds (None: the caller's backoff), and add jitter."""

    after_s: float | None
    reason: str


class CredentialsRefused(msgspec.Struct, frozen=True, tag="credentials_refused"):
    """Not sent: our key, our rights, or the APNs key kept at the provider. Pause the project; alarm."""

    reason: str = "unauthenticated"


class WrongProject(msgspec.Struct, frozen=True, tag="wrong_project"):
    """Not sent: no such project at this address. Pause the project; retire no token."""

    reason: str = "not_found"


class InDoubt(msgspec.Struct, frozen=True, tag="in_doubt"):
    """Nobody knows: the provider may or may not have it."""

    reason: str


class NotSent(msgspec.Struct, frozen=True, tag="not_sent"):
    """Definitely not sent: the request never left the house. May be tried again."""

    reason: str


Outcome = Accepted | TokenDead | Rejected | RetryLater | CredentialsRefused | WrongProject | InDoubt | NotSent


class Answer(msgspec.Struct, frozen=True):
    """The facts in an HTTP answer that the table looks at.

    ``fcm_code`` is the FcmError detail's ``errorCode``; ``wrong_fields`` are the paths in the BadRequest
    detail, None without one; ``name`` is the accepted message's; ``retry_after_s`` is in seconds from now.
    """

    status: int
    fcm_code: str | None = None
    wrong_fields: frozenset[str] | None = None
    name: str | None = None
    retry_after_s: float | None = None


def classify(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Outcome:
    """Read one answer of ``messages:send``; never raises. A ``Retry-After`` date counts from ``now``."""
    return judge(read_answer(status, headers, body, now=now))


def judge(answer: Answer) -> Outcome:
    """The table. First come what FCM says in its own words, then what the bare HTTP status says."""
    match answer:
        # 200 with a name: it is theirs now. Any other 2xx is a proxy's page, or cut short.
        case Answer(status=200, name=str(name)):
            return Accepted(name)
        case Answer(status=status) if 200 <= status < 300:
            return InDoubt("answer_not_understood")
        # The app was uninstalled, or its token was replaced.
        case Answer(fcm_code="UNREGISTERED"):
            return TokenDead(DeadToken.UNREGISTERED)
        # The token was made by another app or project.
        case Answer(fcm_code="SENDER_ID_MISMATCH"):
            return TokenDead(DeadToken.SENDER_MISMATCH)
        # The APNs key kept at Firebase is wrong: every iPhone is affected, no token is to blame.
        case Answer(fcm_code="THIRD_PARTY_AUTH_ERROR" | "APNS_AUTH_ERROR"):
            return CredentialsRefused("third_party_auth")
        # A bad request that names fields: the target means a bad token, all others mean our payload.
        case Answer(status=400, wrong_fields=frozenset() as fields) if fields and fields <= _TARGET_FIELDS:
            return TokenDead(DeadToken.INVALID_TOKEN)
        case Answer(status=400, wrong_fields=frozenset() as fields):
            return Rejected("invalid_payload")
        # Only when all else in the request is right does FCM look at the token and say no more than this.
        case Answer(status=400, fcm_code="INVALID_ARGUMENT"):
            return TokenDead(DeadToken.INVALID_TOKEN)
        # Too many, to this phone or from this project.
        case Answer(fcm_code="QUOTA_EXCEEDED") | Answer(status=429):
            return RetryLater(max(answer.retry_after_s or 0.0, MIN_QUOTA_WAIT_S), "quota_exceeded")
        # FCM says itself that it did not take it.
        case Answer(fcm_code="UNAVAILABLE") | Answer(status=503):
            return RetryLater(answer.retry_after_s, "unavailable")
        case Answer(status=401):
            return CredentialsRefused("unauthenticated")
        # The service account lacks the right, or the API is switched off in the project.
        case Answer(status=403):
            return CredentialsRefused("permission_denied")
        # 404 that does not speak of a token is about the address: the project.
        case Answer(status=404, fcm_code=None):
            return WrongProject("not_found")
        # A redirect is never followed, since it would carry the access token elsewhere: this is not FCM.
        case Answer(status=status) if 300 <= status < 400:
            return WrongProject("redirected")
        # Request timeout and every other 5xx may have come after the message was taken.
        case Answer(status=status) if status == 408 or status >= 500:
            return InDoubt(f"http_{status}")
        case _:
            return Rejected(f"http_{answer.status}")


_TARGET_FIELDS: Final = frozenset({"message.token", "message.fid"})


def read_answer(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Answer:
    """Take what the table needs out of an answer, whatever shape its body has."""
    retry_after = next((value for name, value in headers.items() if name.lower() == "retry-after"), None)
    parsed = _json_object(body)
    name = parsed.get("name")
    details = _details(parsed)
    codes = [d.get("errorCode") for d in details if d.get("@type") == FCM_ERROR]
    requests = [d for d in details if d.get("@type") == BAD_REQUEST]
    return Answer(
        status=status,
        fcm_code=next((code for code in codes if isinstance(code, str)), None),
        wrong_fields=frozenset(_wrong_fields(requests)) if requests else None,
        name=name if isinstance(name, str) and name else None,
        retry_after_s=None if retry_after is None else retry_after_s(retry_after, now=now),
    )


_SECONDS: Final = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)


def retry_after_s(value: str, *, now: datetime) -> float | None:
    """``Retry-After`` in seconds from ``now``, 0 to a day; None when it is neither number nor HTTP date."""
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    at = date if date.tzinfo else date.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _details(parsed: dict[str, Any]) -> list[dict[str, Any]]:
    error = parsed.get("error")
    details = error.get("details") if isinstance(error, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _wrong_fields(bad_requests: list[dict[str, Any]]) -> list[str]:
    """The paths that BadRequest details name; one that names nothing counts as the whole message."""
    found: list[str] = []
    for detail in bad_requests:
        violations = detail.get("fieldViolations")
        listed = violations if isinstance(violations, list) else []
        fields = [v["field"] for v in listed if isinstance(v, dict) and isinstance(v.get("field"), str)]
        found += fields or ["message"]
    return found
