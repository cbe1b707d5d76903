"""Stores and geofences, over HTTP: all or nothing, and nothing unclear."""

from __future__ import annotations

import asyncio
import re
import time

import orjson
import pytest
from catalogue_house import around, ids, published, upload
from conftest import CAMPAIGN, STORE, fix

from geoservice.api.geofences import SLICED_FROM

pytestmark = pytest.mark.asyncio(loop_scope="module")

FEATURE = orjson.dumps(
    {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [10.0, 53.55]},
        "properties": {"id": "large-or-small", "kind": "approach", "radius_m": 150},
    }
)


# Stores -------------------------------------------------------------------------------------------------------------


async def test_a_store_is_written_read_and_replaced(shared):
    """A store is there after it was put, alone and in the list, and putting it again replaces it."""
    body = STORE | {"address": "Harbour Street 1"}
    assert await shared.ok("PUT", "/v1/stores/s1", body, who=shared.ops) == {"id": "s1"} | body
    assert await shared.ok("GET", "/v1/stores/s1", who=shared.ops) == {"id": "s1"} | body
    again = {"name": "Moved", "lat": 1, "lon": 2, "timezone": "Asia/Kathmandu"}
    await shared.ok("PUT", "/v1/stores/s1", again, who=shared.ops)
    items = (await shared.ok("GET", "/v1/stores", who=shared.ops))["items"]
    assert [item for item in items if item["id"] == "s1"] == [{"id": "s1"} | again]


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone", "unknown_timezone"),
        ({"timezone": ""}, "timezone", "unknown_timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone", "unknown_timezone"),
        ({"opening_hours": "whenever we like"}, "opening_hours", "opening_hours"),
        ({"name": "  "}, "name", "length"),
        ({"name": "n" * 201}, "name", "length"),
        ({"lat": 91}, "lat", "out_of_range"),
        ({"lon": "10"}, "lon", "type"),
        ({"adress": "a"}, "", "unknown_field"),
    ],
)
async def test_a_wrong_store_is_refused(shared, changes, path, code):
    """A store with something wrong is refused with the place and the rule, and is not there."""
    answer = await shared.call("PUT", "/v1/stores/wrong", STORE | changes, who=shared.ops)
    assert answer.status == 422
    assert [(error["path"], error["code"]) for error in answer.body["errors"]] == [(path, code)]
    assert (await shared.call("GET", "/v1/stores/wrong", who=shared.ops)).status == 404


async def test_all_that_is_wrong_with_a_store_is_said_at_once(shared):
    """Two mistakes are two errors in one answer."""
    body = STORE | {"timezone": "Mars/Olympus", "opening_hours": "whenever"}
    answer = await shared.call("PUT", "/v1/stores/wrong", body, who=shared.ops)
    assert {error["path"] for error in answer.body["errors"]} == {"timezone", "opening_hours"}


@pytest.mark.parametrize("path", ["stores", "geofences", "campaigns"])
async def test_an_id_that_cannot_be_is_not_created(shared, path):
    """Nothing is stored under an id that breaks the rules for ids."""
    body = {"stores": STORE, "geofences": around("x"), "campaigns": CAMPAIGN}[path]
    for id_ in ("a%20b", "%00", "%F0%9F%91%9F", "a" * 129):
        assert (await shared.call("PUT", f"/v1/{path}/{id_}", body, who=shared.ops)).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/stores/nowhere"),
        ("GET", "/v1/geofences/nowhere"),
        ("DELETE", "/v1/geofences/nowhere"),
        ("GET", "/v1/campaigns/nowhere"),
        ("POST", "/v1/campaigns/nowhere/pause"),
        ("POST", "/v1/campaigns/nowhere/resume"),
        ("GET", "/v1/decisions/nowhere"),
    ],
)
async def test_what_is_not_there_is_not_found(shared, method, path):
    """Reading, removing or pausing what nobody made is a 404 and publishes nothing."""
    before = await published(shared)
    answer = await shared.call(method, path, who=shared.ops)
    assert (answer.status, answer.body["code"]) == (404, "not_found")
    assert await published(shared) == before


# Geofences ----------------------------------------------------------------------------------------------------------


