"""Other clients' payloads, as those clients document them: OwnTracks over HTTP and Transistorsoft's SDK."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from conftest import STORE, ring

from geoservice.api.adapters.owntracks import read_owntracks
from geoservice.api.adapters.transistorsoft import read_transistorsoft
from geoservice.errors import Invalid
from geoservice.vocabulary import BeaconSightings, Fix, Ignored, OsEvent, OsTransition

TST = 1_772_622_000
AT = datetime.fromtimestamp(TST, UTC)
UUID = "CA271EAE-5FA8-4E80-8F08-2A302A95A959"

LOCATION = {
    "_type": "location", "acc": 12, "alt": 154, "batt": 63, "bs": 1, "cog": 270, "conn": "w", "created_at": TST + 3,
    "inregions": ["Home"], "lat": 53.55, "lon": 10.0, "m": 2, "tid": "jj", "topic": "owntracks/jane/phone", "tst": TST,
    "vac": 3, "vel": 54, "_id": "1ab2c3d4",
}  # fmt: skip
TRANSITION = {
    "_type": "transition", "wtst": TST - 9_000, "lat": 53.55, "lon": 10.0, "tst": TST, "acc": 65.0, "tid": "jj",
    "event": "enter", "desc": "city-approach", "t": "c", "rid": "6da9cf",
}  # fmt: skip
BEACON = {
    "_type": "beacon", "uuid": UUID, "major": 1, "minor": 7, "tst": TST, "acc": 1.2, "rssi": -64, "prox": 2,
}  # fmt: skip


def one(message: dict[str, Any], **more: Any) -> Any:
    mapped = read_owntracks(message, {"city-approach"}, **more)
    assert mapped.rejected == []
    ((_, observation),) = mapped.observations
    return observation


# OwnTracks ----------------------------------------------------------------------------------------------------------


def test_a_location_is_a_fix() -> None:
    """OwnTracks' km/h become m/s, its Unix seconds an instant, and its topic names the phone."""
    assert one(LOCATION) == Fix(AT, 53.55, 10.0, 12.0, "1ab2c3d4", 15.0, 270.0, 154.0)
    assert read_owntracks(LOCATION, ()).device_id == "phone"


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"vel": -1}, "speed_mps", None),
        ({"cog": -1}, "course_deg", None),
        ({"vel": None, "cog": None, "alt": None}, "speed_mps", None),
        ({"_id": "not an id of ours!"}, "id", None),
        ({"tst": TST + 0.5}, "recorded_at", AT + timedelta(seconds=0.5)),
    ],
)
def test_what_is_unknown_is_unknown(change: dict[str, Any], field: str, value: Any) -> None:
    """Numbers below zero, and fields that the app leaves out, are not known, and the rest is taken."""
    assert getattr(one(LOCATION | change), field) == value


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        ({"acc": None}, "", "missing"),
        ({"acc": 0}, "acc", "out_of_range"),
        ({"acc": -1}, "acc", "out_of_range"),
        ({"lat": 91}, "lat", "out_of_range"),
        ({"lat": "53.55"}, "lat", "type"),
        ({"tst": None}, "", "missing"),
        ({"tst": "yesterday"}, "tst", "type"),
        ({"tst": 1e300}, "tst", "type"),
        ({"tst": True}, "tst", "type"),
        ({"vel": "fast"}, "vel", "type"),
    ],
)
def test_a_bad_location_is_named_as_the_app_names_it(change: dict[str, Any], path: str, code: str) -> None:
    """What breaks a rule is rejected, with OwnTracks' own names."""
    ((_, detail),) = read_owntracks(LOCATION | change, ()).rejected
    assert (detail.path, detail.code) == (path, code), detail
    assert "accuracy_m" not in detail.message


