"""Firebase Cloud Messaging: one push, one HTTP call, one outcome.

firebase-admin builds the message, writes its wire form and reads the service-account file. The HTTP call is
ours: one answer for one message, bounded in flight, no retry unknown to the outbox. OAuth refreshes
run in a thread, one at a time, ahead of expiry: neither the event loop nor the senders wait for them.

No token, key or text of a message stands in any outcome, error or representation made here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import firebase_admin
import orjson
import requests
from firebase_admin import credentials, messaging
from firebase_admin._messaging_encoder import MessageEncoder
from google.auth import exceptions as google_errors
from google.auth.transport.requests import Request
from yarl import URL

from geoservice.errors import SettingsError
from geoservice.push.outcomes import CredentialsRefused, InDoubt, NotSent, Outcome, Rejected, classify
from geoservice.push.port import OutgoingPush
from geoservice.vocabulary import Platform

DEFAULT_ENDPOINT: Final = "https://fcm.googleapis.com"
SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
"""All that sending needs; firebase-admin would ask for six wider ones."""

TTL_MAX_S: Final = 2_419_200
CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_MAX_BYTES: Final = 65_536
REFRESH_AHEAD_S: Final = 300.0
FORCED_REFRESH_GAP_S: Final = 30.0
"""A storm of 401s costs one refresh in this time: a key that was just refused stays refused."""


class FcmSender:
    """Sends through FCM's HTTP v1 API with the service account in ``credentials_path``.

    At most ``in_flight_max`` calls are open; more wait outside of the timeout, so that a timeout means a slow
    FCM. Raises SettingsError when the file or the endpoint cannot be used.
    """

    def __init__(
        self,
        credentials_path: Path,
        *,
        endpoint: str = DEFAULT_ENDPOINT,
        channel_id: str = "nearby",
        in_flight_max: int = 100,
        timeout_s: float = 10.0,
    ) -> None:
        account = _service_account(credentials_path)
        self._url = _send_url(endpoint, account.project_id)
        self._access = _AccessToken(account.with_scopes([SCOPE]), wait_max_s=timeout_s)
        self._channel_id = channel_id
        self._slots = asyncio.Semaphore(in_flight_max)
        # `connect` covers DNS, TCP and TLS and raises an error of its own: what runs out later was under way.
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s / 2))
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, push: OutgoingPush) -> Outcome:
        """Try once; a 401 is tried once more with a new access token."""
        try:
            body = wire_body(push, channel_id=self._channel_id)
        except (ValueError, TypeError):
            # The original text may quote the value that it dislikes.
            return Rejected("not_encodable")
        async with self._slots:
            access_token = await self._access.get()
            if not isinstance(access_token, str):
                return access_token
            status, outcome = await self._post(body, access_token)
            if status == 401:
                renewed = await self._access.renew(access_token)
                if isinstance(renewed, str):
                    _, outcome = await self._post(body, renewed)
                elif isinstance(renewed, NotSent):
                    outcome = renewed
            return outcome

    async def close(self) -> None:
        """Close the connections. Calls that are still open end in doubt."""
        self._closed = True
        self._access.close()
        if self._session is not None:
            await self._session.close()

    def describe(self) -> str:
        """Where pushes go."""
        return f"Firebase Cloud Messaging at {self._url}"

    async def _post(self, body: bytes, access_token: str) -> tuple[int | None, Outcome]:
        """Make the call; the HTTP status (None without one) and what it means."""
        if self._closed:
            return None, NotSent("sender_closed")
        headers = {**_HEADERS, "Authorization": f"Bearer {access_token}"}
        try:
            # Never follow a redirect: it would take the access token along.
            async with self._open_session().post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                answer, now = await _read(response), datetime.now(UTC)
                return response.status, classify(response.status, response.headers, answer, now=now)
        except aiohttp.ClientConnectorDNSError:
            return None, NotSent("dns")
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            return None, NotSent("connect")
        except TimeoutError:
            return None, InDoubt("timeout")
        except (aiohttp.ClientError, OSError):
            return None, InDoubt("cut")

    def _open_session(self) -> aiohttp.ClientSession:
        """The session, made inside the running loop; without proxy, netrc or cookies."""
        if self._session is None:
            # The semaphore bounds the calls; a second bound here would wait inside of the timeout.
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


_HEADERS: Final = {
    "Content-Type": "application/json",
    # Asks for errors with `details`, as firebase-admin does.
    "X-GOOG-API-FORMAT-VERSION": "2",
    "X-FIREBASE-CLIENT": f"fire-admin-python/{firebase_admin.__version__}",
}


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """At most ``ANSWER_MAX_BYTES`` of the answer: FCM's are short, a proxy's page need not be read."""
    parts = bytearray()
    while len(parts) < ANSWER_MAX_BYTES and (part := await response.content.read(ANSWER_MAX_BYTES)):
        parts += part
    return bytes(parts[:ANSWER_MAX_BYTES])


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
        collapse_key=push.collapse_key, priority="high", ttl=ttl_s, notification=notification
    )


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


def _service_account(path: Path) -> Any:
    """google-auth credentials that know their project; else a SettingsError that quotes nothing."""
    try:
        account = credentials.Certificate(str(path)).get_credential()
    except OSError as error:
        raise SettingsError([f"The FCM credentials file {path} cannot be read: {error.strerror}."]) from None
    except Exception:  # noqa: BLE001 - JSON, encoding, shape or key: the parsers' own texts may quote the key
        raise SettingsError([f"The FCM credentials file {path} is not a service-account file."]) from None
    if not isinstance(account.project_id, str) or not account.project_id:
        raise SettingsError([f"The FCM credentials file {path} names no project_id."])
    return account


def _send_url(endpoint: str, project_id: str) -> URL:
    with contextlib.suppress(ValueError):
        url = URL(endpoint)
        if url.scheme in {"http", "https"} and url.host:
            return url / "v1" / "projects" / project_id / "messages:send"
    raise SettingsError(["The FCM endpoint is not an http:// or https:// URL."])


class _AccessToken:
    """The OAuth access token, refreshed in a thread, by one task at a time, while the old one still holds."""

    def __init__(self, account: Any, *, wait_max_s: float) -> None:
        self._account = account
        self._wait_max_s = wait_max_s
        self._http = requests.Session()
        self._request = functools.partial(Request(self._http), timeout=wait_max_s)
        self._token: str | None = None
        self._refresh_at_s = self._good_until_s = 0.0
        self._forced_at_s = -FORCED_REFRESH_GAP_S
        self._refreshing: asyncio.Task[Outcome | None] | None = None

    async def get(self) -> str | Outcome:
        """A token that holds, or why there is none."""
        now_s = time.monotonic()
        if self._token is None or now_s >= self._good_until_s:
            return await self._wait()
        if now_s >= self._refresh_at_s:
            # Nobody waits; should it fail, the next call starts the next try, until the old token ends.
            self._refresh()
        return self._token

    async def renew(self, refused: str) -> str | Outcome:
        """Another token than the one that FCM refused, or why there is none."""
        if self._token is not None and self._token != refused:
            return self._token
        now_s = time.monotonic()
        if self._refreshing is None or self._refreshing.done():
            if now_s - self._forced_at_s < FORCED_REFRESH_GAP_S:
                return CredentialsRefused()
            self._forced_at_s = now_s
        return await self._wait()

    def close(self) -> None:
        """Stop waiting; a thread that is inside the token endpoint ends by its own timeout."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self._http.close()

    async def _wait(self) -> str | Outcome:
        refreshing = self._refresh()
        try:
            # Shielded: one sender that gives up must not take the refresh away from the others.
            problem = await asyncio.wait_for(asyncio.shield(refreshing), self._wait_max_s)
        except TimeoutError:
            return NotSent("token_endpoint_slow")
        except asyncio.CancelledError:
            if not refreshing.cancelled():
                raise
            return NotSent("sender_closed")
        return problem or self._token or NotSent("token_endpoint")

    def _refresh(self) -> asyncio.Task[Outcome | None]:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh_once(), name="fcm-access-token")
        return self._refreshing

    async def _refresh_once(self) -> Outcome | None:
        """Ask the token endpoint; None when it gave a token."""
        try:
            await asyncio.to_thread(self._account.refresh, self._request)
        except google_errors.RefreshError as error:
            return NotSent("token_endpoint") if error.retryable else CredentialsRefused("token_refused")
        except Exception:  # noqa: BLE001 - no connection, or an answer that google-auth cannot read
            return NotSent("token_endpoint")
        lifetime_s = _lifetime_s(self._account.expiry)
        self._token = self._account.token
        self._good_until_s = time.monotonic() + lifetime_s
        self._refresh_at_s = self._good_until_s - min(REFRESH_AHEAD_S, lifetime_s / 10)
        return None


def _lifetime_s(expiry: datetime | None) -> float:
    """Seconds until ``expiry`` (naive UTC, as google-auth has it); an hour where the endpoint did not say."""
    return 3_600.0 if expiry is None else (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
