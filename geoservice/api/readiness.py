"""Whether requests can be served: what `/readyz` says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from geoservice.api.auth import CustomerTokens
from geoservice.errors import Unavailable
from geoservice.storage.database import UNREACHABLE, Database
from geoservice.storage.migrate import is_migrated
from geoservice.workflows import stopping
from geoservice.workflows.deliver import Deliver
from geoservice.workflows.directory import Directory

_MISSING: Final = {
    "database": "The database does not answer.",
    "migrations": "The database lacks this version's tables: run `geoservice migrate`.",
    "keys": "The identity provider's keys could not be fetched: no customer's token can be checked.",
    "catalogue": "Stores, geofences and campaigns are not loaded yet.",
}


@dataclass(slots=True)
class Readiness:
    """Looks at what serving needs. Who asks while a look is under way shares it.

    Anybody may ask, as often as he likes; the database's connections are for those who may call.
    """

    database: Database
    directory: Directory
    deliver: Deliver
    tokens: CustomerTokens
    pushes_leave: bool
    _under_way: asyncio.Task[dict[str, Any]] | None = field(default=None, init=False)

    async def look(self) -> dict[str, Any]:
        """Say whether it is ready, what is missing, and what keeps messages from going out."""
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._look(), name="readiness")
            self._under_way.add_done_callback(self._looked)
        return await asyncio.shield(self._under_way)  # whoever hangs up does not stop it for the others

    def _looked(self, _: asyncio.Task[dict[str, Any]]) -> None:
        self._under_way = None

    async def _look(self) -> dict[str, Any]:
        checks = {"database": False, "migrations": False, "catalogue": self.directory.loaded}
        warnings: list[str] = []
        try:
            async with self.database.connection() as connection:
                checks["database"] = True
                checks["migrations"] = await is_migrated(connection)
            if checks["migrations"]:
                stops = await stopping.stops(self.database)
                warnings += [
                    f"Sending is stopped since {row['at']:%Y-%m-%d %H:%M} UTC: {row['scope']}." for row in stops
                ]
        except (Unavailable, asyncpg.PostgresError, *UNREACHABLE):
            pass
        warnings += [*self.database.problems(), *self.deliver.problems()]
        if not self.pushes_leave:
            warnings.append("push: no credentials are configured, so no phone rings.")
        if not self.tokens.ready:
            checks["keys"] = False
        missing = [_MISSING[name] for name, good in checks.items() if not good]
        return {"ready": not missing, "checks": checks, "missing": missing, "warnings": warnings}