@pytest.mark.parametrize(
    ("message", "header", "device_id"),
    [
        (LOCATION, None, "phone"),
        (LOCATION | {"topic": "owntracks/jane/phone/event"}, None, "phone"),
        (LOCATION | {"topic": None}, "tablet", "tablet"),
        (LOCATION | {"topic": None}, None, "jj"),
        (LOCATION | {"topic": "x", "tid": "ü"}, "no id!", "owntracks"),
    ],
)
def test_which_phone_it_is(message: dict[str, Any], header: str | None, device_id: str) -> None:
    """The topic says which phone it is, else the header X-Limit-D, else the tracker id."""
    assert read_owntracks(message, (), header).device_id == device_id


def test_a_transition_is_an_event_of_its_region() -> None:
    """Enter and leave of a region that is called like a geofence, or has its region id, are events of it."""
    entered = one(TRANSITION)
    assert entered == OsTransition(AT, "city-approach", OsEvent.ENTER, None, 53.55, 10.0, 65.0)
    left = one(TRANSITION | {"event": "leave", "rid": "city-approach", "desc": "Near the store", "acc": 0})
    assert (left.geofence_id, left.event, left.accuracy_m) == ("city-approach", OsEvent.EXIT, None)
    assert one(TRANSITION | {"desc": "home", "rid": None}).geofence_id == "home"
    assert read_owntracks(TRANSITION | {"t": "b"}, ()).observations == []


def test_a_beacon_is_a_sighting() -> None:
    """Each ranged beacon is a scan that heard it."""
    scan = one(BEACON)
    assert isinstance(scan, BeaconSightings)
    assert (scan.recorded_at, scan.sightings[0].minor, scan.sightings[0].rssi_dbm) == (AT, 7, -64)


@pytest.mark.parametrize("kind", ["lwt", "waypoint", "waypoints", "status", "steps", "card", "cmd", "dump", None, 7])
def test_other_messages_are_nothing(kind: Any) -> None:
    """What is neither place nor beacon is taken, and nothing is made of it."""
    mapped = read_owntracks({"_type": kind, "tst": TST}, ())
    assert (mapped.observations, mapped.rejected) == ([], [])


def test_encrypted_messages_are_refused() -> None:
    """An encrypted message is refused, with what to do: its sender believes that it is being read."""
    with pytest.raises(Invalid) as refusal:
        read_owntracks({"_type": "encrypted", "data": "eGxk"}, ())
    assert refusal.value.problem_code == "encrypted_payload"


# Transistorsoft -----------------------------------------------------------------------------------------------------

RECORD = {
    "timestamp": "2026-03-04T11:00:00.000Z",
    "age": 12,
    "event": "motionchange",
    "is_moving": True,
    "uuid": "5d2f9bd5-8d9f-4d2c-a0a3-fd2f6a7d83a6",
    "odometer": 1442.3,
    "coords": {
        "latitude": 53.55, "longitude": 10.0, "accuracy": 12.5, "speed": 1.4, "speed_accuracy": 0.5, "heading": 271.3,
        "heading_accuracy": -1, "altitude": 8.1, "ellipsoidal_altitude": 48.3, "altitude_accuracy": 3.2, "floor": 2,
    },
    "activity": {"type": "walking", "confidence": 90},
    "battery": {"level": 0.83, "is_charging": False},
    "extras": {},
}  # fmt: skip
NOON = datetime(2026, 3, 4, 11, tzinfo=UTC)


def coords(**changes: Any) -> dict[str, Any]:
    return RECORD | {"coords": RECORD["coords"] | changes}


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"location": RECORD, "device_id": "phone"}, 1),
        ({"location": [RECORD, RECORD], "device_id": "phone"}, 2),
        (RECORD | {"extras": {"device_id": "phone"}}, 1),
        ([RECORD | {"extras": {"device_id": "phone"}}, RECORD], 2),
        ([{"location": RECORD | {"extras": {"device_id": "phone"}}}], 1),
        ({"location": [], "device_id": "phone"}, 0),
    ],
)
def test_one_record_or_many(body: Any, count: int) -> None:
    """Single records, batches and bodies without a root are read alike; the phone is named in params or extras."""
    mapped = read_transistorsoft(body)
    assert mapped.device_id == "phone"
    assert [index for index, _ in mapped.observations] == list(range(count))
    for _, fix in mapped.observations:
        assert fix == Fix(NOON, 53.55, 10.0, 12.5, RECORD["uuid"], 1.4, 271.3, 8.1, 2)


