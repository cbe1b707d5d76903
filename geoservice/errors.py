"""One tree of errors; each leaf knows how it looks from outside.

GeoserviceError
├── SettingsError            a setting is missing or wrong: said at start, all at once
├── RequestError             the caller's side: becomes problem+json with ``status`` and ``code``
│   ├── MalformedBody        400  the body is no JSON (or no GeoJSON, CSV)
│   ├── Unauthenticated      401  no, wrong or expired credentials
│   ├── Forbidden            403  the role does not allow this
│   ├── NotFound             404  unknown, or another customer's
│   ├── Conflict             409  clashes with what is there
│   ├── PreconditionFailed   412  somebody else was faster: what If-Match names is not what is there
│   ├── TooLarge             413  more than this route takes
│   ├── UnsupportedMedia     415  a content type that this route does not read
│   ├── Invalid              422  well-formed but wrong; ``details`` point into the body
│   └── TooManyRequests      429  slower, please; comes with Retry-After
└── Unavailable              503  not now; comes with Retry-After
    ├── Overloaded                more work waits than the service accepts
    └── NotReady                  database, migrations or catalogue are not there yet
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec


class ErrorDetail(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong inside a body: where (JSON path), which rule, in words."""

    path: str
    code: str
    message: str
    feature: str | None = None
    """For geofence uploads: the feature's id, or ``#3`` when it has none."""


class GeoserviceError(Exception):
    """The root of everything that this service raises on purpose."""


class SettingsError(GeoserviceError):
    """Settings that cannot be used; ``problems`` has one sentence for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(GeoserviceError):
    """A caller's mistake; never carries what the caller sent, only where and which rule."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    title: ClassVar[str] = "Bad request"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        details: list[ErrorDetail] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem_code = code or self.code
        self.details = details or []
        self.extra = extra


class MalformedBody(RequestError):
    """The body cannot be parsed."""

    status, code, title = 400, "malformed_body", "The body cannot be read"


class Unauthenticated(RequestError):
    """No credentials, or ones that do not hold."""

    status, code, title = 401, "unauthenticated", "Authentication required"
    challenge = 'Bearer realm="geoservice"'
    """How the caller should identify itself (RFC 6750, 3: some clients crash on a challenge without parameters)."""


class Forbidden(RequestError):
    """Known, but not allowed to do this."""

    status, code, title = 403, "forbidden", "Not allowed"


class NotFound(RequestError):
    """No such thing, or not the caller's."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(RequestError):
    """Clashes with the present state."""

    status, code, title = 409, "conflict", "Conflict"


class PreconditionFailed(RequestError):
    """Changed since the caller read it."""

    status, code, title = 412, "precondition_failed", "Changed meanwhile"


class TooLarge(RequestError):
    """More bytes or items than the route takes."""

    status, code, title = 413, "too_large", "Too large"


class UnsupportedMedia(RequestError):
    """A content type that the route does not read."""

    status, code, title = 415, "unsupported_media_type", "Unsupported content type"


class Invalid(RequestError):
    """Well-formed, but against a rule."""

    status, code, title = 422, "invalid", "The body breaks a rule"


class TooManyRequests(RequestError):
    """Over the caller's rate."""

    status, code, title = 429, "too_many_requests", "Too many requests"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Unavailable(GeoserviceError):
    """Not now; try again after ``retry_after_s`` seconds."""

    code: ClassVar[str] = "unavailable"

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """More work is waiting than the service accepts."""

    code = "overloaded"


class NotReady(Unavailable):
    """The service cannot work yet, or not any more."""

    code = "not_ready"
