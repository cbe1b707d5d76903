"""What becomes of pings: each one is accepted, a duplicate, ignored or rejected, and the sender is told which."""

from __future__ import annotations

import asyncio
import gzip
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
import pytest_asyncio
from conftest import NOON, Client, environment, fix, running, walk

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAT, LON = 53.60, 10.10
SIGHTING = {
    "protocol": "ibeacon",
    "uuid": "5b1c6b1e-3f0a-4c57-9d3e-2a7c1f4e8b60",
    "major": 1,
    "minor": 1,
    "rssi_dbm": -60,
}


def at(seconds: float = 0) -> datetime:
    return NOON + timedelta(seconds=seconds)


def good(n: float = 0, **more: Any) -> dict[str, Any]:
    return fix(at(n), LAT + n * 1e-6, LON, **more)


def without(item: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in names}


async def located(client: Client, customer_id: str) -> None:
    """Let a customer be located; her phone is registered."""
    who = client.customer(customer_id)
    await client.ok("PUT", "/v1/devices/phone", {"platform": "android", "push_token": f"t-{customer_id}"}, who=who)
    await client.ok("PUT", "/v1/me/consents/location", {"granted": True, "notice_version": "1"}, who=who)


@pytest_asyncio.fixture(loop_scope="module")
async def ada(shared, request) -> str:
    """A customer of her own for each test."""
    customer_id = f"ada-{abs(hash(request.node.name))}"
    await located(shared, customer_id)
    return customer_id


async def post(client: Client, customer_id: str, body: Any, **more: Any) -> Any:
    return await client.call("POST", "/v1/pings", body, who=client.customer(customer_id), **more)


def adds_up(receipt: dict[str, Any], items: int) -> None:
    counted = receipt["accepted"] + receipt["duplicates"] + len(receipt["ignored"]) + len(receipt["rejected"])
    assert counted == items, receipt


# One bad item -------------------------------------------------------------------------------------------------------

BAD_ITEMS = [
    # A position that no place on earth has.
    ("lat above", good() | {"lat": 90.1}, "lat", "out_of_range"),
    ("lat below", good() | {"lat": -90.1}, "lat", "out_of_range"),
    ("lon above", good() | {"lon": 180.1}, "lon", "out_of_range"),
    ("lat as text", good() | {"lat": "53.6"}, "lat", "type"),
    ("lat null", good() | {"lat": None}, "lat", "type"),
    ("no lat", without(good(), "lat"), "", "missing"),
    ("nowhere", good() | {"lat": 0, "lon": 0.0}, "lat", "no_position"),
    # An accuracy that says nothing.
    ("accuracy zero", good(accuracy_m=0), "accuracy_m", "out_of_range"),
    ("accuracy below", good(accuracy_m=-5), "accuracy_m", "out_of_range"),
    ("accuracy above", good(accuracy_m=2e6), "accuracy_m", "out_of_range"),
    ("no accuracy", without(good(), "accuracy_m"), "", "missing"),
    # A time that nobody can place.
    ("no time", without(good(), "recorded_at"), "", "missing"),
    ("time without offset", good() | {"recorded_at": "2026-03-04T12:00:00"}, "recorded_at", "timezone"),
    ("time as number", good() | {"recorded_at": 1772622000}, "recorded_at", "type"),
    ("time as words", good() | {"recorded_at": "noon"}, "recorded_at", "type"),
    ("future", fix(at(121), LAT, LON), "recorded_at", "in_the_future"),
    ("far future", good() | {"recorded_at": "9999-12-31T23:59:59-14:00"}, "recorded_at", "in_the_future"),
    ("before 2000", fix(datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC), LAT, LON), "recorded_at", "long_ago"),
    ("1970", fix(datetime(1970, 1, 1, tzinfo=UTC), LAT, LON), "recorded_at", "long_ago"),
    ("year one", good() | {"recorded_at": "0001-01-01T00:00:00+14:00"}, "recorded_at", "long_ago"),
    # Other numbers that cannot be.
    ("speed below unknown", good(speed_mps=-2), "speed_mps", "out_of_range"),
    ("speed of light", good(speed_mps=3e8), "speed_mps", "out_of_range"),
    ("course above", good(course_deg=361), "course_deg", "out_of_range"),
    ("floor of half", good(floor=1.5), "floor", "type"),
    ("mock as text", good(mock="yes"), "mock", "type"),
    # Ids, kinds and fields that nobody knows.
    ("id with a space", good(id="a b"), "id", "pattern"),
    ("id too long", good(id="a" * 129), "id", "length"),
    ("id empty", good(id=""), "id", "length"),
    ("unknown field", good(battery=0.5), "", "unknown_field"),
    ("unknown kind", good() | {"type": "motion"}, "type", "unknown_value"),
    ("no kind", without(good(), "type"), "", "missing"),
    ("no object", 7, "", "type"),
    ("null", None, "", "type"),
    ("a list", [1, 2], "", "type"),
    # Other sources.
    ("an event nowhere", {"type": "transition", "recorded_at": at(), "geofence_id": "g", "event": "enter", "lat": 0.0,
     "lon": 0.0}, "lat", "no_position"),
    ("an event that is none", {"type": "transition", "recorded_at": at(), "geofence_id": "g", "event": "left"},
     "event", "unknown_value"),
    ("a scan that heard nothing", {"type": "beacons", "recorded_at": at(), "sightings": []}, "sightings", "length"),
    ("beacon out of range", {"type": "beacons", "recorded_at": at(), "sightings": [SIGHTING | {"major": 70_000}]},
     "sightings[0].major", "out_of_range"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "path", "code"), [row[1:] for row in BAD_ITEMS], ids=[row[0] for row in BAD_ITEMS])