@pytest.mark.parametrize(
    ("record", "field", "value"),
    [
        (coords(speed=-1), "speed_mps", None),
        (coords(heading=-1), "course_deg", None),
        (RECORD | {"mock": True}, "mock", True),
        (RECORD | {"uuid": "odd id"}, "id", None),
        (RECORD | {"timestamp": "2026-03-04T12:00:00.000+01:00"}, "recorded_at", NOON),
    ],
)
def test_what_the_sdk_does_not_know(record: dict[str, Any], field: str, value: Any) -> None:
    """-1 is unknown, a simulated position says so."""
    ((_, fix),) = read_transistorsoft(record, "phone").observations
    assert getattr(fix, field) == value


@pytest.mark.parametrize(
    ("record", "path", "code"),
    [
        (coords(accuracy=-1), "coords.accuracy", "out_of_range"),
        (coords(latitude=None), "", "missing"),
        (coords(longitude="10"), "coords.longitude", "type"),
        (RECORD | {"timestamp": "2026-03-04T11:00:00"}, "timestamp", "timezone"),
        (RECORD | {"timestamp": 1_772_622_000}, "timestamp", "type"),
        ({"timestamp": "2026-03-04T11:00:00Z"}, "coords", "missing"),
        (None, "coords", "missing"),
        ("x", "coords", "missing"),
    ],
)
def test_a_bad_record_costs_no_good_one(record: Any, path: str, code: str) -> None:
    """A record that breaks a rule is named in the SDK's own words, and the next one is taken."""
    mapped = read_transistorsoft([record, RECORD], "phone")
    assert [(index, detail.path, detail.code) for index, detail in mapped.rejected] == [(0, path, code)]
    assert [index for index, _ in mapped.observations] == [1]


def test_samples_are_not_kept() -> None:
    """Tries on the way to a good fix are ignored, and named."""
    mapped = read_transistorsoft([RECORD | {"sample": True}, RECORD], "phone")
    assert mapped.ignored == [(0, Ignored.SAMPLE)]
    assert [index for index, _ in mapped.observations] == [1]


@pytest.mark.parametrize(("action", "event"), [("ENTER", "enter"), ("EXIT", "exit"), ("DWELL", "dwell")])
def test_a_geofence_event_is_a_fix_and_an_event(action: str, event: str) -> None:
    """A record with a geofence tells where the phone is, and what its operating system said, when it said it."""
    geofence = {"identifier": "city-approach", "action": action, "timestamp": "2026-03-04T11:00:05.000Z"}
    record = RECORD | {"event": "geofence", "geofence": geofence}
    (_, fix), (_, transition) = read_transistorsoft(record, "phone").observations
    assert isinstance(fix, Fix)
    assert transition == OsTransition(
        NOON + timedelta(seconds=5),
        "city-approach",
        OsEvent(event),
        f"{RECORD['uuid']}:event",
        53.55,
        10.0,
        12.5,
    )


def test_a_request_without_a_phone_is_refused() -> None:
    """Without a device id the refusal says where to set it."""
    with pytest.raises(Invalid) as refusal:
        read_transistorsoft({"location": RECORD})
    assert refusal.value.details[0].path == "device_id"


# Over HTTP ----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def jane(shared, request) -> str:
    customer_id = request.node.name[:60]
    await shared.opt_in(customer_id)
    return customer_id


def basic(shared: Any, customer_id: str) -> dict[str, str]:
    token = shared.customer(customer_id)["Authorization"].removeprefix("Bearer ")
    return {"Authorization": f"Basic {b64encode(f'jane:{token}'.encode()).decode()}"}


over_http = pytest.mark.asyncio(loop_scope="module")


