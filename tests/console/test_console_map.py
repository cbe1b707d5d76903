"""The map of geofences: what is there, uploads, drawing, versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio
from conftest import OPS_KEY
from console_browser import DESKTOP, PHONE, check_accessible, keep_picture, open_console, settled

from geoservice.demo import client as demo
from geoservice.demo.city import publish

pytestmark = pytest.mark.asyncio(loop_scope="module")

SQUARE = [[10.02, 53.55], [10.022, 53.55], [10.022, 53.551], [10.02, 53.551], [10.02, 53.55]]
BOW_TIE = [[10.02, 53.55], [10.022, 53.551], [10.022, 53.55], [10.02, 53.551], [10.02, 53.55]]


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
    await drawn(page)
    return page


async def drawn(page) -> None:
    """Wait until the map is there and has drawn its first picture."""
    await page.locator(".maplibregl-canvas").wait_for()
    await page.locator(".maplibregl-ctrl-scale").wait_for()
    await settled(page)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(shared):
    """A service with the sample city in it."""
    await publish(demo.Client(shared.app.url, shared.session, OPS_KEY, lambda _customer: ""))
    return shared


async def fences(client) -> dict[str, Any]:
    answer = await client.ok("GET", "/v1/geofences", who=client.ops)
    return {feature["id"]: feature for feature in answer["features"]}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_the_map_is_for_everybody(city, open_page, size, dark):
    """The map page holds to WCAG 2.2 AA, in both colour schemes, down to a narrow phone, and fits it."""
    page = await map_of(open_page, city, size=size, dark=dark)
    await page.get_by_role("link", name="Near Strandläufer Sport Mönckebergstraße").wait_for()
    await page.wait_for_timeout(400)
    await check_accessible(page)
    await keep_picture(page, f"map-{size['width']}-{'dark' if dark else 'light'}")