async def test_a_bad_item_costs_no_good_one(shared, ada, item, path, code):
    """The bad item is named by index, path and rule; the good ones beside it are accepted."""
    answer = await post(shared, ada, {"device_id": "phone", "pings": [good(1), item, good(2)]})
    assert answer.status == 202
    assert answer.body["accepted"] == 2
    (rejected,) = answer.body["rejected"]
    assert (rejected["index"], rejected["path"], rejected["code"]) == (1, path, code), rejected
    assert rejected["message"]
    adds_up(answer.body, 3)


async def test_an_unknown_field_is_named(shared, ada):
    """Whoever misspells a field is told which one."""
    receipt = await shared.ping(ada, good(acuracy_m=5))
    assert "acuracy_m" in receipt["rejected"][0]["message"]
    answer = await post(shared, ada, {"device_id": "phone", "pings": [], "pins": []})
    assert answer.status == 422
    assert "pins" in answer.body["errors"][0]["message"]


async def test_only_bad_items_are_still_an_answer(shared, ada):
    """A request of nothing but bad items is a 202 that says so, for trying again would not help."""
    answer = await post(shared, ada, {"device_id": "phone", "pings": [row[1] for row in BAD_ITEMS]})
    assert answer.status == 202
    assert answer.body["accepted"] == 0
    assert [each["index"] for each in answer.body["rejected"]] == list(range(len(BAD_ITEMS)))
    adds_up(answer.body, len(BAD_ITEMS))


async def test_nothing_is_fine(shared, ada):
    """A request without pings is answered, too."""
    assert await shared.ping(ada) == {"accepted": 0, "duplicates": 0, "ignored": [], "rejected": []}


FINE = [
    ("speed unknown, as some SDKs write it", good(speed_mps=-1)),
    ("course unknown, as some SDKs write it", good(course_deg=-1)),
    ("everything", good(id="x:1.2_3-4", speed_mps=1.4, course_deg=90, altitude_m=-3.5, floor=-2, mock=False)),
    ("two minutes ahead", fix(at(120), LAT, LON)),
    ("the first second of 2000", fix(datetime(2000, 1, 1, tzinfo=UTC), LAT, LON)),
    ("on the equator", good() | {"lat": 0}),
    ("on the prime meridian", good() | {"lon": 0}),
    ("at the pole", good() | {"lat": -90, "lon": -180}),
    ("whole degrees", good() | {"lat": 53, "lon": 10}),
    ("a time of another zone", good() | {"recorded_at": "2026-03-04T16:45:00+05:45"}),
    ("nulls where nothing is known", good(id=None, speed_mps=None, floor=None)),
    ("very coarse", good(accuracy_m=1_000_000)),
]


@pytest.mark.parametrize("item", [row[1] for row in FINE], ids=[row[0] for row in FINE])
async def test_what_phones_really_send_is_taken(shared, ada, item):
    """Unknown speeds, borders of the globe and clocks a little ahead are accepted."""
    assert await shared.ping(ada, item) == {"accepted": 1, "duplicates": 0, "ignored": [], "rejected": []}


# Duplicates and order -----------------------------------------------------------------------------------------------


async def test_the_same_id_is_a_duplicate(shared, ada):
    """An id counts once, within a request and across requests, whatever else changed."""
    receipt = await shared.ping(ada, good(1, id="one"), good(2, id="one"), good(3, id="two"))
    assert (receipt["accepted"], receipt["duplicates"]) == (2, 1)
    receipt = await shared.ping(ada, good(4, id="two"), good(5, id="three"))
    assert (receipt["accepted"], receipt["duplicates"]) == (1, 1)


