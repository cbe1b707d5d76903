"""The catalogue over time: tables of places, versions that can be shown and restored, folders that are kept in step."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest
from conftest import STORE, Client, ring
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.asyncio(loop_scope="module")


def circle(id_: str, radius_m: float = 150, **properties: Any) -> dict[str, Any]:
    feature = ring("x", 53.55, 10.0, radius_m)
    feature["properties"] = {"id": id_, "kind": "approach", "radius_m": radius_m} | properties
    return feature


async def upload(client: Client, *features: Any, query: str = "", status: int = 200) -> Any:
    body = {"type": "FeatureCollection", "features": list(features)}
    answer = await client.call("POST", f"/v1/geofences/import{query}", body, who=client.ops)
    assert answer.status == status, answer.body
    return answer.body


async def everything(client: Client) -> list[Any]:
    return (await client.ok("GET", "/v1/geofences", who=client.ops))["features"]


async def restore(client: Client, version: int, query: str = "") -> Any:
    return await client.ok("POST", f"/v1/geofences/versions/{version}/restore{query}", who=client.ops)


async def empty(client: Client) -> int:
    """Remove every geofence; answers the version."""
    return (await upload(client, query="?mode=replace&confirm_removed=1000"))["version"]


# CSV ----------------------------------------------------------------------------------------------------------------


async def test_a_table_is_published_by_its_content_type(shared):
    """A CSV body publishes as GeoJSON does, with the same report; errors name lines and columns."""
    await empty(shared)
    table = b"id;lat;lon;radius;kind\nc1;53,55;10,0;150;approach\nc2;53,56;10,0;80;approach\n"
    headers = {"Content-Type": "text/csv; charset=utf-8"}
    body = await shared.ok("POST", "/v1/geofences/import", table, who=shared.ops, headers=headers)
    assert body["ids"]["created"] == ["c1", "c2"]
    assert [feature["id"] for feature in await everything(shared)] == ["c1", "c2"]
    again = await shared.call(
        "POST", "/v1/geofences/import", table.replace(b";80;", b";-1;"), who=shared.ops, headers=headers
    )
    assert (again.status, again.body["errors"]) == (
        422,
        [
            {
                "path": "line 3, column radius",
                "code": "radius_out_of_range",
                "message": "radius_m is a number of metres above 0 and up to 40000.",
                "feature": "c2",
            }
        ],
    )


async def test_make_valid_is_an_option(shared):
    """An outline that crosses itself is refused, and mended when the upload asks for it."""
    bow_tie = [[10, 53], [10.01, 53.01], [10.01, 53], [10, 53.01], [10, 53]]
    feature = circle("tie") | {"geometry": {"type": "Polygon", "coordinates": [bow_tie]}}
    del feature["properties"]["radius_m"]
    await upload(shared, feature, status=422)
    body = await upload(shared, feature, query="?make_valid=true&dry_run=true")
    assert [warning["code"] for warning in body["warnings"]] == ["made_valid"]


# Replace ------------------------------------------------------------------------------------------------------------


async def test_a_sweeping_replacement_must_be_confirmed(shared):
    """Removing more than half of many geofences is refused until the caller says how many are meant."""
    await empty(shared)
    await upload(shared, *(circle(f"s{n}") for n in range(30)))
    refused = await upload(shared, circle("s1"), query="?mode=replace", status=409)
    assert refused["code"] == "removal_needs_confirmation"
    await upload(shared, circle("s1"), query="?mode=replace&confirm_removed=28", status=409)
    assert len(await everything(shared)) == 30
    seen = await upload(shared, circle("s1"), query="?mode=replace&dry_run=true")
    assert seen["removed"] == 29
    assert (await upload(shared, circle("s1"), query="?mode=replace&confirm_removed=29"))["removed"] == 29


# Versions -----------------------------------------------------------------------------------------------------------


async def test_a_version_shows_what_it_changed(shared):
    """Each geofence that a version touched is shown before and after, page by page."""
    await empty(shared)
    first = await upload(shared, circle("v1"), circle("v2"), circle("v3"))
    second = await upload(shared, circle("v1"), circle("v2", 99), circle("v4"), query="?mode=replace")
    await upload(shared, circle("v2", 77))
    path = f"/v1/geofences/versions/{second['version']}"
    body = await shared.ok("GET", path, who=shared.ops)
    assert body["summary"] == {"created": 1, "changed": 1, "unchanged": 1, "removed": 1}
    changed, removed, created = body["items"]
    assert (changed["geofence_id"], changed["change"]) == ("v2", "changed")
    assert (changed["before"]["properties"]["radius_m"], changed["after"]["properties"]["radius_m"]) == (150, 99)
    assert (removed["geofence_id"], removed["change"], removed["after"]) == ("v3", "removed", None)
    assert (created["geofence_id"], created["change"], created["before"]) == ("v4", "created", None)

    page = await shared.ok("GET", path + "?limit=2", who=shared.ops)
    assert (len(page["items"]), page["next"]) == (2, "v3")
    rest = await shared.ok("GET", path + "?limit=2&after=v3", who=shared.ops)
    assert [item["geofence_id"] for item in rest["items"]] == ["v4"]
    assert "next" not in rest
    listed = await shared.ok("GET", "/v1/geofences/versions?limit=2", who=shared.ops)
    older = await shared.ok("GET", f"/v1/geofences/versions?limit=1&before={listed['next']}", who=shared.ops)
    assert older["items"][0]["version"] == first["version"]


@pytest.mark.parametrize("version", ["0", "99999999", "x", "-1", "1e3", "²"])
async def test_an_unknown_version_is_a_404(shared, version):
    """A version that was never published can be neither shown nor restored."""
    for method, path in (("GET", ""), ("POST", "/restore")):
        assert (await shared.call(method, f"/v1/geofences/versions/{version}{path}", who=shared.ops)).status == 404


FULL = circle(
    "full",
    name="Läufer & Söhne",
    tags=["city", "flagship"],
    dwell_s=120,
    floor=-1,
    beacons=[{"protocol": "eddystone-uid", "namespace": "0" * 20, "instance": "1" * 12}],
    valid_from="2026-01-01T00:00:00.123456Z",
    jurisdiction="US-WA",
    nested={"list": [1, 2.5, None, "x"], "π": 3.141592653589793},
)
STATES = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from([100.5, 150, 33.333333333]), max_size=4),
    min_size=2,
    max_size=5,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=STATES, back=st.integers(0, 4))
async def test_every_version_can_be_restored_exactly(shared, states, back):
    """Whatever was published since, a restored version has every geofence as it was, to the last digit."""
    seen = []
    for n, state in enumerate(states):
        features = [circle(key, radius_m) for key, radius_m in state.items()]
        body = await upload(shared, *features, *([FULL] if n % 2 else []), query="?mode=replace&confirm_removed=1000")
        seen.append((body["version"], await everything(shared)))
    version, then = seen[back % len(seen)]
    before = await everything(shared)
    dry = await restore(shared, version, "?dry_run=true")
    assert await everything(shared) == before
    report = await restore(shared, version)
    assert await everything(shared) == then
    assert {key: report[key] for key in ("created", "changed", "removed")} == {
        key: dry[key] for key in ("created", "changed", "removed")
    }


async def test_bringing_a_sensitive_place_back_tells_which_stores_go_dark(shared):
    """Going back to a version is publishing: it names the stores that lie in the dark again, beforehand, too."""
    await shared.ok("PUT", "/v1/stores/beside-the-clinic", STORE, who=shared.ops)
    version = (await upload(shared, circle("clinic", kind="sensitive")))["version"]
    await shared.ok("DELETE", "/v1/geofences/clinic", who=shared.ops)
    for query in ("?dry_run=true", ""):
        report = await restore(shared, version, query)
        assert "beside-the-clinic" in {w["feature"] for w in report["warnings"] if w["code"] == "store_in_the_dark"}


async def test_what_an_older_release_published_cannot_be_restored(shared):
    """Where a version's changes were not written down, going back behind it is refused, not guessed."""
    first = (await upload(shared, circle("old"), query="?mode=replace&confirm_removed=1000"))["version"]
    second = (await upload(shared, circle("old", 99)))["version"]
    await shared.sql("delete from catalogue_changes where version = $1", second)
    answer = await shared.call("POST", f"/v1/geofences/versions/{first}/restore", who=shared.ops)
    assert (answer.status, answer.body["code"]) == (409, "version_not_kept")
    assert (await restore(shared, second))["changed"] == 0


