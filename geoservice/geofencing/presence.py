"""Presence: the table of states between one device and one geofence, and the belief that moves it. Pure.

    outside    Nothing is remembered of a place where the device is not.
    entering   Something speaks for it, but it is not believed yet.
    inside     Entered. Jitter around the edge is no exit.
    leaving    In doubt, but not disproved yet.

Each observation says one thing about the pair (`geoservice.geofencing.evidence`). What all of them say together is a
belief: the log-odds that the device is inside, as in a Bayes filter. The table ``PRESENCE`` says what follows from it:

    inside        The belief is 0 or more: at least as likely as not. Or another source proves it.
    doubt         It is below 0, and neither of the next.
    outside       For who has entered: it is -1.25 (22 %) or less. For who has not: at its lowest, nothing speaks
                  for it. Or it is proven: a fix far beyond the edge, or another source says so.
    first inside  Inside already when first seen, so that nobody arrived.
    crossed       Passed through between two fixes that were both outside.
    dwelt         Inside for the fence's dwell time, and seen inside in the last 90 s (or silent: `assumed`).
    removed       The geofence is in the catalogue no more.
    lost          Nothing was heard of the device for 6 h.

How an observation moves the belief:

1. It counts as far as it is a new witness: two fixes t seconds apart share exp(-2 t / 60 s) of their error.
2. Inside adds the odds of p, at most 4. One fix alone adds at most 0.8 and makes no enter, unless the fix before is at
   least 45 s old and p ≥ 0.95: whoever reports seldom cannot bring two witnesses.
3. Not inside takes the odds of p away, at most 3.4. From who has entered it takes at most 0.35 up to its accuracy
   beyond the edge, and from there on more and more, until it is beyond in full: errors are larger than phones say.
4. Poor fixes add nothing. Only one whose disc is disjoint from the fence takes 3.4.
5. The belief stays between 2 (88 %) and, for a device on the move, -1.3 (21 %): it may well be coming in. For one that
   stands still it goes down to -6 (0.2 %): whoever has stood outside for minutes is not inside because two fixes stray.

Fences are independent of each other. At one instant exits come before enters. Presence in a fence that turned
`sensitive` ends without a word, and such fences are never entered. The table does not know which source spoke.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from geoservice.geofencing.statements import Evidence, Statement
from geoservice.geofencing.track import TRUST, Presence, PresenceState
from geoservice.vocabulary import Source, TransitionKind

LEFT: Final = -1.25
"""Who has entered exits here."""
DOUBT_MOVING: Final = -1.3
DOUBT_STILL: Final = -6.0
ALIKE_S: Final = 60.0
"""The errors of fixes are correlated over this time."""
MOST_FOR: Final = 4.0
MOST_AGAINST: Final = 3.4
MOST_AGAINST_NEAR: Final = 0.35
MOST_ALONE: Final = 0.8
SILENCE_S: Final = 45.0
P_ALONE: Final = 0.95


class Verdict(Enum):
    """What all observations of a device and a geofence say together; the rules are in the module's docstring."""

    REMOVED = "removed"
    LOST = "lost"
    OUTSIDE = "outside"
    CROSSED = "crossed"
    DOUBT = "doubt"
    INSIDE = "inside"
    DWELT = "dwelt"
    FIRST_INSIDE = "first inside"


_S, _V, _T = PresenceState, Verdict, TransitionKind

PRESENCE: Final[dict[tuple[PresenceState, Verdict], tuple[PresenceState, TransitionKind | None]]] = {
    # Nothing is remembered of a place where the device is not.
    (_S.OUTSIDE, _V.REMOVED): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _V.LOST): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _V.OUTSIDE): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _V.CROSSED): (_S.OUTSIDE, _T.CROSSED),
    (_S.OUTSIDE, _V.DOUBT): (_S.ENTERING, None),
    (_S.OUTSIDE, _V.INSIDE): (_S.INSIDE, _T.ENTER),
    (_S.OUTSIDE, _V.DWELT): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _V.FIRST_INSIDE): (_S.INSIDE, _T.ENTER),
    # Until it is believed, or nothing speaks for it any more.
    (_S.ENTERING, _V.REMOVED): (_S.OUTSIDE, None),
    (_S.ENTERING, _V.LOST): (_S.OUTSIDE, None),
    (_S.ENTERING, _V.OUTSIDE): (_S.OUTSIDE, None),
    (_S.ENTERING, _V.CROSSED): (_S.OUTSIDE, _T.CROSSED),
    (_S.ENTERING, _V.DOUBT): (_S.ENTERING, None),
    (_S.ENTERING, _V.INSIDE): (_S.INSIDE, _T.ENTER),
    (_S.ENTERING, _V.DWELT): (_S.ENTERING, None),
    (_S.ENTERING, _V.FIRST_INSIDE): (_S.INSIDE, _T.ENTER),
    # Jitter around the edge is no exit.
    (_S.INSIDE, _V.REMOVED): (_S.OUTSIDE, _T.REMOVED),
    (_S.INSIDE, _V.LOST): (_S.OUTSIDE, _T.LOST),
    (_S.INSIDE, _V.OUTSIDE): (_S.OUTSIDE, _T.EXIT),
    (_S.INSIDE, _V.CROSSED): (_S.INSIDE, None),
    (_S.INSIDE, _V.DOUBT): (_S.LEAVING, None),
    (_S.INSIDE, _V.INSIDE): (_S.INSIDE, None),
    (_S.INSIDE, _V.DWELT): (_S.INSIDE, _T.DWELL),
    (_S.INSIDE, _V.FIRST_INSIDE): (_S.INSIDE, None),
    # In doubt, until it is believed again or disproved.
    (_S.LEAVING, _V.REMOVED): (_S.OUTSIDE, _T.REMOVED),
    (_S.LEAVING, _V.LOST): (_S.OUTSIDE, _T.LOST),
    (_S.LEAVING, _V.OUTSIDE): (_S.OUTSIDE, _T.EXIT),
    (_S.LEAVING, _V.CROSSED): (_S.LEAVING, None),
    (_S.LEAVING, _V.DOUBT): (_S.LEAVING, None),
    (_S.LEAVING, _V.INSIDE): (_S.INSIDE, None),
    (_S.LEAVING, _V.DWELT): (_S.LEAVING, None),
    (_S.LEAVING, _V.FIRST_INSIDE): (_S.INSIDE, None),
}
"""(state, verdict) -> (next state, what to tell)."""