async def test_a_geofence_is_written_read_and_removed(shared, store):
    """A geofence is there after it was put, under the id of the path, until it is deleted."""
    path = f"/v1/geofences/{store}-own"
    answer = await shared.ok("PUT", path, around(store, "another-id", tags=["a", "b"]), who=shared.ops)
    assert (answer["created"], answer["ids"]["created"]) == (1, [f"{store}-own"])
    feature = await shared.ok("GET", path, who=shared.ops)
    assert feature["properties"]["id"] == f"{store}-own"
    assert feature["properties"]["tags"] == ["a", "b"]
    assert feature["properties"]["radius_m"] == 150
    assert feature["geometry"]["type"] == "Point"
    assert feature["geometry"]["coordinates"] == pytest.approx([STORE["lon"], STORE["lat"]])
    listed = await shared.ok("GET", "/v1/geofences", who=shared.ops)
    assert listed["type"] == "FeatureCollection"
    assert feature in listed["features"]
    assert (await shared.call("DELETE", path, who=shared.ops)).status == 204
    assert (await shared.call("GET", path, who=shared.ops)).status == 404
    assert (await shared.call("DELETE", path, who=shared.ops)).status == 404


async def test_what_was_read_can_be_uploaded_again(shared, store):
    """The list of geofences is itself an upload, and one that changes nothing."""
    assert (await upload(shared, around(store, tags=["x"], dwell_s=60, floor=1, colour="blue"))).status == 200
    before = await published(shared)
    answer = await shared.ok("POST", "/v1/geofences/import?mode=replace", before[0], who=shared.ops)
    assert (answer["created"], answer["changed"], answer["removed"]) == (0, 0, 0)
    assert answer["unchanged"] == len(before[0]["features"])
    assert await published(shared) == before


SQUARE = [[10, 53], [10.01, 53], [10.01, 53.01], [10, 53.01], [10, 53]]
BAD_FEATURES = [
    ("no id", {"properties": {"id": None}}, "properties.id", "id_missing"),
    ("a bad id", {"properties": {"id": "a b"}}, "properties.id", "id_invalid"),
    ("no radius", {"properties": {"radius_m": None}}, "properties.radius_m", "radius_missing"),
    ("a radius of nothing", {"properties": {"radius_m": 0}}, "properties.radius_m", "radius_out_of_range"),
    ("an unknown kind", {"properties": {"kind": "shop"}}, "properties.kind", "kind_unknown"),
    ("an unknown store", {"properties": {"store_id": "nowhere"}}, "properties.store_id", "store_unknown"),
    ("no geometry", {"geometry": None}, "geometry", "geometry_missing"),
    ("a line", {"geometry": {"type": "LineString", "coordinates": SQUARE}},
     "geometry.type", "geometry_type_not_allowed"),
    ("lat first", {"geometry": {"type": "Point", "coordinates": [53.55, 10.0]}},
     "geometry.coordinates", "lat_lon_swapped"),
    ("an open ring", {"geometry": {"type": "Polygon", "coordinates": [SQUARE[:4]]}, "properties": {"radius_m": None}},
     "geometry.coordinates[0][3]", "ring_not_closed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "path", "code"), [row[1:] for row in BAD_FEATURES], ids=[row[0] for row in BAD_FEATURES]
)
async def test_a_bad_feature_stops_the_upload(shared, store, changes, path, code):
    """One bad feature among good ones: the answer names it, the place in it and the rule, and nothing has changed."""
    bad = around(store, "the-bad-one")
    bad = bad | changes | {"properties": bad["properties"] | changes.get("properties", {})}
    bad["properties"] = {key: value for key, value in bad["properties"].items() if value is not None}
    for query in ("", "?mode=replace", "?dry_run=true"):
        before = await published(shared)
        answer = await upload(shared, around(store, "good-1"), bad, around(store, "good-2"), query=query)
        assert (answer.status, answer.body["code"]) == (422, "invalid_geofences")
        (error,) = answer.body["errors"]
        assert (error["path"].removeprefix("features[1]."), error["code"]) == (path, code), error
        assert error["feature"] == ("#1" if path == "properties.id" else "the-bad-one")
        assert error["message"]
        assert await published(shared) == before


async def test_all_that_is_wrong_with_an_upload_is_said_at_once(shared, store):
    """Every bad feature is listed, and one id for two features is one mistake."""
    broken = around(store, "b", kind="shop", radius_m=-1)
    answer = await upload(shared, around(store, "a"), around(store, "a"), broken)
    assert answer.status == 422
    found = {(error["feature"], error["code"]) for error in answer.body["errors"]}
    assert {("a", "id_duplicate"), ("b", "kind_unknown"), ("b", "radius_out_of_range")} <= found


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"[" * 5_000 + b"]" * 5_000, 400, "malformed_json"),
        (b'{"type": "FeatureCollection", "features": [NaN]}', 400, "malformed_json"),
        (b'{"type": "FeatureCollection", "features": [{"id": "\\u0000"}]}', 422, "nul_character"),
        (b"[]", 422, "invalid_geofences"),
        (b"null", 422, "invalid_geofences"),
        (b'{"type": "FeatureCollection"}', 422, "invalid_geofences"),
        (b'{"type": "FeatureCollection", "features": {}}', 422, "invalid_geofences"),
        (b'{"type": "FeatureCollection", "features": [1, null, "x", []]}', 422, "invalid_geofences"),
        (b'{"type": "Topology", "features": []}', 422, "invalid_geofences"),
    ],
)
async def test_what_is_no_collection_is_refused(shared, body, status, code):
    """No JSON is a 400, no FeatureCollection a 422; either way nothing has changed."""
    before = await published(shared)
    answer = await shared.call("POST", "/v1/geofences/import?mode=replace", body, who=shared.ops)
    assert (answer.status, answer.body["code"]) == (status, code)
    assert await published(shared) == before


