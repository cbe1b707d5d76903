"""Presence: the table of states between one device and one geofence. Pure.

outside   Nothing is remembered of a place where the device is not.
entering  One witness is held until a second confirms it, or any fix denies it.
inside    Entered. Jitter around the edge is no exit.
leaving   The first fix beyond is held as a witness; only a fix that may be inside takes it back.

Each observation says one thing about the pair (`geoservice.geofencing.evidence`); the table ``PRESENCE`` says what
follows. It does not know which source spoke: a fix, a beacon and the phone's operating system go the same way.

Fences are independent of each other. At one instant exits come before enters. Presence in a fence that turned
`sensitive` ends without a word, and such fences are never entered.
"""

from __future__ import annotations

from typing import Final

from geoservice.geofencing.evidence import Evidence, Statement
from geoservice.geofencing.path import WITNESS_S
from geoservice.geofencing.track import Presence, PresenceState
from geoservice.vocabulary import Source, TransitionKind

ABSENT_S: Final = 300.0
ABSENT_FIXES: Final = 3

_S, _E, _T = PresenceState, Evidence, TransitionKind

PRESENCE: Final[dict[tuple[PresenceState, Evidence], tuple[PresenceState, TransitionKind | None]]] = {
    # Nothing is remembered of a place where the device is not.
    (_S.OUTSIDE, _E.REMOVED): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.OUTSIDE): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.BEYOND): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.NOT_INSIDE): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.VAGUE): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.PERHAPS): (_S.OUTSIDE, None),
    (_S.OUTSIDE, _E.INSIDE): (_S.ENTERING, None),
    (_S.OUTSIDE, _E.PROVEN_INSIDE): (_S.INSIDE, _T.ENTER),
    (_S.OUTSIDE, _E.FIRST_INSIDE): (_S.INSIDE, _T.ENTER),
    # One witness is held until a second confirms it, or any fix denies it.
    (_S.ENTERING, _E.REMOVED): (_S.OUTSIDE, None),
    (_S.ENTERING, _E.OUTSIDE): (_S.OUTSIDE, None),
    (_S.ENTERING, _E.BEYOND): (_S.OUTSIDE, None),
    (_S.ENTERING, _E.NOT_INSIDE): (_S.OUTSIDE, None),
    (_S.ENTERING, _E.VAGUE): (_S.ENTERING, None),
    (_S.ENTERING, _E.PERHAPS): (_S.ENTERING, None),
    (_S.ENTERING, _E.INSIDE): (_S.ENTERING, None),
    (_S.ENTERING, _E.PROVEN_INSIDE): (_S.INSIDE, _T.ENTER),
    (_S.ENTERING, _E.FIRST_INSIDE): (_S.INSIDE, _T.ENTER),
    # Jitter around the edge is no exit.
    (_S.INSIDE, _E.REMOVED): (_S.OUTSIDE, _T.REMOVED),
    (_S.INSIDE, _E.OUTSIDE): (_S.OUTSIDE, _T.EXIT),
    (_S.INSIDE, _E.BEYOND): (_S.LEAVING, None),
    (_S.INSIDE, _E.NOT_INSIDE): (_S.INSIDE, None),
    (_S.INSIDE, _E.VAGUE): (_S.INSIDE, None),
    (_S.INSIDE, _E.PERHAPS): (_S.INSIDE, None),
    (_S.INSIDE, _E.INSIDE): (_S.INSIDE, None),
    (_S.INSIDE, _E.PROVEN_INSIDE): (_S.INSIDE, None),
    (_S.INSIDE, _E.FIRST_INSIDE): (_S.INSIDE, None),
    # The first fix beyond is held as a witness; only a fix that may be inside takes it back.
    (_S.LEAVING, _E.REMOVED): (_S.OUTSIDE, _T.REMOVED),
    (_S.LEAVING, _E.OUTSIDE): (_S.OUTSIDE, _T.EXIT),
    (_S.LEAVING, _E.BEYOND): (_S.LEAVING, None),
    (_S.LEAVING, _E.NOT_INSIDE): (_S.LEAVING, None),
    (_S.LEAVING, _E.VAGUE): (_S.LEAVING, None),
    (_S.LEAVING, _E.PERHAPS): (_S.INSIDE, None),
    (_S.LEAVING, _E.INSIDE): (_S.INSIDE, None),
    (_S.LEAVING, _E.PROVEN_INSIDE): (_S.INSIDE, None),
    (_S.LEAVING, _E.FIRST_INSIDE): (_S.INSIDE, None),
}
"""(state, evidence) -> (next state, what to tell)."""


