"""Visits: one a customer and stay in a store, whatever the number of phones and geofences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from geoservice.workflows.visits import Visits

START = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
STORES = {"ring": "store", "shop": "store", "kiosk": None, "other": "elsewhere"}


def stays(*moves, visits=None):
    """(place, from, to) in minutes of each visit, in order; a move is (minute, phone, kind, geofence)."""
    visits = visits or Visits([])
    for minute, phone, kind, geofence in moves:
        at = START + timedelta(minutes=minute)
        row = {"customer_id": "ada", "device_id": phone, "geofence_id": geofence, "kind": kind, "at": at}
        visits.follow(row, STORES[geofence])

    def minute(at):
        return None if at is None else (at - START).total_seconds() / 60

    ordered = sorted(visits.touched, key=lambda visit: visit.started_at)
    return [(visit.place, minute(visit.started_at), minute(visit.ended_at)) for visit in ordered]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        pytest.param([(0, "a", "enter", "shop"), (5, "a", "exit", "shop")], [("store", 0, 5)], id="In and out."),
        pytest.param(
            [(0, "a", "enter", "ring"), (1, "a", "enter", "shop"), (5, "a", "exit", "shop")],
            [("store", 0, None)],
            id="Who has left the shop is still in the ring around it.",
        ),
        pytest.param(
            [(0, "a", "enter", "shop"), (1, "b", "enter", "shop"), (5, "a", "exit", "shop")],
            [("store", 0, None)],
            id="A second phone is no second visit, and the first that leaves ends none.",
        ),
        pytest.param(
            [(0, "a", "enter", "shop"), (1, "b", "enter", "ring"), (5, "a", "exit", "shop"), (6, "b", "lost", "ring")],
            [("store", 0, 6)],
            id="The last one that leaves, or is lost, ends it.",
        ),
        pytest.param(
            [
                (0, "a", "enter", "shop"),
                (5, "a", "exit", "shop"),
                (15, "b", "enter", "shop"),
                (20, "b", "exit", "shop"),
            ],
            [("store", 0, 20)],
            id="Whoever is back within ten minutes resumes it, by whichever phone.",
        ),
        pytest.param(
            [(0, "a", "enter", "shop"), (5, "a", "exit", "shop"), (15.1, "a", "enter", "shop")],
            [("store", 0, 5), ("store", 15.1, None)],
            id="Later it is another one.",
        ),
        pytest.param(
            [(0, "a", "enter", "shop"), (1, "a", "enter", "other"), (2, "a", "exit", "shop")],
            [("store", 0, 2), ("elsewhere", 1, None)],
            id="Each store has its own.",
        ),
        pytest.param(
            [(0, "a", "enter", "kiosk"), (5, "a", "removed", "kiosk")],
            [("geofence:kiosk", 0, 5)],
            id="A geofence without a store is a place of its own; it ends with it.",
        ),
        pytest.param(
            [(10, "a", "enter", "shop"), (3, "a", "exit", "shop")],
            [("store", 10, 10)],
            id="None ends before it began, however late a phone tells.",
        ),
        pytest.param([(0, "a", "crossed", "shop"), (1, "a", "exit", "shop")], [], id="To pass through is no visit."),
    ],
)
def test_a_stay_is_one_visit(moves, expected):
    """A visit begins with the first phone in any geofence of the store, and ends with the last in the last one."""
    assert stays(*moves) == expected


def test_a_visit_goes_on_where_it_was_stored():
    """What was saved is taken up again: the pair that is inside still holds the visit."""
    visits = Visits([])
    stays((0, "a", "enter", "shop"), visits=visits)
    (saved,) = visits.touched
    assert stays((5, "a", "exit", "shop"), visits=Visits([saved.as_row()])) == [("store", 0, 5)]
