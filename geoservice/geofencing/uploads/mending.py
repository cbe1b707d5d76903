"""Mending of shapes, for whoever asks for it: each change is said. Pure."""

from __future__ import annotations

import numpy as np
import shapely

from geoservice.geofencing.uploads.drafts import Draft, Findings


class Mender:
    """Closes rings, and makes polygons of outlines that cross themselves; what it does becomes a warning."""

    def __init__(self, warnings: Findings) -> None:
        self._warnings = warnings

    def close_rings(self, drafts: list[Draft]) -> None:
        """Repeat the first position of rings that lack it at their end."""
        for draft in drafts:
            for p, part in enumerate(draft.parts):
                for r, ring in enumerate(part):
                    if len(ring) and not np.array_equal(ring[0], ring[-1]):
                        part[r] = np.vstack([ring, ring[:1]])
                        self._warnings.add(draft, draft.ring_path(p, r), "made_valid", "The ring was closed.")

    def mend(self, draft: Draft, shape: shapely.Geometry) -> shapely.Geometry | None:
        """Give the polygons that an outline encloses; None where it encloses nothing."""
        whole = shapely.make_valid(shape, method="structure", keep_collapsed=False)
        parts = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon" and part.area > 0]
        if not parts:
            return None
        self._warnings.add(draft, "geometry.coordinates", "made_valid", "The outline crossed itself and was mended.")
        return parts[0] if len(parts) == 1 and not draft.multi else shapely.MultiPolygon(parts)