def presence_diagram() -> str:
    """The table as a Mermaid state diagram; what changes nothing is left out."""
    arrows: dict[tuple[PresenceState, PresenceState, TransitionKind | None], list[str]] = {}
    for (state, evidence), (then, told) in PRESENCE.items():
        if then is not state:
            arrows.setdefault((state, then, told), []).append(evidence.words)
    lines = ["stateDiagram-v2", f"    [*] --> {PresenceState.OUTSIDE}"]
    for (state, then, told), said in arrows.items():
        label = ", ".join(said) + (f" / {told.upper()}" if told else "")
        lines.append(f"    {state} --> {then}: {label}")
    return "\n".join(lines) + "\n"


def step(presence: Presence, statement: Statement, fix_before_at: float) -> tuple[Presence, Evidence]:
    """Weigh one statement with those before it; answers what is remembered now, and what it all says together.

    ``fix_before_at`` (epoch seconds) is the device's latest fix before it.
    """
    presence = _count(presence, statement, fix_before_at)
    return presence, _confirm(presence, statement.said, statement.at)


def _count(presence: Presence, statement: Statement, fix_before_at: float) -> Presence:
    """Remember when the device was last inside, and how often it has been missing since."""
    at, said = statement.at, statement.said
    if said >= Evidence.PERHAPS:
        inside_at = None if statement.source is Source.FIX else at
        if presence.inside_at is None and inside_at is None:
            return presence
        return Presence(
            presence.geofence_id, presence.state, presence.entered_at, inside_at, witness_at=presence.witness_at
        )
    missing = said is not Evidence.VAGUE
    return Presence(
        presence.geofence_id,
        presence.state,
        presence.entered_at,
        fix_before_at if presence.inside_at is None else presence.inside_at,
        presence.witness_at,
        at if missing and presence.missing_since is None else presence.missing_since,
        presence.missing + missing,
    )


def _confirm(presence: Presence, said: Evidence, at: float) -> Evidence:
    """What a fix says together with those before it."""
    witnessed = presence.witness_at is not None and at - presence.witness_at >= WITNESS_S
    if said is Evidence.INSIDE and presence.state is PresenceState.ENTERING and witnessed:
        return Evidence.PROVEN_INSIDE
    if said is Evidence.BEYOND and presence.state is PresenceState.LEAVING and witnessed:
        return Evidence.OUTSIDE
    if presence.missing >= ABSENT_FIXES and at - (presence.missing_since or at) >= ABSENT_S:
        # A vague fix proves nothing, not even when it comes after this long.
        return said if said is Evidence.VAGUE else Evidence.OUTSIDE
    return said


def become(presence: Presence, state: PresenceState, at: float) -> Presence:
    """The presence in its new state; the first fix in a waiting state becomes its witness."""
    if state is presence.state:
        return presence
    if state is PresenceState.OUTSIDE:
        return Presence(presence.geofence_id, state)
    waiting = state in (PresenceState.ENTERING, PresenceState.LEAVING)
    entering_now = state is PresenceState.INSIDE and presence.entered_at is None
    return Presence(
        presence.geofence_id,
        state,
        at if entering_now else presence.entered_at,
        presence.inside_at,
        at if waiting else None,
        presence.missing_since,
        presence.missing,
    )
