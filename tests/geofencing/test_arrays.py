"""The shortcuts for small arrays say what numpy and shapely say."""

from __future__ import annotations

import numpy as np
import pytest
import shapely

from geoservice.geofencing.arrays import among, points, true_at


@pytest.mark.parametrize("some", [[], [3], [1, 5, 9, 9], [7, 2]])
@pytest.mark.parametrize("ordered", [[], [3], [1, 2, 9]])
def test_those_among_a_sorted_array_are_found(some: list[int], ordered: list[int]) -> None:
    """Whatever is looked for, and however little there is to look in, the answer is numpy's."""
    wanted, there = np.array(some, dtype=np.intp), np.array(ordered, dtype=np.intp)
    assert among(wanted, there).tolist() == np.isin(wanted, there).tolist()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_points_and_masks_are_as_the_libraries_have_them(count: int) -> None:
    """Points stand where their columns say, and a mask is true where numpy finds it so."""
    x, y = np.arange(count) * 1.5, np.arange(count) - 0.5
    assert shapely.equals(points(x, y), shapely.points(x, y)).all()
    assert true_at(y > 0).tolist() == np.flatnonzero(y > 0).tolist()
