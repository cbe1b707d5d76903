"""What the engine alone costs: matching by the size of the catalogue, presence by the nearness of fences, loading."""

from __future__ import annotations

import gc
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np
import shapely
from numpy.typing import NDArray

from geoservice.bench.city import METRES_A_DEGREE
from geoservice.clock import SystemClock
from geoservice.decisions.facts import RetailerDefaults
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.track import DeviceTrack
from geoservice.storage.database import Database, open_pool
from geoservice.storage.embedded import EmbeddedPostgres
from geoservice.storage.migrate import migrate
from geoservice.vocabulary import Fix, GeofenceKind
from geoservice.workflows.directory import Directory

BATCH: Final = 256
SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
LOADED: Final = 100_000
SPACING_M: Final = 600.0
RADIUS_M: Final = 60.0
_START: Final = datetime(2025, 1, 1, tzinfo=UTC)


async def measure() -> dict[str, Any]:
    """Microseconds a fix; seconds and bytes for loading. CPU time, the best of several runs."""
    rng = np.random.default_rng(1)
    found: dict[str, Any] = {}
    for size in SIZES:
        fences = hexagons(size)
        catalogue = Catalogue.build(fences, version=1)
        found[f"match_{size}_us"] = round(_match_us(catalogue, size, rng), 2)
        if size == LOADED:
            found["near_step_us"] = round(_step_us(catalogue, _side_m(size), 0.0, rng), 1)
            found["far_step_us"] = round(_step_us(catalogue, _side_m(size), 3 * _side_m(size), rng), 1)
            found |= await _load(fences)
        del fences, catalogue
        gc.collect()
    found["match_last_to_first"] = round(found[f"match_{SIZES[-1]}_us"] / found[f"match_{SIZES[0]}_us"], 1)
    return found


def hexagons(count: int) -> list[Geofence]:
    """A square grid of stores at the equator, each a hexagon."""
    side = round(_side_m(count) / SPACING_M)
    angles = np.radians(np.arange(7) * 60.0)
    corners = RADIUS_M * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    corners[-1] = corners[0]
    place = np.arange(count)
    middles = np.stack((place % side, place // side), axis=1) * SPACING_M
    shapes = shapely.polygons((middles[:, None] + corners) / METRES_A_DEGREE)
    return [
        Geofence(geofence_id=f"f{number}", name=f"Store {number}", kind=GeofenceKind.STORE, geometry=shape)
        for number, shape in enumerate(shapes.tolist())
    ]


def _side_m(count: int) -> float:
    return float(np.ceil(np.sqrt(count))) * SPACING_M


def _match_us(catalogue: Catalogue, size: int, rng: np.random.Generator) -> float:
    lon, lat = rng.uniform(0, _side_m(size), (2, BATCH)) / METRES_A_DEGREE
    return best_s(lambda: catalogue.match(lon, lat), 200) / BATCH * 1e6


def _step_us(catalogue: Catalogue, side_m: float, off_m: float, rng: np.random.Generator) -> float:
    """256 phones that walk for 50 fixes: among the stores, or so far off that there are none."""
    heading = rng.uniform(0, 2 * np.pi, (BATCH, 1))
    steps = np.arange(50) * 21.0
    east = off_m + rng.uniform(0, side_m, (BATCH, 1)) + np.cos(heading) * steps
    north = rng.uniform(0, side_m, (BATCH, 1)) + np.sin(heading) * steps
    noise: NDArray[np.float64] = rng.normal(0, 6, (2, BATCH, 50))
    lon, lat = (east + noise[0]) / METRES_A_DEGREE, (north + noise[1]) / METRES_A_DEGREE
    at = [_START + timedelta(seconds=15 * step) for step in range(50)]
    news = []
    for lons, lats in zip(lon.tolist(), lat.tolist(), strict=True):
        fixes = [Fix(recorded_at=t, lat=y, lon=x, accuracy_m=10.0) for t, x, y in zip(at, lons, lats, strict=True)]
        news.append(News(DeviceTrack(), fixes))
    return best_s(lambda: advance(catalogue, news, 0.0), 5) / BATCH / 50 * 1e6


async def _load(fences: list[Geofence]) -> dict[str, Any]:
    """From PostgreSQL to a ready index, as a service does at its start."""
    with tempfile.TemporaryDirectory(prefix="geoservice-bench-") as folder:
        server = EmbeddedPostgres(Path(folder))
        dsn = await server.start()
        try:
            await migrate(dsn)
            await _insert(dsn, fences)
            async with await open_pool(dsn, size=2) as pool:
                directory = Directory(Database(pool, dsn), RetailerDefaults(), SystemClock())
                gc.collect()
                before, began = _resident_bytes(), time.perf_counter()
                await directory.reload()
                seconds = time.perf_counter() - began
                gc.collect()
                grown = _resident_bytes() - before
        finally:
            await server.stop()
    return {"load_100000_s": round(seconds, 2), "load_bytes_a_fence": round(grown / len(fences))}


async def _insert(dsn: str, fences: list[Geofence]) -> None:
    connection = await asyncpg.connect(dsn)
    rows = [(f.geofence_id, f.name, f.kind.value, shapely.to_wkb(f.geometry), 1) for f in fences]
    columns = ["geofence_id", "name", "kind", "geometry", "version"]
    await connection.copy_records_to_table("geofences", records=rows, columns=columns)
    await connection.execute("update directory_revisions set revision = 1 where room = 'geofences'")
    await connection.close()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def best_s(work: Callable[[], object], times: int) -> float:
    """CPU seconds of the best of so many runs: what else the machine does costs some of them, not all."""
    took = []
    for _ in range(times):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)