@pytest.mark.parametrize("query", ["?mode=append", "?dry_run=perhaps", "?mode=", "?dryrun=true"])
async def test_a_misspelt_option_is_refused(shared, store, query):
    """An option that is not understood publishes nothing: it might have meant a dry run."""
    before = await published(shared)
    assert (await upload(shared, around(store), query=query)).status == 422
    assert await published(shared) == before


async def test_a_dry_run_changes_nothing(shared, store):
    """A dry run says what would change, in either mode, and everything is as before."""
    await upload(shared, around(store, "stays"), around(store, "moves"))
    before = await published(shared)
    others = len(before[0]["features"]) - 2
    features = around(store, "stays"), around(store, "moves", radius_m=200), around(store, "comes")
    for query, removed in (("?dry_run=true", 0), ("?dry_run=true&mode=replace", others)):
        answer = await upload(shared, *features, query=query)
        assert answer.status == 200
        assert answer.body["dry_run"] is True
        counts = [answer.body[kind] for kind in ("created", "changed", "unchanged", "removed")]
        assert counts == [1, 1, 1, removed]
        assert await published(shared) == before


async def test_merge_keeps_and_replace_removes(shared, store):
    """Merging leaves alone what an upload does not name; replacing removes it."""
    await upload(shared, around(store, "one"), around(store, "two"), query="?mode=replace")
    answer = await upload(shared, around(store, "three"))
    assert (answer.body["created"], answer.body["removed"]) == (1, 0)
    assert ids(await shared.ok("GET", "/v1/geofences", who=shared.ops)) == ["one", "three", "two"]
    answer = await upload(shared, around(store, "two"), around(store, "four"), query="?mode=replace")
    assert answer.body["ids"] == {"created": ["four"], "changed": [], "removed": ["one", "three"]}
    assert ids(await shared.ok("GET", "/v1/geofences", who=shared.ops)) == ["four", "two"]