def presence_diagram() -> str:
    """The table as a Mermaid state diagram; what changes and tells nothing is left out."""
    arrows: dict[tuple[PresenceState, PresenceState, TransitionKind | None], list[str]] = {}
    for (state, verdict), (then, told) in PRESENCE.items():
        if then is not state or told is not None:
            arrows.setdefault((state, then, told), []).append(verdict.value)
    lines = ["stateDiagram-v2", f"    [*] --> {PresenceState.OUTSIDE}"]
    for (state, then, told), said in arrows.items():
        label = ", ".join(said) + (f" / {told.upper()}" if told else "")
        lines.append(f"    {state} --> {then}: {label}")
    return "\n".join(lines) + "\n"


# What all say together --------------------------------------------------------------------------------------


def judge(presence: Presence, statement: Statement) -> tuple[float, Verdict]:
    """The belief after this statement, and the verdict."""
    said, there = statement.said, presence.is_there
    least = DOUBT_MOVING if statement.moving else DOUBT_STILL
    believed = least if presence.belief is None else max(presence.belief, least)
    if said is Evidence.CROSSED:
        return believed, Verdict.CROSSED
    if said is Evidence.OUTSIDE:
        return least, Verdict.OUTSIDE
    if said is Evidence.PROVEN_INSIDE:
        return TRUST, Verdict.INSIDE
    if said is Evidence.FIRST_INSIDE and not there:
        return min(odds(statement.p), TRUST), Verdict.FIRST_INSIDE
    belief = min(max(believed + _weight(statement, there=there), least), TRUST)
    if belief >= 0:
        return belief, Verdict.INSIDE
    disproved = belief <= (LEFT if there else least)
    return belief, Verdict.OUTSIDE if disproved else Verdict.DOUBT


def certainty(presence: Presence) -> float:
    """How surely the device is inside (0 to 1), as far as is remembered."""
    return 1.0 / (1.0 + math.exp(-(TRUST if presence.belief is None else presence.belief)))


def odds(p: float) -> float:
    """The log-odds of a probability, between -20 and 20."""
    if p <= 2e-9:
        return -20.0
    return 20.0 if p >= 1 - 2e-9 else math.log(p / (1.0 - p))


def _weight(statement: Statement, *, there: bool) -> float:
    """How far a statement moves the belief (rules 1 to 4)."""
    said, p = statement.said, statement.p
    if said is Evidence.VAGUE or said is Evidence.PERHAPS:
        return 0.0
    silence_s = statement.at - statement.before_at
    fresh = 1.0 - math.exp(-2.0 * silence_s / ALIKE_S)
    if said >= Evidence.INSIDE:
        for_it = fresh * min(odds(p), MOST_FOR)
        return for_it if silence_s >= SILENCE_S and p >= P_ALONE else min(for_it, MOST_ALONE)
    if said is Evidence.BEYOND:
        return -fresh * MOST_AGAINST
    most = MOST_AGAINST_NEAR + (MOST_AGAINST - MOST_AGAINST_NEAR) * statement.beyond if there else MOST_AGAINST
    return fresh * max(odds(p), -most)


def become(
    presence: Presence,
    state: PresenceState,
    belief: float,
    statement: Statement,
    fix_before_at: float,
    dwell_s: float,
) -> Presence:
    """What is remembered after a statement.

    ``fix_before_at`` (epoch seconds) is the device's latest fix before it, ``dwell_s`` the fence's dwell time.
    """
    at = statement.at
    if statement.said >= Evidence.PERHAPS:
        inside_at = None if statement.source is Source.FIX else at
    else:
        inside_at = fix_before_at if presence.inside_at is None else presence.inside_at
    watched_at = presence.watched_at
    if statement.source is Source.OS and statement.said >= Evidence.PERHAPS:
        watched_at = at
    if state is PresenceState.ENTERING or (presence.is_there and state is not PresenceState.OUTSIDE):
        geofence_id, entered_at = presence.geofence_id, presence.entered_at
        return Presence(geofence_id, state, entered_at, inside_at, belief, presence.dwell_at, watched_at)
    if state is PresenceState.OUTSIDE:
        return Presence(presence.geofence_id, state)
    return Presence(presence.geofence_id, state, at, inside_at, belief, at + dwell_s, watched_at)
