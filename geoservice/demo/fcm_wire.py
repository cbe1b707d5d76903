"""A push as Firebase Cloud Messaging takes it: its fields, and the rules that the shape alone does not show."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

PAYLOAD_MAX_BYTES: Final = 4_096
TTL_MAX_S: Final = 2_419_200


class Wire(Struct, frozen=True, forbid_unknown_fields=True):
    """What FCM knows of a message, as far as this service may use it; topics and conditions are not."""


Label = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9\-_.~%]{1,50}$")]


class FcmOptions(Wire, frozen=True):
    """``fcm_options``, of a message or of one platform."""

    analytics_label: Label | None = None
    image: str | None = None


class Notification(Wire, frozen=True):
    """What the phone shows."""

    title: str | None = None
    body: str | None = None
    image: str | None = None


class AndroidNotification(Notification, frozen=True):
    """What an Android phone shows instead, and how."""

    tag: str | None = None
    channel_id: str | None = None
    icon: str | None = None
    color: str | None = None
    sound: str | None = None
    click_action: str | None = None


class Android(Wire, frozen=True):
    """``android``: how it reaches Android phones."""

    collapse_key: str | None = None
    priority: Literal["high", "normal", "HIGH", "NORMAL"] = "normal"
    ttl: Annotated[str, Meta(pattern=r"^[0-9]{1,10}(\.[0-9]{1,9})?s$")] | None = None
    data: dict[str, str] = {}
    notification: AndroidNotification | None = None
    fcm_options: FcmOptions | None = None


class ApnsPayload(Struct, frozen=True):
    """The payload for iPhones; fields beside ``aps`` are the app's own."""

    aps: dict[str, Any]


class Apns(Wire, frozen=True):
    """``apns``: how it reaches iPhones."""

    headers: dict[str, str] = {}
    payload: ApnsPayload | None = None
    fcm_options: FcmOptions | None = None


class Message(Wire, frozen=True):
    """A message to one phone, by token or installation id."""

    data: dict[str, str] = {}
    notification: Notification | None = None
    android: Android | None = None
    apns: Apns | None = None
    fcm_options: FcmOptions | None = None
    token: Annotated[str, Meta(min_length=1)] | None = None
    fid: Annotated[str, Meta(min_length=1)] | None = None


class SendRequest(Wire, frozen=True):
    """The body of ``messages:send``."""

    message: Message
    validate_only: bool = False


def place_of(error: str) -> str:
    """What msgspec writes as "... - at `$.message.android`" is ``message.android`` for Google."""
    _, found, path = error.rpartition("at `$.")
    return path.rstrip("`") if found else "message"


def wrong_field(message: Message) -> str | None:
    """The field that breaks a rule which the shape alone does not show."""
    if (message.token is None) == (message.fid is None):
        return "message"
    ttl = message.android.ttl if message.android else None
    if ttl is not None and float(ttl.removesuffix("s")) > TTL_MAX_S:
        return "message.android.ttl"
    if any(key == "from" or key.startswith(("google.", "gcm.")) for key in message.data):
        return "message.data"
    shown = msgspec.json.encode([message.notification, message.data])
    return "message" if len(shown) > PAYLOAD_MAX_BYTES else None