async def test_every_publication_has_a_version(shared, store):
    """Each change counts the version up by one and is on record with who and what; no change is no version."""
    versions = [
        (await upload(shared, around(store, "v1"))).body["version"],
        (await upload(shared, around(store, "v1", radius_m=99))).body["version"],
        (await upload(shared, around(store, "v1", radius_m=99))).body["version"],
    ]
    first = versions[0]
    assert versions == [first, first + 1, first + 1]
    assert (await shared.call("DELETE", "/v1/geofences/v1", who=shared.ops)).status == 204
    listed = (await shared.ok("GET", "/v1/geofences/versions", who=shared.ops))["items"][:3]
    assert [item["version"] for item in listed] == [first + 2, first + 1, first]
    assert [item["summary"] for item in listed] == [
        {"created": 0, "changed": 0, "unchanged": 0, "removed": 1},
        {"created": 0, "changed": 1, "unchanged": 0, "removed": 0},
        {"created": 1, "changed": 0, "unchanged": 0, "removed": 0},
    ]
    assert {item["actor"] for item in listed} == {"bootstrap"}


async def test_uploads_at_once_are_one_after_the_other(shared, store):
    """Ten uploads in the same moment get ten versions, and all of their geofences are there."""
    answers = await asyncio.gather(*(upload(shared, around(store, f"at-once-{n}")) for n in range(10)))
    assert len({answer.body["version"] for answer in answers}) == 10
    there = ids(await shared.ok("GET", "/v1/geofences", who=shared.ops))
    assert {f"at-once-{n}" for n in range(10)} <= set(there)


async def test_the_matcher_sees_an_upload_within_a_second(shared, store):
    """Within a second of its upload a phone that stands there enters a geofence; within one of its end it is out."""
    who = shared.customer("walker")
    await shared.ok("PUT", "/v1/devices/phone", {"platform": "ios", "push_token": "t-walker"}, who=who)
    await shared.ok("PUT", "/v1/me/consents/location", {"granted": True, "notice_version": "1"}, who=who)
    entered_s, left_s = [], []

    async def until(kind: str, geofence_id: str) -> float:
        started = time.monotonic()
        async with asyncio.timeout(60):
            while (kind, geofence_id) not in [
                (t["kind"], t["geofence_id"]) for t in await shared.transitions("walker")
            ]:
                await shared.pass_time(seconds=20)
                await shared.ping("walker", fix(shared.now, STORE["lat"], STORE["lon"]))
        return time.monotonic() - started

    await shared.ping("walker", fix(shared.now, STORE["lat"], STORE["lon"]))
    for sudden in ("sudden-1", "sudden-2", "sudden-3"):
        await upload(shared, around(store, sudden))
        entered_s.append(await until("enter", sudden))
        await shared.call("DELETE", f"/v1/geofences/{sudden}", who=shared.ops)
        left_s.append(await until("removed", sudden))
        if max(min(entered_s), min(left_s)) < 1:
            return  # a busy machine may have made one of them slow
    pytest.fail(f"entered after {entered_s} s, out after {left_s} s")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            b'{"type": "FeatureCollection", "name": "x", "features": [%s], "crs": null}' % FEATURE, id="sound"
        ),
        pytest.param(b'{"features": [%s, 7, {}], "type": "FeatureCollection"}' % FEATURE, id="odd features"),
        pytest.param(b'{"type": "FeatureCollection", "features": {}}', id="no list"),
        pytest.param(b'{"type": "FeatureCollection"}', id="no features"),
        pytest.param(FEATURE, id="a single feature"),
        pytest.param(b"[%s]" % FEATURE, id="a bare list"),
        pytest.param(b'{"type": "FeatureCollection", "features": [%s]' % FEATURE, id="cut off"),
        pytest.param(b'{"type": "FeatureCollection", "features": [{"a": \xff}]}', id="no text"),
        pytest.param(b'{"type": "FeatureCollection", "features": [%s]}' % (b"[" * 2_000 + b"]" * 2_000), id="deep"),
        pytest.param(b'{"type": nope, "features": []}', id="a word that is none"),
    ],
)
async def test_a_large_upload_is_read_as_a_small_one(shared, body):
    """Large bodies are taken apart before they are parsed; whoever uploads them cannot tell."""
    query = "/v1/geofences/import?dry_run=true"
    small = await shared.call("POST", query, body, who=shared.ops)
    large = await shared.call("POST", query, body + b" " * SLICED_FROM, who=shared.ops)
    told = [re.sub(rb"column \d+", b"column", orjson.dumps(answer.body)) for answer in (large, small)]  # blanks count
    assert (large.status, told[0]) == (small.status, told[1])
