"""Beacons, the operating system's events, sensitive places: as phones send them, over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from conftest import STORE, Client, fix, ring

pytestmark = pytest.mark.asyncio(loop_scope="module")

UUID = "5b1c6b1e-3f0a-4c57-9d3e-2a7c1f4e8b60"
LAT, LON = STORE["lat"], STORE["lon"]
METRE = 1 / 111_300


@pytest_asyncio.fixture(loop_scope="module")
async def lena(shared, request) -> str:
    """A customer of her own for each test, whose phone may tell where it is."""
    customer_id = request.node.name[:60]
    await shared.opt_in(customer_id)
    return customer_id


async def publish(client: Client, *features: Any) -> Any:
    body = {"type": "FeatureCollection", "features": list(features)}
    report = await client.ok("POST", "/v1/geofences/import?mode=replace&confirm_removed=99", body, who=client.ops)
    for feature in features:
        await client.wait_until_matching(feature["properties"]["id"])
    return report


def circle(id_: str, radius_m: float = 150, north_m: float = 0, **properties: Any) -> dict[str, Any]:
    feature = ring("x", LAT + north_m * METRE, LON, radius_m)
    feature["properties"] = {"id": id_, "kind": "approach", "radius_m": radius_m} | properties
    return feature


SHOES = circle(
    "shoes", 20, kind="department", beacons=[{"protocol": "ibeacon", "uuid": UUID.upper(), "major": 1, "minor": 7}]
)


def scan(client: Client, seconds: float, minor: int = 7, **more: Any) -> dict[str, Any]:
    sighting = {"protocol": "ibeacon", "uuid": UUID, "major": 1, "minor": minor, "rssi_dbm": -60, "tx_power_dbm": -59}
    at = client.now + timedelta(seconds=seconds)
    return {"type": "beacons", "recorded_at": at, "sightings": [sighting]} | more


def event(client: Client, seconds: float, geofence_id: str, kind: str, **more: Any) -> dict[str, Any]:
    at = client.now + timedelta(seconds=seconds)
    return {"type": "transition", "recorded_at": at, "geofence_id": geofence_id, "event": kind} | more


async def told(client: Client, customer_id: str) -> list[tuple[str, str, str]]:
    return [(t["kind"], t["geofence_id"], t["source"]) for t in await client.transitions(customer_id)]


async def test_departments_are_entered_by_their_beacons(shared, lena):
    """Two scans in two requests enter a department; a later scan shows that it was left; presence tells how near."""
    await publish(shared, SHOES)
    assert (await shared.ping(lena, scan(shared, -100)))["accepted"] == 1
    assert (await shared.ping(lena, scan(shared, -95)))["accepted"] == 1
    assert await told(shared, lena) == [("enter", "shoes", "beacon")]
    (item,) = (await shared.ok("GET", "/v1/me/presence", who=shared.customer(lena)))["items"]
    assert (item["geofence_id"], item["state"], item["proximity"]) == ("shoes", "inside", "near")
    await shared.ping(lena, scan(shared, -30, minor=9))
    assert await told(shared, lena) == [("enter", "shoes", "beacon"), ("exit", "shoes", "beacon")]
    (left,) = [t for t in await shared.transitions(lena) if t["kind"] == "exit"]
    assert left["at"] == (shared.now - timedelta(seconds=65)).isoformat().replace("+00:00", "Z")


async def test_events_of_the_operating_system_enter_and_leave(shared, lena):
    """What iOS or Android says of a registered circle moves presence, with its source and confidence."""
    await publish(shared, circle("ring"))
    receipt = await shared.ping(lena, event(shared, -200, "ring", "enter"), event(shared, -10, "ring", "exit"))
    assert receipt["accepted"] == 2
    assert await told(shared, lena) == [("enter", "ring", "os"), ("exit", "ring", "os")]
    assert {t["confidence"] for t in await shared.transitions(lena)} == {0.9}


async def test_each_source_has_its_own_order(shared, lena):
    """A fix that is newer than a scan does not make the scan late; an older scan after a newer one is."""
    await publish(shared, SHOES)
    receipt = await shared.ping(lena, fix(shared.now, LAT, LON))
    assert receipt["accepted"] == 1
    assert (await shared.ping(lena, scan(shared, -50), event(shared, -60, "ring", "enter")))["accepted"] == 2
    receipt = await shared.ping(lena, scan(shared, -55), event(shared, -70, "ring", "exit"))
    assert [each["reason"] for each in receipt["ignored"]] == ["out_of_order"] * 2
    both = await shared.ping(lena, event(shared, 0, "one", "enter"), event(shared, 0, "two", "enter"))
    assert both["accepted"] == 2


async def test_repeated_signals_are_duplicates(shared, lena):
    """The same scan, and the same event, sent again, are known, with and without an id."""
    items = [
        scan(shared, -20),
        scan(shared, -10, id="scan-1"),
        event(shared, -20, "ring", "enter"),
        event(shared, -9, "ring", "exit", id="event-1"),
    ]
    assert (await shared.ping(lena, *items))["accepted"] == 4
    assert (await shared.ping(lena, *items))["duplicates"] == 4


async def test_signals_need_consent(shared):
    """Without consent for location neither a scan nor an event is stored."""
    await shared.opt_in("nobody", purposes=["marketing_push"])
    receipt = await shared.ping("nobody", scan(shared, -9), event(shared, -9, "ring", "enter"))
    assert {each["reason"] for each in receipt["ignored"]} == {"no_location_consent"}
    (device,) = await shared.sql(
        "select track, newest_beacons_at, recent_keys from devices where customer_id = 'nobody'"
    )
    assert (device["track"], device["newest_beacons_at"], device["recent_keys"]) == (None, None, b"")


# Sensitive places ---------------------------------------------------------------------------------------------------


async def test_signals_from_sensitive_places_are_dropped(shared, lena):
    """A beacon and an event of a clinic are dropped at the door; presence elsewhere ends without a word."""
    clinic = circle(
        "clinic",
        80,
        3_000,
        kind="sensitive",
        beacons=[{"protocol": "ibeacon", "uuid": UUID, "major": 1, "minor": 99}],
    )
    await publish(shared, clinic, circle("ring"), circle("beside", 150, 3_400))
    await shared.ping(lena, event(shared, -200, "ring", "enter"))
    assert await told(shared, lena) == [("enter", "ring", "os")]
    receipt = await shared.ping(
        lena,
        scan(shared, -90, minor=99),
        event(shared, -80, "beside", "enter"),
        event(shared, -70, "ring", "exit", lat=LAT + 3_000 * METRE, lon=LON, accuracy_m=30),
    )
    assert [each["reason"] for each in receipt["ignored"]] == ["sensitive_place"] * 3
    assert (await shared.ok("GET", "/v1/me/presence", who=shared.customer(lena)))["items"] == []
    assert await told(shared, lena) == [("enter", "ring", "os")]
    (visit,) = await shared.sql("select ended_at, present from visits where customer_id = $1", lena)
    assert visit["ended_at"] is not None
    assert visit["present"] == []
    (device,) = await shared.sql("select newest_beacons_at from devices where customer_id = $1", lena)
    assert device["newest_beacons_at"] is None


async def test_a_place_that_turns_sensitive_ends_its_visits(shared, lena):
    """Whoever is in a place at the moment at which it becomes sensitive is in no visit there any more."""
    await publish(shared, circle("turning"), circle("kept", 150, 5_000))
    await shared.ping(lena, event(shared, -60, "turning", "enter"), event(shared, -50, "kept", "enter"))
    await publish(shared, circle("turning", kind="sensitive"), circle("kept", 150, 5_000))
    rows = await shared.sql("select place, ended_at from visits where customer_id = $1", lena)
    assert {row["place"]: row["ended_at"] is None for row in rows} == {"geofence:turning": False, "geofence:kept": True}
    items = (await shared.ok("GET", "/v1/me/presence", who=shared.customer(lena)))["items"]
    assert [item["geofence_id"] for item in items] == ["kept"]
    assert [kind for kind, _, _ in await told(shared, lena)] == ["enter", "enter"]


async def test_publishing_tells_which_stores_go_dark(shared):
    """An upload of sensitive places names the stores in their belts; the belt is that of the jurisdiction."""
    for store_id, north_m in (("near", 0), ("between", 630), ("away", 2_000)):
        await shared.ok("PUT", f"/v1/stores/dark-{store_id}", {**STORE, "lat": LAT + north_m * METRE}, who=shared.ops)
    for jurisdiction, dark in ((None, {"near", "between"}), ("US-CT", {"near"})):
        law = {} if jurisdiction is None else {"jurisdiction": jurisdiction}
        report = await publish(shared, circle("clinic", 50, **({"kind": "sensitive"} | law)))
        named = {w["feature"] for w in report["warnings"] if w["code"] == "store_in_the_dark"}
        assert {f"dark-{store_id}" for store_id in dark} <= named
        assert "dark-away" not in named
    quiet = await publish(shared, circle("clinic", 50, kind="sensitive", jurisdiction="US-CT"), circle("other"))
    assert [w["code"] for w in quiet["warnings"]] == []


async def test_a_copied_beacon_is_counted_and_ignored(shared, lena):
    """A beacon that is heard more than 1 km from where the phone says that it is puts nobody in its department."""
    await publish(shared, SHOES)

    async def elsewhere() -> float:
        metrics = (await shared.call("GET", "/metrics")).body.decode()
        return float(next(x.split()[1] for x in metrics.splitlines() if x.startswith("geoservice_beacons_elsewhere")))

    far, before = LAT + 1_500 * METRE, await elsewhere()
    items = [
        fix(shared.now, far, LON),
        scan(shared, 5),
        scan(shared, 10),
        fix(shared.now + timedelta(seconds=30), far, LON),
    ]
    await shared.ping(lena, *items)
    assert (await elsewhere() - before, await told(shared, lena)) == (2, [])
    near = fix(shared.now + timedelta(seconds=600), LAT + 500 * METRE, LON)
    await shared.set_clock(shared.now + timedelta(seconds=620))
    await shared.ping(lena, near, scan(shared, -10), scan(shared, -5))
    assert await told(shared, lena) == [("enter", "shoes", "beacon")]
