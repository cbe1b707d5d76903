"""How wide a berth sensitive places are given, law by law. Pure.

Several states of the USA forbid geofences around health facilities, each at a distance of its own, measured from the
facility's edge. A sensitive geofence names its state in ``jurisdiction``. One that names none gets the buffer of the
state that the deployment is in, if its settings say so, else the widest.
"""

from __future__ import annotations

from typing import Final

_FOOT_M: Final = 0.3048

BUFFERS_M: Final[dict[str, float]] = {
    # My Health My Data Act, RCW 19.373.080: 2,000 feet around a facility of in-person health care.
    "US-WA": 2_000 * _FOOT_M,
    # General Business Law § 394-g: 1,850 feet around a health care facility.
    "US-NY": 1_850 * _FOOT_M,
    # AB 45 (2025), Civil Code § 1798.99.90 and following: 1,850 feet around a provider of in-person health care.
    "US-CA": 1_850 * _FOOT_M,
    # Public Act 23-56 (SB 3): 1,750 feet around a facility of mental, reproductive or sexual health.
    "US-CT": 1_750 * _FOOT_M,
    # SB 370 (2023): 1,750 feet around a medical facility.
    "US-NV": 1_750 * _FOOT_M,
    # Online Data Privacy Act (2024): 1,750 feet around a facility of mental, reproductive or sexual health.
    "US-MD": 1_750 * _FOOT_M,
}
"""ISO 3166-2 code of a jurisdiction -> metres around its sensitive places."""

DEFAULT_BUFFER_M: Final = max(BUFFERS_M.values())
"""Where nothing names a jurisdiction: the widest of them, 609.6 m."""


def buffer_m(jurisdiction: str | None, otherwise: str | None = None) -> float:
    """The width in metres of the belt around a sensitive place that is dark, too.

    ``otherwise`` is the jurisdiction of places that name none.
    """
    return BUFFERS_M.get(jurisdiction or otherwise or "", DEFAULT_BUFFER_M)
