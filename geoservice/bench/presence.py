"""How often presence is wrong: three rules on the same simulated phones.

``containment``  a fix inside the outline is inside; two in a row are believed.
``counting``     two fixes with p ≥ 0.6 at least 30 s apart enter; two beyond the accuracy and a margin, or five minutes
                 without p ≥ 0.5, exit.
``in_force``     the service's own engine.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from geoservice.bench.strollers import EVERY_S, Floats, Scene, passing, standing, visiting
from geoservice.geofencing.catalogue import Catalogue
from geoservice.geofencing.geofence import Geofence
from geoservice.geofencing.journey import News, advance
from geoservice.geofencing.track import DeviceTrack
from geoservice.vocabulary import Fix, GeofenceKind, TransitionKind

PHONES: Final = 1_000
RADII_M: Final = (60.0, 150.0)
RESUME_S: Final = 600.0
_DEGREES_PER_M: Final = (1 / 111_319.49, 1 / 110_574.3)  # at 0°, 0°
_START: Final = datetime(2025, 1, 1, tzinfo=UTC)

Inside = NDArray[np.bool_]
"""(n, t): whether each phone is believed to be inside after each fix."""
Rule = Callable[[Scene], tuple[Inside, Inside]]
"""Who is believed to be inside when, and (n,) who was noticed at all."""


async def measure() -> dict[str, Any]:
    """Every rule at both radii; then the worse of the two for the rule in force, beside its goals."""
    rules: dict[str, Rule] = {"containment": containment, "counting": counting, "in_force": in_force}
    table = {
        f"{name}_{radius_m:.0f}m": judge(rule, radius_m, PHONES) for name, rule in rules.items() for radius_m in RADII_M
    }
    ours = [table[f"in_force_{radius_m:.0f}m"] for radius_m in RADII_M]
    worst = {key: max(each[key] for each in ours) for key in ours[0]}
    worst["walk_noticed_pct"] = min(each["walk_noticed_pct"] for each in ours)
    return {**worst, **table}


def judge(rule: Rule, radius_m: float, phones: int) -> dict[str, float]:
    """The six measures of a rule at a store of this radius."""
    outside, _ = rule(standing(radius_m, phones, seed=1))
    _, noticed = rule(passing(radius_m, phones, seed=2))
    scene = visiting(radius_m, phones, seed=3)
    inside, _ = rule(scene)
    at_s = np.arange(inside.shape[1]) * EVERY_S
    found = inside.any(axis=1)
    first = np.where(found, at_s[inside.argmax(axis=1)], np.nan)
    gone = np.where(found, at_s[np.minimum(inside.shape[1] - inside[:, ::-1].argmax(axis=1), len(at_s) - 1)], np.nan)
    first_fix_inside = np.ceil(scene.enters_s / EVERY_S) * EVERY_S
    return {
        "false_enter_1h_pct": _percent(np.asarray(outside.any(axis=1))),
        "false_dwell_5min_pct": _percent(_longest(outside) * EVERY_S >= 300),
        "walk_noticed_pct": _percent(noticed),
        "enter_delay_median_s": round(float(np.nanmedian(first - first_fix_inside))),
        "exit_delay_p90_s": round(float(np.nanpercentile(gone - scene.leaves_s, 90))),
        "visit_split_pct": _percent(_visits(inside) > 1),
    }


def _percent(share: NDArray[Any]) -> float:
    return round(100 * float(share.mean()), 1)


def _longest(inside: Inside) -> Floats:
    """The longest run of fixes in a row that were believed to be inside."""
    run, longest = np.zeros(len(inside)), np.zeros(len(inside))
    for step in inside.T:
        run = np.where(step, run + 1, 0)
        longest = np.maximum(longest, run)
    return longest


def _visits(inside: Inside) -> Floats:
    """How many visits there are, where a return within ten minutes resumes one."""
    visits, since_s = np.zeros(len(inside)), np.full(len(inside), np.inf)
    for step in inside.T:
        visits += step & (since_s > RESUME_S)
        since_s = np.where(step, 0.0, since_s + EVERY_S)
    return visits


# The rules --------------------------------------------------------------------------------------------------


def containment(scene: Scene) -> tuple[Inside, Inside]:
    """Two fixes in a row within the circle, or outside of it."""
    contained = np.hypot(scene.east_m, scene.north_m) <= scene.radius_m
    inside: Inside = np.zeros(contained.shape, dtype=np.bool_)
    for step in range(1, contained.shape[1]):
        now, before = contained[:, step], contained[:, step - 1]
        inside[:, step] = np.where(now == before, now, inside[:, step - 1])
    return inside, np.asarray(inside.any(axis=1))


def counting(scene: Scene) -> tuple[Inside, Inside]:
    """Witnesses at least 30 s apart."""
    p, beyond_m = _evidence(scene)
    clear = beyond_m > scene.accuracy_m + max(0.1 * scene.radius_m, 20.0)
    phones = len(p)
    outside, entering, there, leaving = range(4)
    state, witness_s = np.full(phones, outside), np.zeros(phones)
    missing, missing_s = np.zeros(phones), np.zeros(phones)
    inside: Inside = np.zeros(p.shape, dtype=np.bool_)
    for step in range(p.shape[1]):
        now_s = step * EVERY_S
        sure, maybe = p[:, step] >= 0.6, p[:, step] >= 0.5
        beyond = ~maybe & clear[:, step]
        missing = np.where(maybe, 0, missing + (state >= there))
        missing_s = np.where(missing <= 1, now_s, missing_s)
        absent = (missing >= 3) & (now_s - missing_s >= 300)
        witnessed = now_s - witness_s >= 30
        then = state.copy()
        then[(state == outside) & sure] = entering
        then[(state == entering) & sure & witnessed] = there
        then[(state == entering) & ~maybe] = outside
        then[(state == there) & beyond] = leaving
        then[(state == leaving) & maybe] = there
        then[((state == leaving) & beyond & witnessed) | ((state >= there) & absent)] = outside
        waits = (then != state) & ((then == entering) | (then == leaving))
        witness_s = np.where(waits, now_s, witness_s)
        state = then
        inside[:, step] = state >= there
    return inside, np.asarray(inside.any(axis=1))


def in_force(scene: Scene) -> tuple[Inside, Inside]:
    """What the engine tells, fix by fix; passing through counts as noticed."""
    phones, steps = scene.east_m.shape
    lon, lat = scene.east_m * _DEGREES_PER_M[0], scene.north_m * _DEGREES_PER_M[1]
    at = [_START + timedelta(seconds=EVERY_S * step) for step in range(steps)]
    reports = zip(lat.tolist(), lon.tolist(), scene.accuracy_m.tolist(), strict=True)
    news = [News(DeviceTrack(), [Fix(*fix) for fix in zip(at, *report, strict=True)]) for report in reports]
    inside = np.zeros((phones, steps), dtype=np.bool_)
    noticed = np.zeros(phones, dtype=np.bool_)
    for phone, (_, transitions) in enumerate(advance(_store(scene.radius_m), news, 0.0)):
        for transition in transitions:
            step = round((transition.at - _START).total_seconds() / EVERY_S)
            noticed[phone] |= transition.kind in (TransitionKind.ENTER, TransitionKind.CROSSED)
            if transition.kind in (TransitionKind.ENTER, TransitionKind.EXIT):
                inside[phone, step:] = transition.kind is TransitionKind.ENTER
    return inside, noticed


def _evidence(scene: Scene) -> tuple[Floats, Floats]:
    """p, and metres beyond the edge, of every fix."""
    lon, lat = scene.east_m.ravel() * _DEGREES_PER_M[0], scene.north_m.ravel() * _DEGREES_PER_M[1]
    fix = np.arange(lon.size)
    p, beyond_m = _store(scene.radius_m).evidence(lon, lat, scene.accuracy_m.ravel(), fix, np.zeros_like(fix))
    return p.reshape(scene.east_m.shape), beyond_m.reshape(scene.east_m.shape)


def _store(radius_m: float) -> Catalogue:
    centre = shapely.Point(0, 0)
    store = Geofence(geofence_id="store", name="store", kind=GeofenceKind.STORE, geometry=centre, radius_m=radius_m)
    return Catalogue.build([store], version=1)
