"""What is on record of a customer, how it ends, her ids elsewhere; notices; who did and read what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from geoservice.workflows.notices import Notice


class ExportHead(Struct):
    """Whose data these are, and when they were read."""

    customer_id: str
    made_at: datetime
    format: int


class RecordKind(Struct, omit_defaults=True):
    """One kind of record: why it is kept and how long; in an export also how many there are."""

    name: str
    why: str
    kept: str
    records: int | None = None


class ExportAnswer(Struct):
    """Everything on record of a customer; ``complete`` stands last."""

    export: ExportHead
    index: list[RecordKind]
    data: dict[str, list[dict[str, Any]]]
    complete: bool


class ErasureAnswer(Struct):
    """A receipt: how far the erasure is, messages that the push provider may have already, and what must be kept."""

    id: str
    state: Literal["running", "done"]
    requested_at: datetime
    finished_at: datetime | None
    in_flight: list[str]
    kept: list[RecordKind]


class AliasAnswer(Struct):
    """An id that was joined."""

    customer_id: str
    alias: str


class AliasItem(Struct):
    """An id of hers elsewhere."""

    alias: str
    joined_at: datetime


class AliasesAnswer(Struct):
    """Her ids elsewhere."""

    items: list[AliasItem]


class NoticeAnswer(Notice, frozen=True, kw_only=True):
    """A notice as it was published."""

    version: str
    published_at: datetime


class NoticesAnswer(Struct):
    """Every published notice, newest first."""

    items: list[NoticeAnswer]


class AuditItem(Struct, omit_defaults=True):
    """Who did or read what; ``before`` and ``after`` of a change, whole."""

    id: str
    at: datetime
    actor: str
    action: str
    key_id: str | None = None
    customer_id: str | None = None
    subject: str | None = None
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None


class AuditAnswer(Struct, omit_defaults=True):
    """The record, oldest first; ``next`` is ``after`` of the following page."""

    items: list[AuditItem]
    next: str | None = None
