"""A push to send in tests of the sender."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from geoservice.push.port import OutgoingPush
from geoservice.vocabulary import Platform

EXPIRES_AT = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)
PUSH = OutgoingPush(
    message_id="m-1",
    campaign_id="spring",
    platform=Platform.ANDROID,
    push_token="secret-token-1",
    title="Hello Ada",
    body="Your size is in store",
    collapse_key="spring-visit-1",
    expires_at=EXPIRES_AT,
    ttl_s=3_600,
    data={"store_id": "s-1"},
)


def push(number: int = 1, **changes) -> OutgoingPush:
    changed = {"message_id": f"m-{number}", "push_token": f"secret-token-{number}", **changes}
    return msgspec.structs.replace(PUSH, **changed)
