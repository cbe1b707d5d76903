"""Stores, geofences and campaigns, over HTTP and from the command line: all or nothing, and nothing unclear."""

from __future__ import annotations

import asyncio
import codecs
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from conftest import CAMPAIGN, JWT_SECRET, OPS_KEY, STORE, Client, environment, fix, ring

from geoservice.api.geofences import SLICED_FROM

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMMAND = str(Path(sys.executable).with_name("geoservice"))
FEATURE = orjson.dumps(
    {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [10.0, 53.55]},
        "properties": {"id": "large-or-small", "kind": "approach", "radius_m": 150},
    }
)


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def around(store_id: str, id_: str | None = None, **properties: Any) -> dict[str, Any]:
    """Build an approach ring of a store at STORE's place."""
    feature = ring(store_id, STORE["lat"], STORE["lon"])
    feature["properties"] |= {"id": id_ or f"{store_id}-approach"} | properties
    return feature


async def upload(client: Client, *features: Any, query: str = "") -> Any:
    return await client.call("POST", f"/v1/geofences/import{query}", collection(*features), who=client.ops)


async def published(client: Client) -> tuple[Any, Any]:
    """Give all that a publication could have changed."""
    fences = await client.ok("GET", "/v1/geofences", who=client.ops)
    return fences, await client.ok("GET", "/v1/geofences/versions", who=client.ops)


@pytest_asyncio.fixture(loop_scope="module")
async def store(shared, request) -> str:
    """A store of its own for each test."""
    store_id = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:60].strip("-")
    await shared.ok("PUT", f"/v1/stores/{store_id}", STORE, who=shared.ops)
    return store_id


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


def ids(body: dict[str, Any]) -> list[str]:
    return sorted(feature["properties"]["id"] for feature in body["features"])


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

    async def until(kind: str) -> None:
        async with asyncio.timeout(1):
            while kind not in [t["kind"] for t in await shared.transitions("walker") if t["geofence_id"] == "sudden"]:
                await shared.pass_time(seconds=20)
                await shared.ping("walker", fix(shared.now, STORE["lat"], STORE["lon"]))

    await shared.ping("walker", fix(shared.now, STORE["lat"], STORE["lon"]))
    await upload(shared, around(store, "sudden"))
    await until("enter")
    await shared.call("DELETE", "/v1/geofences/sudden", who=shared.ops)
    await until("removed")


# Campaigns ----------------------------------------------------------------------------------------------------------


async def test_a_campaign_is_written_read_and_counted(shared):
    """A campaign is there after it was put, alone and in the list, and every put is its next version."""
    first = await shared.ok("PUT", "/v1/campaigns/c1", CAMPAIGN, who=shared.ops)
    assert (first["id"], first["version"], first["state"]) == ("c1", 1, "live")
    assert await shared.ok("GET", "/v1/campaigns/c1", who=shared.ops) == first
    assert {key: first[key] for key in CAMPAIGN} == CAMPAIGN
    second = await shared.ok("PUT", "/v1/campaigns/c1", CAMPAIGN | {"state": "draft"}, who=shared.ops)
    assert (second["version"], second["state"]) == (2, "draft")
    items = (await shared.ok("GET", "/v1/campaigns", who=shared.ops))["items"]
    assert [item for item in items if item["id"] == "c1"] == [second]


