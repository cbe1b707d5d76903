"""The map of geofences: what is there, uploads, drawing, versions."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

import pytest
from console_browser import DESKTOP, PHONE, check_accessible, go_to, keep_picture, look_name, open_console, settled
from playwright.async_api import TimeoutError as StillWaiting
from playwright.async_api import expect
from shapely.geometry import shape

pytestmark = pytest.mark.asyncio(loop_scope="module")

SQUARE = [[10.02, 53.55], [10.022, 53.55], [10.022, 53.551], [10.02, 53.551], [10.02, 53.55]]
BOW_TIE = [[10.02, 53.55], [10.022, 53.551], [10.022, 53.55], [10.02, 53.551], [10.02, 53.55]]
FLAGSHIP = "hh-moenckebergstrasse-approach"


def area(id_: str, corners: Any, **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [corners]},
        "properties": {"id": id_, "name": id_.capitalize(), "kind": "store", **properties},
    }


def as_file(*features: dict[str, Any], name: str = "fences.geojson") -> dict[str, Any]:
    text = json.dumps({"type": "FeatureCollection", "features": features})
    return {"name": name, "mimeType": "application/geo+json", "buffer": text.encode()}


async def map_of(open_page, client, place: str = "map", **how: Any):
    page = await open_console(open_page, client, place, **how)
    await page.locator(".maplibregl-canvas").wait_for()
    await settled(page)
    return page


async def same_map(open_page, client, place: str = "map", **how: Any):
    """The page of the test before: a map is slow to begin without a graphics card."""
    return await map_of(open_page, client, place, kept="map", **how)


async def fences(client) -> dict[str, Any]:
    answer = await client.ok("GET", "/v1/geofences", who=client.ops)
    return {feature["id"]: feature for feature in answer["features"]}


async def newest(client) -> int:
    answer = await client.ok("GET", "/v1/geofences/versions?limit=1", who=client.ops)
    return answer["items"][0]["version"]


# What is there -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, False), (PHONE, True)], ids=["desktop", "phone"])
async def test_the_map_is_for_everybody(city, open_page, size, dark):
    """The map and its panels hold to WCAG 2.2 AA, on a desktop and on a narrow phone in the dark, and fit there."""
    page = await map_of(open_page, city, size=size, dark=dark)
    await page.locator("[data-drawn]").wait_for()
    for name, place, heading in [
        ("map", "map", "Map"),
        ("fence", f"map/fence/{FLAGSHIP}", "Near Strandläufer Sport Mönckebergstraße"),
        ("edit", f"map/fence/{FLAGSHIP}/edit", "Edit Near Strandläufer Sport Mönckebergstraße"),
        ("new", "map/new", "New geofence"),
        ("upload", "map/upload", "Upload"),
        ("versions", "map/versions", "Versions"),
        ("version", f"map/versions/{await newest(city)}", "Version "),
        ("gone", "map/fence/nobody-drew-this", "Not there"),
    ]:
        await go_to(page, place)
        await page.get_by_role("heading", level=1, name=heading).wait_for()
        await settled(page)
        await check_accessible(page)
        await keep_picture(page, f"{name}-{look_name(size, dark)}")


async def test_search_finds_by_name_store_and_tag(city, open_page):
    """Typing narrows the list to what has all of the words, in its name, its store, its id or its tags."""
    page = await map_of(open_page, city)
    await page.get_by_label("Search geofences").fill("flagship")
    listed = page.get_by_role("list", name="Geofences").get_by_role("link")
    await page.get_by_role("status").get_by_text("2 geofences").wait_for()
    await page.get_by_role("button", name="Approach").click()
    await page.get_by_role("status").get_by_text("1 geofence", exact=True).wait_for()
    await listed.click()
    await page.get_by_role("heading", name="Strandläufer Sport Mönckebergstraße").wait_for()
    assert "map/fence/hh-moenckebergstrasse-store" in page.url


async def test_a_click_on_the_map_opens_the_smallest_fence_there(city, open_page):
    """Clicking into nested fences opens the innermost, which no other way on the map leads to."""
    page = await same_map(open_page, city, f"map/fence/{FLAGSHIP}")
    box = await page.locator(".map-canvas").bounding_box()
    innermost = re.compile("moenckebergstrasse-(running|store)$")
    async with asyncio.timeout(60):
        while not innermost.search(page.url):  # a map that is still being drawn has nothing to click on
            await page.mouse.click(box["x"] + box["width"] / 2 - 40, box["y"] + box["height"] / 2)
            with suppress(StillWaiting):
                await page.wait_for_url(innermost, timeout=200)


# Uploads -------------------------------------------------------------------------------------------------------------


async def test_a_broken_upload_is_shown_and_a_mended_one_goes_live(city, open_page):
    """Each error is listed with its feature and pinned to its place on the map; the mended file is published."""
    page = await same_map(open_page, city, complaints_meant=["422"])
    before = await fences(city)
    await page.get_by_role("link", name="Upload").click()
    broken = as_file(
        area("kiosk", BOW_TIE), area("arcade", SQUARE[:-1]), area("harbour", SQUARE, store_id="hh-nowhere")
    )
    await page.get_by_label("GeoJSON or CSV file").set_input_files(broken)
    await page.get_by_text("3 things to mend; nothing was changed").wait_for()
    await page.get_by_text("The boundary crosses or touches itself").wait_for()
    await page.get_by_text("features[1].geometry.coordinates[0][3]").wait_for()
    await expect(page.locator(".map-mark")).to_have_text(["1", "2", "3"])
    await page.get_by_role("button", name="Show on the map: kiosk").click()
    await check_accessible(page)
    await keep_picture(page, "upload-broken-1280-light")
    assert await fences(city) == before

    mended = as_file(area("kiosk", SQUARE))
    await page.get_by_label("GeoJSON or CSV file").set_input_files(mended)
    await page.get_by_role("heading", name="What would change").wait_for()
    await keep_picture(page, "upload-mended-1280-light")
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_text("is live: 1 created").wait_for()
    assert set(await fences(city)) == {*before, "kiosk"}


async def test_a_file_that_is_dropped_on_the_map_is_checked(city, open_page):
    """A table dropped on the page, beside the map too, is checked, and an error is pinned where its line lies."""
    page = await same_map(open_page, city, complaints_meant=["422"])
    table = "id,name,lat,lon,radius\nquay,Quay,53.541,9.992,120\npier,Pier,53.546,9.966,0\n"
    await page.evaluate(
        """table => {
            const files = new DataTransfer();
            files.items.add(new File([table], "places.csv", { type: "text/csv" }));
            for (const type of ["dragover", "drop"]) {
                const event = new DragEvent(type, { dataTransfer: files, bubbles: true, cancelable: true });
                document.querySelector(".map-panel").dispatchEvent(event);
            }
        }""",
        table,
    )
    await page.get_by_text("line 3, column radius").wait_for()
    await expect(page.locator(".map-mark")).to_have_text(["1"])  # drawn a moment later than the list
    assert "quay" not in await fences(city)


async def test_a_file_that_is_no_json_is_told_by_its_line(city, open_page):
    """A file with a comma too many is refused, and the line that breaks it is named."""
    page = await same_map(open_page, city, "map/upload", complaints_meant=["400"])
    text = '{"type": "FeatureCollection",\n "features": [\n  ,\n ]}\n'
    await page.get_by_label("GeoJSON or CSV file").set_input_files(
        {"name": "broken.geojson", "mimeType": "application/geo+json", "buffer": text.encode()}
    )
    await page.get_by_text("line 3, column 3").wait_for()


async def test_replacing_everything_asks_first(city, open_page):
    """A file that would remove fences says how many, and asks before it does."""
    page = await same_map(open_page, city, "map/upload")
    before = await fences(city)
    await page.get_by_label("GeoJSON or CSV file").set_input_files(as_file(area("kiosk", SQUARE)))
    await page.get_by_label("Replace everything by this file").check()
    await page.get_by_text("Removed").wait_for()
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_role("heading", name="Remove ").wait_for()
    await page.keyboard.press("Escape")
    assert await fences(city) == before


# Drawing -------------------------------------------------------------------------------------------------------------


async def test_an_area_is_drawn_corner_by_corner(city, open_page):
    """Clicking corners on the map makes an area, which is published; whoever enters it is seen in the live view."""
    page = await map_of(open_page, city, "map/new")
    await page.get_by_label("Name").fill("Market square")
    await page.get_by_label("Kind").select_option("store")
    await page.get_by_role("button", name="Area").click()
    box = await page.locator(".map-canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for corner in [(x, y), (x + 60, y), (x + 60, y + 50), (x, y + 50), (x, y)]:
        await page.mouse.move(*corner, steps=3)
        await page.mouse.click(*corner)
    await page.get_by_label("Corners").wait_for()
    await keep_picture(page, "drawing-1280-light")
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_text("Market square is live").wait_for()
    drawn = (await fences(city))["market-square-store"]
    assert drawn["properties"]["kind"] == "store"
    assert len(drawn["geometry"]["coordinates"][0]) == 5
    await city.wait_until_matching("market-square-store")
    await page.get_by_role("link", name="Live").click()
    await page.get_by_text("Watching").wait_for()
    middle = shape(drawn["geometry"]).representative_point()
    await city.opt_in("ines")
    await city.walk_in("ines", lat=middle.y, lon=middle.x)
    feed = page.get_by_role("list", name="What happened, newest first")
    await feed.get_by_text("Market square").first.wait_for()


async def test_a_geofence_that_was_changed_meanwhile_is_not_overwritten_unseen(city, open_page):
    """When somebody else has changed the geofence while she edits it, publishing asks first."""
    id_ = "hh-bergedorf-store"
    page = await same_map(open_page, city, f"map/fence/{id_}/edit", complaints_meant=["412"])
    await page.get_by_label("Name").fill("Mine")
    theirs = (await fences(city))[id_]
    theirs["properties"]["name"] = "Theirs"
    await city.ok("PUT", f"/v1/geofences/{id_}", theirs, who=city.ops)
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_role("heading", name="Somebody else has changed it meanwhile").wait_for()
    assert (await fences(city))[id_]["properties"]["name"] == "Theirs"
    await page.get_by_role("button", name="Publish mine over it").click()
    await page.get_by_text("Mine is live").wait_for()
    assert (await fences(city))[id_]["properties"]["name"] == "Mine"


async def test_what_is_refused_is_told_at_its_field(city, open_page):
    """An outline that crosses itself and a tag that is too long are each told where they were typed."""
    before = await fences(city)
    page = await same_map(open_page, city, "map/fence/hh-moenckebergstrasse-store/edit", complaints_meant=["422"])
    await page.get_by_label("Corners").fill("\n".join(f"{lat}, {lon}" for lon, lat in BOW_TIE[:-1]))
    await page.get_by_label("Tags").fill("x" * 65)
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_role("group", name="Shape").get_by_text("The boundary crosses or touches itself").wait_for()
    await expect(page.get_by_label("Tags")).to_have_attribute("aria-invalid", "true")
    assert await fences(city) == before


async def test_a_circle_is_made_with_the_keyboard_alone(city, open_page):
    """Who cannot draw chooses a store and types a radius: the same geofence, without a pointer."""
    page = await same_map(open_page, city, "map/new")
    await page.get_by_label("Store").select_option("hh-bergedorf")
    await page.get_by_label("Kind").select_option("sensitive")
    await page.get_by_label("Name").fill("Clinic at the market")
    await page.get_by_label("Radius (m)").fill("90")
    await page.get_by_label("Radius (m)").press("Tab")
    await page.get_by_role("button", name="Publish").press("Enter")
    await page.get_by_text("Clinic at the market is live").wait_for()
    made = (await fences(city))["hh-bergedorf-sensitive"]
    assert made["geometry"] == {"type": "Point", "coordinates": [10.2112, 53.4887]}
    assert made["properties"]["radius_m"] == 90


async def test_an_edit_changes_what_it_says_and_keeps_the_rest(city, open_page):
    """Editing a department's name keeps its beacons, its floor and its shape."""
    id_ = "hh-moenckebergstrasse-running"
    before = (await fences(city))[id_]
    page = await same_map(open_page, city, f"map/fence/{id_}/edit")
    await page.get_by_label("Name").fill("Running, first floor")
    await page.get_by_role("button", name="Publish").click()
    await page.get_by_text("Running, first floor is live").wait_for()
    after = (await fences(city))[id_]
    assert after["geometry"] == before["geometry"]
    assert after["properties"] == before["properties"] | {"name": "Running, first floor"}


