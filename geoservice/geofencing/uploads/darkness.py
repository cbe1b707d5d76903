"""Which stores lie in the dark around sensitive places. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from geoservice.errors import ErrorDetail
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence

LISTED: Final = 100
"""So many stores are named; how many there are beyond is said."""


def dark_stores(
    stores: Mapping[str, tuple[float, float]], sensitive: Sequence[Geofence], jurisdiction: str | None = None
) -> list[ErrorDetail]:
    """Warn of stores, given as (lon, lat), in a sensitive place or in its belt.

    ``jurisdiction`` is that of places that name none.
    """
    if not stores or not sensitive:
        return []
    lon, lat = np.array(list(stores.values()), dtype=np.float64).T
    dark = Catalogue.build(sensitive, 0, jurisdiction).near_sensitive(lon, lat, np.zeros(len(lon)))
    named = [store_id for store_id, is_dark in zip(stores, dark, strict=True) if is_dark]
    message = "The store lies in the dark around a sensitive place: nobody who comes here is noticed."
    warnings = [
        ErrorDetail(f"stores.{store_id}", "store_in_the_dark", message, store_id) for store_id in named[:LISTED]
    ]
    if len(named) > LISTED:
        more = f"{len(named) - LISTED} more stores lie in the dark."
        warnings.append(ErrorDetail("stores", "store_in_the_dark", more))
    return warnings
