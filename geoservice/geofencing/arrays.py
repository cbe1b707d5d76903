"""The arrays that the engine works on, a whole batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indexes = NDArray[np.intp]
Bools = NDArray[np.bool_]
Geometries = NDArray[Any]


def points(x: Floats, y: Floats) -> Geometries:
    """Points at these coordinates; for a few, `shapely.points` takes ten times as long to join two columns."""
    columns = np.empty((len(x), 2))
    columns[:, 0], columns[:, 1] = x, y
    return np.asarray(shapely.points(columns))


def true_at(mask: NDArray[Any]) -> Indexes:
    """Where a mask is true, as `numpy.flatnonzero`, which takes four times as long for a few."""
    return mask.nonzero()[0]


def among(some: Indexes, ordered: Indexes) -> Bools:
    """Which of them are in a sorted array, as `numpy.isin`, which takes twenty times as long for a few."""
    if not ordered.size:
        return np.zeros(len(some), dtype=np.bool_)
    return np.asarray(ordered[np.minimum(ordered.searchsorted(some), len(ordered) - 1)] == some)