CONTENT = CAMPAIGN["content"]
INTEREST = CAMPAIGN["context"]["interest"]
BAD_CAMPAIGNS = [
    ("no name", {"name": ""}, "name"),
    ("no topic", {"topic": " "}, "topic"),
    ("unknown moment", {"trigger": {"on": "arrive"}}, "trigger.on"),
    ("sensitive place", {"trigger": {"on": "enter", "geofence_kind": "sensitive"}}, "trigger.geofence_kind"),
    ("bad fence id", {"trigger": {"on": "enter", "geofence_ids": ["ok", "a b"]}}, "trigger.geofence_ids[1]"),
    ("unknown use", {"uses": ["browse", "gossip"]}, "uses[1]"),
    ("undeclared use", {"uses": []}, "context.interest.events[0]"),
    ("unknown condition", {"context": {"weather": "rain"}}, "context"),
    ("bad interest", {"context": {"interest": INTEREST | {"min_count": 0}}}, "context.interest.min_count"),
    ("bad inside of all", {"context": {"all": [{"interest": INTEREST}, {"interest": {}}]}}, "context.all[1].interest"),
    ("no title", {"content": CONTENT | {"title": ""}}, "content.title"),
    ("bad template", {"content": CONTENT | {"body": "{{ store.name"}}, "content.body"),
    ("unknown variable", {"content": CONTENT | {"body": "{{ customer.name }}"}}, "content.body"),
    ("insecure image", {"content": CONTENT | {"image_url": "http://x.example/a.png"}}, "content.image_url"),
    ("script as link", {"content": CONTENT | {"deep_link": "javascript:alert(1)"}}, "content.deep_link"),
    ("reserved data", {"content": CONTENT | {"data": {"google.x": "1"}}}, "content.data.google.x"),
    ("limit below zero", {"limits": {"cooldown_s": -1}}, "limits.cooldown_s"),
    ("unknown limit", {"limits": {"daily_cap": 9}}, "limits"),
    ("time without offset", {"valid_from": "2026-03-01T00:00:00"}, "valid_from"),
    ("ends before it begins",
     {"valid_from": "2026-03-02T00:00:00Z", "valid_until": "2026-03-01T00:00:00Z"}, "valid_until"),
    ("unknown state", {"state": "on"}, "state"),
    ("unknown schedule", {"schedule": {"cron": "* * * * *"}}, "schedule"),
    ("unknown field", {"titel": "x"}, ""),
]  # fmt: skip


async def test_a_word_that_does_not_exist_is_answered_with_those_that_do(shared):
    """Whoever misspells a word is told which words there are, whether it is a value, one of a list or a name."""
    for changes, path, words in (
        ({"trigger": {"on": "arrive"}}, "trigger.on", "enter, dwell, exit, crossed"),
        ({"schedule": {"weekdays": ["sat", "Sunday"]}}, "schedule.weekdays[1]", "mon, tue, wed, thu, fri, sat, sun"),
    ):
        answer = await shared.call("PUT", "/v1/campaigns/misspelt", CAMPAIGN | changes, who=shared.ops)
        (error,) = answer.body["errors"]
        assert (error["path"], error["message"]) == (path, f"must be one of {words}")
    lena = shared.customer("lena")
    answer = await shared.call("PATCH", "/v1/me/preferences", {"channels": {"smoke": True}}, who=lena)
    assert answer.body["errors"][0]["message"] == "must be one of push, inbox"


async def test_a_body_that_is_no_json_is_refused_with_the_line(shared):
    """Whoever leaves a comma too many in a campaign is told the line and the column."""
    body = b'{"name": "Rain jackets",\n "topic": "outdoor",\n}'
    answer = await shared.call("PUT", "/v1/campaigns/comma", body, who=shared.ops)
    assert answer.status == 400
    assert answer.body["detail"].endswith(": line 2, column 20.")


@pytest.mark.parametrize(("changes", "path"), [row[1:] for row in BAD_CAMPAIGNS], ids=[row[0] for row in BAD_CAMPAIGNS])
async def test_a_wrong_campaign_is_refused(shared, changes, path):
    """A campaign with something wrong is refused, the error points into the body, and there is no campaign."""
    answer = await shared.call("PUT", "/v1/campaigns/wrong", CAMPAIGN | changes, who=shared.ops)
    assert (answer.status, answer.body["code"]) == (422, "invalid")
    assert path in [error["path"] for error in answer.body["errors"]], answer.body["errors"]
    assert all(error["code"] and error["message"] for error in answer.body["errors"])
    assert (await shared.call("GET", "/v1/campaigns/wrong", who=shared.ops)).status == 404


@pytest.mark.parametrize("depth", [10, 100, 900, 5_000])
async def test_a_condition_without_end_is_refused(shared, depth):
    """However deep conditions are nested, the answer is a refusal or a campaign, never an error of ours."""
    condition = b'{"not":' * depth + orjson.dumps({"interest": INTEREST}) + b"}" * depth
    body = orjson.dumps(CAMPAIGN | {"context": "HERE"}).replace(b'"HERE"', condition)
    answer = await shared.call("PUT", "/v1/campaigns/deep", body, who=shared.ops)
    assert answer.status in {200, 400, 422}, answer.body
    assert depth == 10 or answer.status != 200


