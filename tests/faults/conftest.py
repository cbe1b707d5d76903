"""A furnished house for the fault tests: most of them live in one, a module at a time; the long ones have their own."""
# `conftest` is the file at the top by the time a fixture runs, not yet when this one is read: so imports stand inside.

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio


@pytest.fixture(scope="session")
def furnished(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a database with stores, campaigns and one customer to copy, set up once over HTTP."""
    from fault_house import FURNISHED, furnish

    asyncio.run(furnish(postgres, tmp_path_factory.mktemp("furnish")))
    return FURNISHED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_house(
    postgres: str, furnished: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Any]:
    """One house for a module; settings of its own are the module's ``SETTINGS``."""
    from fault_house import house

    settings = getattr(request.module, "SETTINGS", {})
    async with house(postgres, furnished, tmp_path_factory.mktemp("house"), **settings) as ours:
        yield ours


@pytest_asyncio.fixture(loop_scope="module")
async def home(shared_house: Any) -> Any:
    """The module's house, mended: every test breaks it anew, with customers of its own."""
    await shared_house.mend()
    return shared_house
