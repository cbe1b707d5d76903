"""The arrays that the engine works on, a whole batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indexes = NDArray[np.intp]
Bools = NDArray[np.bool_]
Geometries = NDArray[Any]
