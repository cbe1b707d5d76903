"""The account that pushes are sent with: the service-account file, and the access token that it buys.

No token, key or text of the file stands in any outcome, error or representation made here.
"""

from __future__ import annotations

import asyncio
import functools
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import requests
from firebase_admin import credentials
from google.auth import exceptions as google_errors
from google.auth.transport.requests import Request

from geoservice.errors import SettingsError
from geoservice.push.outcomes import SENDER_CLOSED, CredentialsRefused, NotSent, Outcome

SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
"""All that sending needs; firebase-admin would ask for six wider ones."""

REFRESH_AHEAD_S: Final = 300.0
FORCED_REFRESH_GAP_S: Final = 30.0
"""A new access token that is refused, too, is not replaced before: it is our key that is refused."""
ASK_AGAIN_S: Final = 1.0
"""After a failure the token endpoint is left alone for so long, however many pushes wait."""


def service_account(path: Path) -> Any:
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


class AccessToken:
    """The OAuth access token, refreshed in a thread, by one task at a time, while the old one still holds."""

    def __init__(self, account: Any, *, wait_max_s: float) -> None:
        self._account = account
        self._wait_max_s = wait_max_s
        self._http = requests.Session()
        self._request = functools.partial(Request(self._http), timeout=wait_max_s)
        self._token: str | None = None
        self._refresh_at_s = self._good_until_s = 0.0
        self._forced_at_s = -FORCED_REFRESH_GAP_S
        self._good: str | None = None
        """The last one that FCM took."""
        self._problem: Outcome | None = None
        self._ask_again_at_s = 0.0
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

    def took(self, token: str) -> None:
        """Note that FCM took this token: should it be refused later, it was revoked in between."""
        self._good = token

    async def renew(self, refused: str, *, revoked: bool) -> str | Outcome:
        """Another token than the one that FCM refused, or why there is none.

        ``revoked`` says that the refusal is about the token itself, so that one that was good is replaced at once.
        """
        if self._token is not None and self._token != refused:
            return self._token
        if not (revoked and refused == self._good) and time.monotonic() - self._forced_at_s < FORCED_REFRESH_GAP_S:
            return CredentialsRefused()
        renewed = await self._wait()
        if isinstance(renewed, str):
            self._forced_at_s = time.monotonic()
        return renewed

    def close(self) -> None:
        """Stop waiting; a thread that is inside the token endpoint ends by its own timeout."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self._http.close()

    async def _wait(self) -> str | Outcome:
        if self._problem is not None and time.monotonic() < self._ask_again_at_s:
            return self._problem
        refreshing = self._refresh()
        try:
            # Shielded: one sender that gives up must not take the refresh away from the others.
            problem = await asyncio.wait_for(asyncio.shield(refreshing), self._wait_max_s)
        except TimeoutError:
            return NotSent("token_endpoint_slow")
        except asyncio.CancelledError:
            if not refreshing.cancelled():
                raise
            return NotSent(SENDER_CLOSED)
        return problem or self._token or NotSent("token_endpoint")

    def _refresh(self) -> asyncio.Task[Outcome | None]:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh_once(), name="fcm-access-token")
        return self._refreshing

    async def _refresh_once(self) -> Outcome | None:
        """Ask the token endpoint; None when it gave a token."""
        self._problem = await self._ask()
        self._ask_again_at_s = time.monotonic() + ASK_AGAIN_S
        if self._problem is not None:
            self._refresh_at_s = self._ask_again_at_s
        return self._problem

    async def _ask(self) -> Outcome | None:
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