# Matchers -----------------------------------------------------------------------------------------------------------


async def there(client: Client, geofence_id: str, *, radius_m: float | None) -> None:
    """Wait until the matcher has a geofence of this radius, or none."""
    async with asyncio.timeout(60):
        while True:
            fence = client.app_directory.snapshot.fence(geofence_id)
            if (None if fence is None else fence.radius_m) == radius_m:
                return
            await asyncio.sleep(0.01)


async def test_matchers_follow_every_kind_of_change(shared):
    """Created, changed, removed, restored: the matcher holds what the API shows, whoever wrote it."""
    await empty(shared)
    first = await upload(shared, circle("m1"), circle("m2"))
    await there(shared, "m2", radius_m=150)
    await upload(shared, circle("m2", 99))
    await there(shared, "m2", radius_m=99)
    await shared.call("DELETE", "/v1/geofences/m2", who=shared.ops)
    await there(shared, "m2", radius_m=None)
    await restore(shared, first["version"])
    await there(shared, "m2", radius_m=150)
    await there(shared, "m1", radius_m=150)
    # An older release beside this one writes no changes down; its publications are seen all the same.
    newest = await upload(shared, circle("m2", 55))
    await shared.sql("delete from catalogue_changes where version = $1", newest["version"])
    await shared.sql("update directory_revisions set revision = revision + 1 where room = 'geofences'")
    await there(shared, "m2", radius_m=55)