@over_http
async def test_owntracks_reaches_presence(shared, jane):
    """With the token as password, OwnTracks' region events and beacons move presence; every answer is []."""
    beacon = {"protocol": "ibeacon", "uuid": UUID, "major": 1, "minor": 7}
    feature = ring("x", STORE["lat"], STORE["lon"])
    feature["properties"] = {"id": "city-approach", "kind": "approach", "radius_m": 150, "beacons": [beacon]}
    await shared.ok("POST", "/v1/geofences/import", feature, who=shared.ops)
    await shared.wait_until_matching("city-approach")
    who, tst = basic(shared, jane), int(shared.now.timestamp())

    async def send(message: Any) -> Any:
        return await shared.ok("POST", "/v1/ingest/owntracks", message, who=who, headers={"X-Limit-D": "phone"})

    for message in (
        LOCATION | {"tst": tst - 90, "lat": 53.6},
        LOCATION | {"tst": tst - 80, "acc": None},
        {"_type": "waypoints", "waypoints": []},
        TRANSITION | {"tst": tst - 60},
        BEACON | {"tst": tst - 20},
        BEACON | {"tst": tst - 15},
        TRANSITION | {"tst": tst - 5, "event": "leave", "lat": 53.6},
    ):
        assert await send(message) == []
    told = [(t["kind"], t["source"], t["device_id"]) for t in await shared.transitions(jane)]
    assert told == [("enter", "os", "phone"), ("exit", "os", "phone")]
    assert await send(b"") == []
    refused = await shared.call("POST", "/v1/ingest/owntracks", {"_type": "encrypted", "data": "x"}, who=who)
    assert (refused.status, refused.body["code"]) == (422, "encrypted_payload")
    assert (await shared.call("POST", "/v1/ingest/owntracks", b"{", who=who)).status == 400


@over_http
@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic amFuZTo=", "Basic amFuZTp4", "Basic w7w6w7w=", "X y"])
async def test_a_password_that_is_no_token_is_refused(shared, header):
    """Without a token that holds nobody gets in, whatever the header looks like."""
    answer = await shared.call("POST", "/v1/ingest/owntracks", LOCATION, who={"Authorization": header})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="geoservice", charset="UTF-8"'
    other = await shared.call("POST", "/v1/pings", {}, who={"Authorization": header})
    assert (other.status, other.headers["WWW-Authenticate"]) == (401, 'Bearer realm="geoservice"')


@over_http
async def test_a_password_opens_no_other_route(shared, jane):
    """HTTP Basic is for OwnTracks alone."""
    assert (await shared.call("GET", "/v1/me/presence", who=basic(shared, jane))).status == 401


@over_http
async def test_the_sdk_gets_its_200(shared, jane):
    """Transistorsoft's SDK deletes its records at a 200, and every record is accounted for."""
    at = [(shared.now + timedelta(seconds=s)).isoformat() for s in (-60, -40, -20)]
    records = [
        RECORD | {"timestamp": at[0], "uuid": "a"},
        RECORD | {"timestamp": at[1], "uuid": "b", "sample": True},
        coords(latitude=99) | {"timestamp": at[1], "uuid": "c"},
        RECORD | {"timestamp": at[2], "uuid": "d", "geofence": {"identifier": "gone", "action": "EXIT"}},
    ]
    body = {"location": records, "device_id": "phone"}
    who = shared.customer(jane)
    answer = await shared.call("POST", "/v1/ingest/transistorsoft", body, who=who)
    assert answer.status == 200
    assert (answer.body["accepted"], answer.body["ignored"]) == (3, [{"index": 1, "reason": "sample"}])
    assert [(r["index"], r["path"]) for r in answer.body["rejected"]] == [(2, "coords.latitude")]
    again = await shared.ok("POST", "/v1/ingest/transistorsoft", body, who=who)
    assert (again["accepted"], again["duplicates"]) == (0, 3)
    named = await shared.ok("POST", "/v1/ingest/transistorsoft?device_id=other", {"location": records[0]}, who=who)
    assert named["accepted"] == 1