# Versions ------------------------------------------------------------------------------------------------------------


async def test_an_earlier_version_comes_back(city, open_page):
    """A fence that was removed comes back by restoring the version before, after saying what would change."""
    there, before = await newest(city), await fences(city)
    page = await same_map(open_page, city, f"map/fence/{FLAGSHIP}")
    await page.get_by_role("button", name="Remove").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await page.get_by_text("was removed").wait_for()
    assert FLAGSHIP not in await fences(city)

    await page.get_by_role("link", name="Versions").click()
    await page.get_by_role("link", name=f"Version {there}", exact=False).click()
    await page.get_by_role("button", name="Restore this version").click()
    await page.get_by_role("dialog").get_by_text("Created").wait_for()
    await check_accessible(page)
    await keep_picture(page, "restore-1280-light")
    await page.get_by_role("dialog").get_by_role("button", name="Restore").click()
    await page.get_by_text(f"as in version {there} again").wait_for()
    assert await fences(city) == before


# Size ----------------------------------------------------------------------------------------------------------------

FIRST_LOAD_BYTES = 1_000_000


async def test_the_first_load_is_small(city, open_page):
    """Opening the map for the first time loads less than a megabyte besides the map library, packed as it comes."""
    page = await map_of(open_page, city)
    sizes = await page.evaluate(
        "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".map(each => [each.name, each.encodedBodySize])"
    )
    ours = {name: size for name, size in sizes if "/maplibre" not in name and "/v1/" not in name}
    assert len(ours) >= 5
    assert all(ours.values())
    assert sum(ours.values()) < FIRST_LOAD_BYTES, ours