async def test_a_paused_campaign_is_silent(shared, store):
    """A paused campaign says nothing from its answer on, and says so; resumed, it speaks; both are versions."""
    await shared.ok("POST", "/v1/geofences/import?mode=replace", collection(around(store)), who=shared.ops)
    await shared.wait_until_matching(f"{store}-approach")
    changes = {"trigger": {"on": "enter", "geofence_ids": [f"{store}-approach"]}}
    await shared.set_up_campaign("pausing", **changes)
    for version, (verb, state, expected) in enumerate(
        [("pause", "paused", "suppress"), ("resume", "live", "send"), ("pause", "paused", "suppress")], start=2
    ):
        answer = await shared.ok("POST", f"/v1/campaigns/pausing/{verb}", who=shared.ops)
        assert (answer["state"], answer["version"]) == (state, version)
        guest = f"guest-{version}"
        await shared.opt_in(guest)
        await shared.browse(guest)
        await shared.walk_in(guest, STORE["lat"], STORE["lon"])
        await shared.settled()
        decided = [d for d in await shared.decisions(guest) if d["campaign_id"] == "pausing"]
        assert [(d["outcome"], d["campaign_version"]) for d in decided] == [(expected, version)]


# Commands -----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def command(shared, tmp_path) -> AsyncIterator[Any]:
    """Run the real command against the service's database."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GEOSERVICE_")}
    settings = environment(shared.app.settings.database_url, None, tmp_path)

    async def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        values = {name: value for name, value in (settings | more).items() if value}
        return await asyncio.to_thread(
            subprocess.run,
            [COMMAND, *map(str, arguments)],
            env=inherited | {"COLUMNS": "200", "PYTHONIOENCODING": "utf-8"} | values,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    return run


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return path


async def test_command_check(shared, command, store, tmp_path):
    """`geofences check` reads files, says what is wrong where, and changes nothing."""
    good = written(tmp_path, "good.geojson", collection(around(store, "file-1"), around(store, "file-2")))
    single = written(tmp_path, "single.geojson", codecs.BOM_UTF8 + orjson.dumps(around(store, "file-3")))
    bad = written(
        tmp_path, "bad.geojson", collection(around(store, "file-4", kind="shop"), around("nowhere", "file-5"))
    )
    before = await published(shared)
    done = await command("geofences", "check", good, single)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 geofences, no errors" in done.stdout

    done = await command("geofences", "check", good, bad)
    assert done.returncode == 1
    assert "2 problems in the upload" in done.stderr
    lines = done.stderr.splitlines()
    assert any("file-4" in line and "properties.kind" in line and "kind_unknown" in line for line in lines)
    assert any("file-5" in line and "properties.store_id" in line and "store_unknown" in line for line in lines)
    assert "Traceback" not in done.stderr
    assert await published(shared) == before


async def test_command_check_without_a_service(command, store, tmp_path):
    """Without a service, `geofences check` still checks what it can, and says what it could not."""
    good = written(tmp_path, "good.geojson", collection(around(store)))
    done = await command("geofences", "check", good, GEOSERVICE_DATABASE_URL="")
    assert done.returncode == 0, done.stderr
    assert "store ids and distances were not checked" in done.stdout


async def test_command_files_that_cannot_be_read(command, tmp_path):
    """A missing file, and one that is no JSON, are each named in a sentence; the exit code is 2."""
    broken = written(tmp_path, "broken.geojson", b'{"type": ')
    for verb in ("check", "import"):
        done = await command("geofences", verb, tmp_path / "none.geojson", broken)
        assert done.returncode == 2
        assert "none.geojson cannot be read" in done.stderr
        assert "broken.geojson is not JSON" in done.stderr


async def test_command_import(shared, command, store, tmp_path):
    """`geofences import` publishes what the API then shows; a dry run and a broken file change nothing."""
    good = written(tmp_path, "good.geojson", collection(around(store, "cli-1"), around(store, "cli-2")))
    bad = written(tmp_path, "bad.geojson", collection(around(store, "cli-3"), around(store, "cli-4", radius_m=-1)))
    before = await published(shared)
    done = await command("geofences", "import", good, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 would be created" in done.stdout
    assert "nothing was changed" in done.stdout
    done = await command("geofences", "import", bad)
    assert done.returncode == 1
    assert "cli-4" in done.stderr
    assert "properties.radius_m" in done.stderr
    assert await published(shared) == before

    done = await command("geofences", "import", good)
    assert done.returncode == 0, done.stderr
    assert "2 created" in done.stdout
    after = await published(shared)
    assert {"cli-1", "cli-2"} <= set(ids(after[0]))
    assert after[1]["items"][0]["actor"] == "cli"
    assert f"version {after[1]['items'][0]['version']}" in done.stdout


async def test_command_keys_create(shared, command):
    """`keys create` prints a key, alone on standard output, that opens what its role may; it is stored as a hash."""
    done = await command("keys", "create", "--role", "server", "--name", "till")
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert re.fullmatch(r"gsk_[0-9a-f]{12}_[\w-]{40,}", key)
    assert key not in done.stderr
    who = {"Authorization": f"Bearer {key}"}
    assert (await shared.call("PUT", "/v1/customers/of-the-till", {"loyalty_tier": "gold"}, who=who)).status == 200
    assert (await shared.call("GET", "/v1/stores", who=who)).status == 403
    rows = await shared.sql("select k::text from api_keys k")
    assert not any(key in row["k"] for row in rows)
    assert (await command("keys", "create", "--role", "king", "--name", "x")).returncode == 2


async def test_command_token(shared, command):
    """`token` prints a customer's token that the service takes, and no token for a name that cannot be."""
    done = await command("token", "--customer", "auth0|grace@example.org", "--ttl-s", "60")
    assert done.returncode == 0, done.stderr
    who = {"Authorization": f"Bearer {done.stdout.strip()}"}
    assert (await shared.call("GET", "/v1/me/consents", who=who)).status == 200
    done = await command("token", "--customer", "ada lovelace")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "customer ids have" in done.stderr