async def test_a_geofence_may_last_until_the_end_of_time(shared):
    """The first and the last instant of the calendar bound a geofence as any other, and matchers go on."""
    ends = {"valid_from": "0001-01-01T00:00:00Z", "valid_until": "9999-12-31T23:59:59.999999Z"}
    await shared.set_clock(shared.now)
    await upload(shared, circle("endless", **ends))
    await there(shared, "endless", radius_m=150)
    stored = await shared.ok("GET", "/v1/geofences/endless", who=shared.ops)
    assert [stored["properties"][key][:4] for key in ends] == ["0001", "9999"]


async def test_geofences_begin_and_end_by_the_clock(shared):
    """A geofence is matched from valid_from until valid_until, without anybody publishing anything."""
    await shared.set_clock(shared.now)
    opens, closes = shared.now + timedelta(hours=1), shared.now + timedelta(hours=2)
    await upload(
        shared, circle("window", valid_from=opens.isoformat(), valid_until=closes.isoformat()), circle("always")
    )
    await there(shared, "always", radius_m=150)
    await there(shared, "window", radius_m=None)
    await shared.set_clock(opens)
    await there(shared, "window", radius_m=150)
    await shared.set_clock(closes)
    await there(shared, "window", radius_m=None)


# Folders ------------------------------------------------------------------------------------------------------------


async def test_a_folder_is_kept_in_step(shared, command, tmp_path):
    """What a folder names is published, what it names no more is removed, and nobody else's geofences are touched."""
    await empty(shared)
    await upload(shared, circle("theirs"), circle("adopted"))
    folder = tmp_path / "fences"
    (folder / "hamburg").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "broken.json").write_text("{")
    (folder / "notes.md").write_text("not a geofence")
    (folder / "places.csv").write_text("id,lat,lon,radius,kind\np1,53.55,10,150,approach\np2,53.56,10,150,approach\n")
    (folder / "hamburg" / "one.geojson").write_bytes(orjson.dumps(circle("adopted")))

    dry = await command("geofences", "sync", folder, "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "2 would be created" in dry.stdout
    done = await command("geofences", "sync", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"theirs", "adopted", "p1", "p2"} == {feature["id"] for feature in await everything(shared)}
    again = await command("geofences", "sync", folder)
    assert "3 unchanged" in again.stdout
    assert again.stdout.split()[-1] == done.stdout.split()[-1]

    (folder / "places.csv").write_text("id,lat,lon,radius,kind\np1,53.55,10,120,approach\n")
    (folder / "hamburg" / "one.geojson").unlink()
    done = await command("geofences", "sync", folder)
    assert done.returncode == 0, done.stderr
    assert ["1 changed" in done.stdout, "2 removed" in done.stdout] == [True, True]
    assert {"theirs", "p1"} == {feature["id"] for feature in await everything(shared)}


async def test_a_folder_with_an_error_changes_nothing(shared, command, tmp_path):
    """An error in one file stops the whole sync, and names the file and the place in it."""
    before = await everything(shared)
    (tmp_path / "good.geojson").write_bytes(orjson.dumps(circle("good")))
    (tmp_path / "places.csv").write_text("id,lat,lon,radius,kind\np9,53.55,10,wide,approach\n")
    done = await command("geofences", "sync", tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/places.csv: line 2, column radius" in done.stderr
    (tmp_path / "places.csv").unlink()
    (tmp_path / "bad.json").write_text('{"type":\n "Feature",,}')
    done = await command("geofences", "sync", tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path}/bad.json is not JSON" in done.stderr
    assert "line 2" in done.stderr
    assert await everything(shared) == before


async def test_export_and_import_give_the_same(shared, command, tmp_path):
    """What `geofences export` writes, one line each, is what `geofences import` reads."""
    await upload(shared, circle("e1"), FULL)
    before = await everything(shared)
    file = tmp_path / "all.geojson"
    assert (await command("geofences", "export", "--output", file)).returncode == 0
    assert (await command("geofences", "export")).stdout == file.read_text()
    assert len(file.read_text().splitlines()) == len(before) + 2
    done = await command("geofences", "import", "--mode", "replace", file)
    assert f"{len(before)} unchanged" in done.stdout
    assert await everything(shared) == before
