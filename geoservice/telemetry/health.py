"""How well the process itself is."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from geoservice.telemetry.metrics import LOOP_LAG

EVERY_S: Final = 0.1


async def watch_loop_lag() -> None:
    """Observe by how much a short sleep comes back late, until cancelled: so long did every request wait, too."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(EVERY_S)
        LOOP_LAG.observe(max(0.0, time.perf_counter() - began - EVERY_S))