async def test_command_explain(shared, command, store):
    """`explain` tells a person why a message was sent, and puts on record who looked; an unknown id is said so."""
    await shared.ok("POST", "/v1/geofences/import?mode=replace", collection(around(store)), who=shared.ops)
    await shared.wait_until_matching(f"{store}-approach")
    await shared.set_up_campaign("explained", trigger={"on": "enter", "geofence_ids": [f"{store}-approach"]})
    await shared.opt_in("eve")
    await shared.browse("eve")
    await shared.walk_in("eve", STORE["lat"], STORE["lon"])
    (decision,) = await shared.decisions("eve")
    done = await command("explain", decision["id"], "--reason", "she asked us")
    assert done.returncode == 0, done.stderr
    for words in ("sent", "explained", "consent", "The shoes are here", "why:"):
        assert words in done.stdout
    (row,) = await shared.sql("select * from audit_log where subject = $1", decision["id"])
    assert (row["actor"], row["customer_id"], row["reason"]) == ("cli", "eve", "she asked us")
    done = await command("explain", "nothing")
    assert done.returncode == 1
    assert "no such decision" in done.stderr


async def test_command_config(command):
    """`config` prints every setting, and no secret."""
    from geoservice.config import SETTINGS

    secret_url = "postgresql://geo:s3cr3t@db.example:5432/geo?sslmode=require"
    done = await command("config", GEOSERVICE_DATABASE_URL=secret_url)
    assert done.returncode == 0, done.stderr
    assert all(f"{setting.name} = " in done.stdout for setting in SETTINGS)
    for secret in (JWT_SECRET, OPS_KEY, "s3cr3t"):
        assert secret not in done.stdout + done.stderr
    assert "db.example" in done.stdout
    done = await command("config", GEOSERVICE_PORT="eighty", GEOSERVICE_OPS_KEY="short")
    assert done.returncode == 2
    assert "GEOSERVICE_PORT must be" in done.stderr
    assert "GEOSERVICE_OPS_KEY must have" in done.stderr
    assert "Traceback" not in done.stderr


async def test_command_migrate(command):
    """`migrate` on a database that is up to date is harmless and says so; an unreachable one is a sentence."""
    done = await command("migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert "this version's tables" in done.stdout
    nowhere = "postgresql://geo:s3cr3t@127.0.0.1:1/geo"
    done = await command("migrate", GEOSERVICE_DATABASE_URL=nowhere)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cr3t" not in done.stderr
    done = await command("keys", "create", "--role", "ops", "--name", "x", GEOSERVICE_DATABASE_URL="")
    assert done.returncode == 1
    assert "start `geoservice serve` first" in done.stderr


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
