"""The FCM sender against the stand-in: real HTTP, real OAuth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from geoservice.demo.fcm_stand_in import FcmStandIn
from geoservice.push.fcm import FcmSender


@pytest.fixture
def account(fcm: FcmStandIn) -> Path:
    """The service-account file that the stand-in trusts."""
    return fcm.credentials


@pytest.fixture
async def sender(fcm: FcmStandIn, account: Path) -> AsyncIterator[FcmSender]:
    """A sender as the service has it."""
    made = FcmSender(account, endpoint=fcm.base_url, timeout_s=10)
    yield made
    await made.close()


@pytest.fixture
async def hasty(fcm: FcmStandIn, account: Path) -> AsyncIterator[FcmSender]:
    """A sender with a timeout of half a second, so that tests of timeouts are short."""
    made = FcmSender(account, endpoint=fcm.base_url, timeout_s=0.5)
    yield made
    await made.close()
