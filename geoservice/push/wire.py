"""A push as FCM's HTTP v1 API reads it: one JSON body, with Android's and Apple's own fields. Pure."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import orjson
from firebase_admin import messaging
from firebase_admin._messaging_encoder import MessageEncoder

from geoservice.push.port import OutgoingPush
from geoservice.vocabulary import Platform

TTL_MAX_S: Final = 2_419_200
COLLAPSE_KEYS_MAX: Final = 4
"""FCM keeps so many collapse keys for a phone that is off, and drops any when there are more."""


def wire_body(push: OutgoingPush, *, channel_id: str) -> bytes:
    """The JSON body of ``messages:send``; ValueError or TypeError when it cannot be written."""
    message = messaging.Message(
        fid=push.fid,
        notification=messaging.Notification(title=push.title, body=push.body, image=push.image_url),
        data=_data(push),
        android=None if push.platform is Platform.IOS else _android(push, channel_id),
        apns=None if push.platform is Platform.ANDROID else _apns(push),
        fcm_options=messaging.FCMOptions(analytics_label=push.analytics_label),
    )
    if push.fid is None:
        # Set afterwards: the constructor warns that `token` is deprecated, yet phones without a fid exist.
        message.token = push.push_token
    return orjson.dumps({"message": MessageEncoder().default(message)})


def _data(push: OutgoingPush) -> dict[str, str]:
    """What the app gets beside the notification; ``message_id`` always, so that it can report back."""
    deep_link = {} if push.deep_link is None else {"deep_link": push.deep_link}
    return {**push.data, **deep_link, "campaign_id": push.campaign_id, "message_id": push.message_id}


def _android(push: OutgoingPush, channel_id: str) -> Any:
    notification = messaging.AndroidNotification(tag=push.collapse_key, channel_id=channel_id)
    ttl_s = min(max(push.ttl_s, 0), TTL_MAX_S)
    return messaging.AndroidConfig(
        collapse_key=_collapse_key(push.collapse_key), priority="high", ttl=ttl_s, notification=notification
    )


def _collapse_key(name: str) -> str:
    """One of four keys, the same for the same name: what waits for a phone that is off never needs a fifth."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return f"geoservice-{digest[0] % COLLAPSE_KEYS_MAX}"


def _apns(push: OutgoingPush) -> Any:
    headers = {
        "apns-collapse-id": _collapse_id(push.collapse_key),
        "apns-priority": "10",
        "apns-expiration": str(int(push.expires_at.timestamp())),
    }
    aps = messaging.Aps(
        thread_id=push.campaign_id,
        # An image is fetched by the app's notification extension, which runs for mutable content only.
        mutable_content=push.image_url is not None,
        # `active` lights the screen, yet does not break through Focus: an offer is never time-sensitive.
        custom_data={"interruption-level": "active"},
    )
    return messaging.APNSConfig(headers=headers, payload=messaging.APNSPayload(aps))


def _collapse_id(collapse_key: str) -> str:
    """The key itself, or its SHA-256 (64 hex digits) where APNs would refuse it as too long."""
    raw = collapse_key.encode("utf-8", "surrogatepass")
    return collapse_key if len(raw) <= 64 else hashlib.sha256(raw).hexdigest()


def check_body() -> bytes:
    """A body that FCM checks and never sends: it tells whether project and credentials are good."""
    message = {"token": "nobody", "notification": {"title": "check"}}
    return orjson.dumps({"message": message, "validate_only": True})
