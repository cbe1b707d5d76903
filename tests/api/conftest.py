"""A customer of her own for each test, and a service with a store and a campaign."""

from __future__ import annotations

import re

import pytest_asyncio


@pytest_asyncio.fixture(loop_scope="module")
async def who(request) -> str:
    """A customer of her own for each test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(shared):
    """A service with a store and a campaign."""
    await shared.set_up_store()
    await shared.set_up_campaign()
    return shared
