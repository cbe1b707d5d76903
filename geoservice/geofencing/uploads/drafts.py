"""Features on their way to geofences, and what is found out about them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from geoservice.errors import ErrorDetail
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.uploads.documents import Origin

MAX_LISTED: Final = 100
"""So many errors, and so many warnings, are listed; what is left is counted in one last entry."""

Ring: TypeAlias = NDArray[np.float64]
"""Positions of one closed ring, shape (n, 2), lon before lat."""
Part: TypeAlias = list[Ring]
"""One polygon: the outer ring, then its holes."""


class Findings:
    """Errors or warnings of one document, in the order in which they are found, listed up to a limit."""

    def __init__(self, found: Iterable[ErrorDetail] = ()) -> None:
        self._details: list[ErrorDetail] = []
        self._unlisted = 0
        for detail in found:
            self.add_detail(detail)

    def add(self, draft: Draft, path: str, code: str, message: str) -> None:
        """Note what is wrong with a feature, at a path below it."""
        self.add_detail(ErrorDetail(draft.origin.place(path), code, message, draft.label))

    def add_detail(self, detail: ErrorDetail) -> None:
        """Note what is wrong, at a path of its own."""
        if len(self._details) < MAX_LISTED:
            self._details.append(detail)
        else:
            self._unlisted += 1

    def listed(self) -> list[ErrorDetail]:
        """What was found first, and how much there is beyond."""
        if not self._unlisted:
            return self._details
        more = ErrorDetail("features", "more_not_listed", f"{self._unlisted} more like these are not listed.")
        return [*self._details, more]


class Draft:
    """One feature on its way to a geofence."""

    def __init__(self, origin: Origin, label: str) -> None:
        self.origin = origin
        self.label = label
        self.fields: dict[str, Any] = {}
        self.parts: list[Part] = []
        self.multi = False
        self.crosses_180 = False
        self.geometry: shapely.Geometry | None = None
        self.sound = True
        """Nothing has been refused so far."""
        self.readable = True
        """Nothing has been refused in its geometry, so that more can be found out about it."""

    def refuse(self, errors: Findings, path: str, code: str, message: str) -> None:
        """Note an error: this feature becomes no geofence."""
        self.sound = False
        self.readable = self.readable and not path.startswith("geometry")
        errors.add(self, path, code, message)

    def geofence(self) -> Geofence:
        """The value that it has become; only of a sound draft."""
        return Geofence(geometry=self.geometry, **self.fields)

    def ring_path(self, part: int, ring: int) -> str:
        """Where a ring stands in the feature."""
        inside = f"[{part}][{ring}]" if self.multi else f"[{ring}]"
        return f"geometry.coordinates{inside}"
