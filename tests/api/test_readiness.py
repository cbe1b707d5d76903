"""Whether the service is ready, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from geoservice.api.readiness import Readiness
from geoservice.storage.database import Database, open_pool


class Counted(Database):
    """Counts how often a connection was borrowed."""

    borrowed = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Borrow a connection."""
        self.borrowed += 1
        async with super().connection() as connection:
            yield connection


async def test_a_crowd_that_asks_costs_as_much_as_one(database_url):
    """A thousand who ask at once share one look; whoever hangs up spoils it for nobody, and later comes another one."""
    async with await open_pool(database_url, size=2) as pool:
        database = Counted(pool, database_url)
        parts = SimpleNamespace(loaded=True, ready=True, problems=list)
        readiness = Readiness(database, parts, parts, parts, pushes_leave=True)
        await readiness.look()
        alone = database.borrowed
        asking = [asyncio.ensure_future(readiness.look()) for _ in range(1_000)]
        await asyncio.sleep(0)
        asking[0].cancel()
        answers = await asyncio.gather(*asking[1:])
        assert database.borrowed == 2 * alone
        assert all(answer["ready"] for answer in answers)
        parts.loaded = False
        assert (await readiness.look())["missing"] == ["Stores, geofences and campaigns are not loaded yet."]
