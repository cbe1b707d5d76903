"""What is wrong, on every route."""

from __future__ import annotations

from msgspec import Struct


class ErrorPlace(Struct, omit_defaults=True):
    """One thing that is wrong in a body: where, which rule, in words."""

    path: str
    code: str
    message: str
    feature: str | None = None


class Problem(Struct, omit_defaults=True):
    """An error (RFC 9457). ``code`` is stable; the sentences may change."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ErrorPlace] = []