async def test_the_same_time_and_place_is_a_duplicate(shared, ada):
    """Without an id, time and place tell a repetition, within a request and across requests; a new id does not."""
    receipt = await shared.ping(ada, good(1), good(1), good(2))
    assert (receipt["accepted"], receipt["duplicates"]) == (2, 1)
    receipt = await shared.ping(ada, good(1, id="other"), good(2), good(3))
    assert (receipt["accepted"], receipt["duplicates"]) == (1, 2)


async def test_one_instant_in_two_zones_is_a_duplicate(shared, ada):
    """The same instant written with another offset is the same."""
    assert (await shared.ping(ada, good()))["accepted"] == 1
    assert (await shared.ping(ada, good() | {"recorded_at": "2026-03-04T12:00:00+01:00"}))["duplicates"] == 1


async def test_a_batch_posted_twice_is_all_duplicates(shared, ada):
    """500 pings posted again are 500 duplicates, in whatever order, and so is a part of them."""
    batch = [good(n - 600, id=f"p{n}") for n in range(500)]
    assert (await shared.ping(ada, *batch))["accepted"] == 500
    for again in (batch, batch[::-1], batch[250:300]):
        receipt = await shared.ping(ada, *again)
        assert receipt == {"accepted": 0, "duplicates": len(again), "ignored": [], "rejected": []}
    count = await shared.sql("select count(*) from ping_receipts where customer_id = $1", ada)
    assert count[0]["count"] == 1


async def test_a_batch_without_ids_posted_twice_is_all_duplicates(shared, ada):
    """The same holds for pings that never had an id."""
    batch = [good(n - 600) for n in range(500)]
    assert (await shared.ping(ada, *batch))["accepted"] == 500
    assert (await shared.ping(ada, *batch))["duplicates"] == 500


async def test_two_phones_are_two_phones(shared, ada):
    """What one phone sent is new from another one of the same customer."""
    assert (await shared.ping(ada, good(1, id="one")))["accepted"] == 1
    assert (await shared.ping(ada, good(1, id="one"), device_id="tablet"))["accepted"] == 1


async def test_a_straggler_is_out_of_order(shared, ada):
    """What is older than the newest, or as old, and was not seen before is ignored by that name."""
    await shared.ping(ada, good(10))
    receipt = await shared.ping(ada, good(5), fix(at(10), LAT + 0.01, LON), good(11))
    assert receipt["accepted"] == 1
    assert receipt["ignored"] == [{"index": 0, "reason": "out_of_order"}, {"index": 1, "reason": "out_of_order"}]
    adds_up(receipt, 3)


async def test_a_buffer_is_replayed_in_order(shared, ada):
    """Pings of one request may come in any order; they are taken in the order of their times."""
    receipt = await shared.ping(ada, *(good(n) for n in (3, 1, 5, 2, 4)))
    assert receipt["accepted"] == 5


async def test_a_mock_position_is_ignored(shared, ada):
    """A position that the phone calls made up is ignored by that name, and does not stand in the way of a real one."""
    receipt = await shared.ping(ada, good(5, mock=True), good(1))
    assert receipt["ignored"] == [{"index": 0, "reason": "mock"}]
    assert receipt["accepted"] == 1


async def test_every_item_is_accounted_for(shared, ada):
    """Accepted, duplicates, ignored and rejected add up to what was sent."""
    items = [
        good(1, id="a"), good(1, id="a"), good(2), good(2), good(3, mock=True), fix(at(500), LAT, LON),
        {"type": "motion"}, {"type": "transition", "recorded_at": at(), "geofence_id": "g", "event": "exit"},
    ]  # fmt: skip
    receipt = await shared.ping(ada, *items)
    assert (receipt["accepted"], receipt["duplicates"]) == (3, 2)
    assert [each["index"] for each in receipt["ignored"]] == [4]
    assert [each["index"] for each in receipt["rejected"]] == [5, 6]
    adds_up(receipt, len(items))


# Consent ------------------------------------------------------------------------------------------------------------


