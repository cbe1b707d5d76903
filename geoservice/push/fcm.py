"""Firebase Cloud Messaging: one push, one HTTP call, one outcome.

firebase-admin builds the message, writes its wire form and reads the service-account file. The HTTP call is
ours: one answer for one message, bounded in flight, no retry unknown to the outbox. OAuth refreshes
run in a thread, one at a time, ahead of expiry: neither the event loop nor the senders wait for them.

No token, key or text of a message stands in any outcome, error or representation made here.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import firebase_admin
from yarl import URL

from geoservice.errors import SettingsError
from geoservice.push.credentials import SCOPE, AccessToken, service_account
from geoservice.push.outcomes import SENDER_CLOSED, CredentialsRefused, InDoubt, NotSent, Outcome, Rejected, classify
from geoservice.push.port import OutgoingPush
from geoservice.push.wire import check_body, wire_body
from geoservice.vocabulary import Channel

DEFAULT_ENDPOINT: Final = "https://fcm.googleapis.com"
CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_MAX_BYTES: Final = 65_536


class FcmSender:
    """Sends through FCM's HTTP v1 API with the service account in ``credentials_path``.

    At most ``in_flight_max`` calls are open; more wait outside of the timeout, so that a timeout means a slow
    FCM. Raises SettingsError when the file or the endpoint cannot be used.
    """

    channel: Final = Channel.PUSH

    def __init__(
        self,
        credentials_path: Path,
        *,
        endpoint: str = DEFAULT_ENDPOINT,
        channel_id: str = "nearby",
        in_flight_max: int = 512,
        timeout_s: float = 10.0,
    ) -> None:
        account = service_account(credentials_path)
        self._url = _send_url(endpoint, account.project_id)
        self._access = AccessToken(account.with_scopes([SCOPE]), wait_max_s=timeout_s)
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
        return await self._call(body)

    async def check(self) -> Outcome:
        """Ask FCM to look at a push that it never sends; what it blames, if not the made-up phone, is our account."""
        return await self._call(check_body())

    async def _call(self, body: bytes) -> Outcome:
        async with self._slots:
            access_token = await self._access.get()
            if not isinstance(access_token, str):
                return access_token
            status, outcome = await self._post(body, access_token)
            if status == 401:
                renewed = await self._access.renew(access_token, revoked=outcome == CredentialsRefused())
                if not isinstance(renewed, str):
                    return renewed if isinstance(renewed, NotSent) else outcome
                access_token = renewed
                status, outcome = await self._post(body, access_token)
            if status not in {None, 401}:
                self._access.took(access_token)
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
            return None, NotSent(SENDER_CLOSED)
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


def _send_url(endpoint: str, project_id: str) -> URL:
    with contextlib.suppress(ValueError):
        url = URL(endpoint)
        if url.scheme in {"http", "https"} and url.host:
            return url / "v1" / "projects" / project_id / "messages:send"
    raise SettingsError(["The FCM endpoint is not an http:// or https:// URL."])
