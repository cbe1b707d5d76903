"""The yardstick for delivery: firebase-admin's own ``send_each_async``, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import time
import warnings
from typing import Any, Final

import firebase_admin
import orjson
from firebase_admin import credentials, messaging
from google.oauth2.service_account import Credentials

from geoservice.push.credentials import SCOPE

BATCH: Final = 500
"""The most that it takes at once."""


class _OnlyMessaging(credentials.Base):  # type: ignore[misc]  # it ships no types
    """The account with the one right that sending needs; the stand-in gives no other."""

    def __init__(self, account: str) -> None:
        read: Any = Credentials
        self._account = read.from_service_account_file(account, scopes=[SCOPE])

    def get_credential(self) -> Any:
        """Give google-auth's credentials."""
        return self._account

    @property
    def project_id(self) -> str:
        """Whose messages they are."""
        return str(self._account.project_id)


async def measure(endpoint: str, account: str, count: int) -> dict[str, float]:
    """Send that many messages in batches, after a first one; messages a second, and CPU seconds a message."""
    app = firebase_admin.initialize_app(_OnlyMessaging(account))
    # It has no setting for the address.
    messaging._MessagingService.FCM_URL = endpoint + "/v1/projects/{0}/messages:send"  # noqa: SLF001
    await _send(app, BATCH)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    sent = 0
    while sent < count:
        sent += await _send(app, BATCH)
    return {"per_s": sent / (time.perf_counter() - began_s), "cpu_s": (time.process_time() - cpu_s) / sent}


async def _send(app: firebase_admin.App, count: int) -> int:
    notification = messaging.Notification(title="The shoes are here", body="At the harbour, in your size.")
    batch = [messaging.Message(token=f"token-{n}", notification=notification) for n in range(count)]
    answer = await messaging.send_each_async(batch, app=app)
    if answer.failure_count:
        raise RuntimeError(f"{answer.failure_count} of {count} failed")
    return int(answer.success_count)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # `token` is deprecated, and what phones still have
    print(orjson.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))).decode())  # noqa: T201