async def test_without_consent_nothing_is_stored(shared):
    """Without consent for location every ping is ignored by that name, and no trace of it is kept."""
    who = shared.customer("nemo")
    await shared.ok("PUT", "/v1/devices/phone", {"platform": "ios", "push_token": "t-nemo"}, who=who)
    for withdrawn in (False, True):
        receipt = await shared.ping("nemo", good(1), good(2, mock=True), fix(at(500), LAT, LON))
        assert receipt["ignored"] == [{"index": n, "reason": "no_location_consent"} for n in range(3)]
        adds_up(receipt, 3)
        (device,) = await shared.sql("select track, newest_at, recent_keys from devices where customer_id = 'nemo'")
        assert device["track"] is None
        assert device["newest_at"] is None
        assert device["recent_keys"] == b""
        for table in ("ping_receipts", "transitions", "visits", "decisions"):
            assert not await shared.sql(f"select from {table} where customer_id = 'nemo'"), table
        if not withdrawn:
            await shared.ok("PUT", "/v1/me/consents/location", {"granted": False, "notice_version": "1"}, who=who)


async def test_a_phone_may_ping_before_it_registers(shared):
    """The first ping of an unknown phone makes it known; what is allowed is asked as for every other one."""
    assert [each["reason"] for each in (await shared.ping("early", good(1)))["ignored"]] == ["no_location_consent"]
    await located(shared, "early")
    assert (await shared.ping("early", good(2)))["accepted"] == 1
    assert (await shared.ping("early", good(1), device_id="watch"))["accepted"] == 1
    who = shared.customer("early")
    await shared.ok("PUT", "/v1/devices/watch", {"platform": "android", "push_token": "t-early-2"}, who=who)
    rows = await shared.sql("select device_id, track is null as lost from devices where customer_id = 'early'")
    assert {tuple(row) for row in rows} == {("phone", False), ("watch", False)}


# Bodies that cannot be read -----------------------------------------------------------------------------------------

UNREADABLE = [
    ("nothing", b""),
    ("text", b"hello"),
    ("truncated", orjson.dumps({"device_id": "phone", "pings": [good()]})[:-3]),
    ("two bodies", b'{"device_id": "phone", "pings": []}{}'),
    ("not a number", b'{"device_id": "phone", "pings": [{"type": "location", "lat": NaN}]}'),
    ("infinity", b'{"device_id": "phone", "pings": [{"type": "location", "lat": Infinity}]}'),
    ("5,000 brackets", b"[" * 5_000 + b"]" * 5_000),
    ("5,000 brackets in an item", b'{"device_id": "phone", "pings": [' + b"[" * 5_000 + b"]" * 5_000 + b"]}"),
    ("5,000 objects in an item", b'{"device_id": "phone", "pings": [' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"]}"),
    ("5,000 brackets, never closed", b"[" * 5_000),
    ("a raw NUL", b'{"device_id": "ph\x00ne", "pings": []}'),
    ("no UTF-8", b'{"device_id": "\xff\xfe", "pings": []}'),
    ("half a character", b'{"device_id": "\\ud83d", "pings": []}'),
    ("UTF-16", '{"device_id": "phone", "pings": []}'.encode("utf-16")),
]


