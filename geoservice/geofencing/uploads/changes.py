"""What an upload does to the set of geofences. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

import msgspec
import numpy as np
import shapely

from geoservice.geofencing.geofence import Geofence


class Changes(msgspec.Struct, frozen=True):
    """What an upload does to the set of geofences, as ids."""

    created: list[str]
    changed: list[str]
    unchanged: list[str]
    removed: list[str]


def diff(old: Iterable[Geofence], new: Iterable[Geofence], *, replace: bool) -> Changes:
    """Compare what is there with what is uploaded. Only ``replace`` removes what the upload does not name.

    Where a ring starts and which way it runs is no change.
    """
    before = {fence.geofence_id: fence for fence in old}
    after = {fence.geofence_id: fence for fence in new}
    common = [key for key in after if key in before]
    same_shape = shapely.equals_exact(
        shapely.normalize(np.array([before[key].geometry for key in common], dtype=object)),
        shapely.normalize(np.array([after[key].geometry for key in common], dtype=object)),
    )
    unchanged = {
        key for key, same in zip(common, same_shape, strict=True) if same and _words(before[key]) == _words(after[key])
    }
    return Changes(
        created=[key for key in after if key not in before],
        changed=[key for key in common if key not in unchanged],
        unchanged=[key for key in common if key in unchanged],
        removed=[key for key in before if key not in after] if replace else [],
    )


_words = attrgetter(*(field for field in Geofence.__struct_fields__ if field != "geometry"))