@pytest.mark.parametrize("body", [row[1] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
async def test_what_is_no_json_is_a_400(shared, ada, body):
    """A body that cannot be read is refused as a whole, and the service goes on."""
    answer = await post(shared, ada, body)
    assert answer.status == 400, answer.body
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["code"] == "malformed_json"


WRONG = [
    ("a list", [], "", "type"),
    ("null", None, "", "type"),
    ("no device", {"pings": []}, "", "missing"),
    ("no pings", {"device_id": "phone"}, "", "missing"),
    ("pings of one", {"device_id": "phone", "pings": {}}, "pings", "type"),
    ("a device of another sort", {"device_id": 7, "pings": []}, "device_id", "type"),
    ("a device that cannot be", {"device_id": "my phone", "pings": []}, "device_id", "pattern"),
    (
        "a time without offset",
        {"device_id": "phone", "pings": [], "sent_at": "2026-03-04T12:00:00"},
        "sent_at",
        "timezone",
    ),
]


@pytest.mark.parametrize(("body", "path", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
async def test_a_wrong_envelope_is_a_422(shared, ada, body, path, code):
    """JSON that is no request for pings is refused with the place and the rule."""
    answer = await post(shared, ada, orjson.dumps(body))
    assert answer.status == 422
    (error,) = answer.body["errors"]
    assert (error["path"], error["code"]) == (path, code), error


async def test_nul_characters_are_refused(shared, ada):
    """Text with a NUL character, which the database cannot hold, is a 422 by that name."""
    for body in (b'{"device_id": "ph\\u0000ne", "pings": []}', b'{"device_id": "phone", "pings": [{"id": "\\u0000"}]}'):
        answer = await post(shared, ada, body)
        assert (answer.status, answer.body["code"]) == (422, "nul_character")


async def test_too_many_bytes_are_a_413(shared, ada):
    """More than 2 MiB are refused, announced or not, packed or not; a body just below is read."""
    padding = b" " * (2 * 1024 * 1024)
    small = b'{"device_id": "phone", "pings": []}'

    async def unannounced():
        for start in range(0, len(padding) + 1, 65_536):
            yield padding[start : start + 65_536] or b" "
        yield small

    async def sent(data: Any, **headers: str) -> int:
        who = shared.customer(ada) | {"Content-Type": "application/json"} | headers
        async with shared.session.post(shared.app.url + "/v1/pings", data=data, headers=who) as response:
            body = await response.json(content_type=None)
            if response.status >= 400:
                assert body["code"] == "too_large"
            return response.status

    assert await sent(io.BytesIO(padding + small)) == 413
    assert await sent(unannounced()) == 413
    assert await sent(gzip.compress(padding * 20 + small), **{"Content-Encoding": "gzip"}) == 413
    assert await sent(io.BytesIO(padding[len(small) :] + small)) == 202


async def test_too_many_items_are_a_413(shared, ada):
    """More than 5,000 pings are refused as a whole; 5,000 are taken."""
    items = [good(n / 10 - 600) for n in range(5_001)]
    answer = await post(shared, ada, {"device_id": "phone", "pings": items})
    assert (answer.status, answer.body["code"]) == (413, "too_large")
    assert (await shared.ping(ada, *items[:5_000]))["accepted"] == 5_000


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/csv", "application/xml"])
async def test_another_content_type_is_a_415(shared, ada, kind):
    """What does not call itself JSON is not read."""
    answer = await post(shared, ada, {"device_id": "phone", "pings": []}, headers={"Content-Type": kind})
    assert (answer.status, answer.body["code"]) == (415, "unsupported_media_type")


async def test_json_with_a_charset_is_json(shared, ada):
    """A charset beside the content type does not matter."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert (await post(shared, ada, {"device_id": "phone", "pings": []}, headers=headers)).status == 202


# Full, and hung up --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def narrow(postgres, tmp_path):
    """A service on whose queue ten pings fit."""
    from conftest import new_database

    async with new_database(postgres) as url:
        settings = environment(url, None, tmp_path, GEOSERVICE_INGEST_QUEUE_ITEMS="10")
        async with running(settings, None) as client:
            yield client


async def until_held_up(client: Client) -> None:
    """Wait until something of the service waits for a lock in its database."""
    waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    async with asyncio.timeout(60):
        while not await client.sql(waits):
            await asyncio.sleep(0.01)


async def test_a_full_queue_says_come_back(narrow):
    """When more waits than fits, a request is told to come back with a 503; those that wait are still answered."""
    for name in ("one", "two", "three"):
        await located(narrow, name)
    connection = await asyncpg.connect(narrow.app.settings.database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("lock table ping_receipts in exclusive mode")
    under_way = asyncio.create_task(post(narrow, "one", {"device_id": "phone", "pings": [good(1)]}))
    await until_held_up(narrow)
    eight = {"device_id": "phone", "pings": [good(n) for n in range(8)]}
    both = [asyncio.create_task(post(narrow, name, eight)) for name in ("two", "three")]
    (refused,), (waiting,) = await asyncio.wait(both, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    answer = refused.result()
    assert answer.status == 503
    assert answer.body["code"] == "overloaded"
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert int(answer.headers["Retry-After"]) >= 1
    await transaction.rollback()
    await connection.close()
    assert (await under_way).body["accepted"] == 1
    assert (await waiting).body["accepted"] == 8
    came_back = ("two", "three")[both.index(refused)]
    assert (await narrow.ping(came_back, *(good(n) for n in range(8))))["accepted"] == 8


async def test_a_retry_after_hanging_up_is_harmless(shared):
    """A phone that lost its connection and sends again is told that all of it is there: one entry, not two."""
    await shared.set_up_store("fischmarkt", 53.70, 10.30)
    await located(shared, "hasty")
    path = walk(NOON - timedelta(minutes=8), 53.70, 10.30)
    body = {"device_id": "phone", "pings": path}
    connection = await asyncpg.connect(shared.app.settings.database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.fetch("select from devices where customer_id = 'hasty' for update")
    async with aiohttp.ClientSession() as impatient:
        hasty = Client(shared.app, impatient, None)
        with pytest.raises(TimeoutError):
            await post(hasty, "hasty", body, timeout=aiohttp.ClientTimeout(total=1))
    await transaction.rollback()
    await connection.close()
    receipt = await shared.ping("hasty", *path)
    assert receipt == {"accepted": 0, "duplicates": len(path), "ignored": [], "rejected": []}
    assert [each["kind"] for each in await shared.transitions("hasty")] == ["enter"]
