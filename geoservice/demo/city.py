"""The sample city: its stores, geofences and campaigns, published over HTTP as store operations would."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from geoservice.demo.client import Client
from geoservice.demo.shop import ITEMS, NOTICE, NOTICE_BODY
from geoservice.errors import NotReady

RETAILER: Final = "Strandläufer Sport"
MATCHING_TIMEOUT_S: Final = 10.0

LATE_NIGHT: Final = {"hh-moenckebergstrasse": "2026 Mar 13 10:00-24:00"}
"""The long shopping night: opening hours in force on one date only."""


class Place(NamedTuple):
    """Where a store is, degrees."""

    store_id: str
    name: str
    lat: float
    lon: float


class City(NamedTuple):
    """What was published."""

    places: dict[str, Place]
    geofences: int


def _campaign(topic: str, category: str, title: str, body: str, *only_at: str, **interest: Any) -> dict[str, Any]:
    """A campaign for people who come near a store; ``only_at`` names approach fences, none are all."""
    return {
        "name": f"Near a store after looking at {category.replace('-', ' ')}",
        "topic": topic,
        "trigger": {"on": "enter", "geofence_kind": "approach"} | ({"geofence_ids": only_at} if only_at else {}),
        "uses": ["browse"],
        "context": {"interest": {"category": category, "not_purchased": True, **interest}},
        "content": {"title": title, "body": body},
    }


CAMPAIGNS: Final[dict[str, dict[str, Any]]] = {
    "running-shoes": _campaign(
        "running", "running-shoes",
        "Running shoes, just around the corner",
        "You looked at {{ interest.category }} on {{ interest.date }}. "
        "Try them on at {{ store.name }}, you are almost there.",
        events=["product_viewed", "wishlisted"], min_count=2, within_days=30,
    ),
    "rain-jackets": _campaign(
        "outdoor", "rain-jackets",
        "The rain jacket from your wish list",
        "{{ store.name }} is near and dry inside: try on a rain jacket there.",
        events=["wishlisted"], min_count=1, within_days=30,
    ),
    "backpacks": _campaign(
        "outdoor", "backpacks",
        "Backpacks at the station",
        "Before your train: see the backpacks at {{ store.name }}.",
        "hh-hauptbahnhof-approach",
        events=["product_viewed"], min_count=2, within_days=30,
    ),
}  # fmt: skip


async def publish(client: Client) -> City:
    """Publish stores, products, campaigns and geofences, in this order, and wait until all are matched against."""
    stores = _features("stores.geojson")
    for feature in stores:
        await client.call("PUT", f"/v1/stores/{feature['properties']['id']}", _store_body(feature))
    for item in ITEMS:
        product = {"name": item.name, "category": item.category}
        await client.call("PUT", f"/v1/products/{item.id}", product)
    await client.call("PUT", f"/v1/notices/{NOTICE}", NOTICE_BODY)
    for campaign_id, campaign in CAMPAIGNS.items():
        await client.call("PUT", f"/v1/campaigns/{campaign_id}", campaign)
    geofences = _features("geofences.geojson")
    await client.call("POST", "/v1/geofences/import", {"type": "FeatureCollection", "features": geofences})
    await _until_matching(client, len(geofences))
    return City({place.store_id: place for place in map(_place, stores)}, len(geofences))


def _features(name: str) -> list[dict[str, Any]]:
    features: list[dict[str, Any]] = orjson.loads((sample_folder() / name).read_bytes())["features"]
    return features


def sample_folder() -> Path:
    """Find the sample data: inside the package when it was installed, at the top of a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "geofences", here.parents[1] / "geofences"):
        if (folder / "stores.geojson").is_file():
            return folder
    raise NotReady(f"The sample city is missing: neither {here} nor {here.parents[1]} has a folder geofences.")


def _store_body(feature: dict[str, Any]) -> dict[str, Any]:
    body = dict(feature["properties"])
    if extra := LATE_NIGHT.get(body.pop("id")):
        body["opening_hours"] += f"; {extra}"
    lon, lat = feature["geometry"]["coordinates"]
    return {**body, "lat": lat, "lon": lon}


def _place(feature: dict[str, Any]) -> Place:
    lon, lat = feature["geometry"]["coordinates"]
    properties = feature["properties"]
    return Place(properties["id"], properties["name"].removeprefix(f"{RETAILER} "), lat, lon)


async def _until_matching(client: Client, geofences: int) -> None:
    """Matchers hear of publications a moment later; the last thing published is the last they load."""
    try:
        async with asyncio.timeout(MATCHING_TIMEOUT_S):
            while f"\ngeoservice_geofences {float(geofences)}\n" not in await client.call("GET", "/metrics"):  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise NotReady(f"The {geofences} sample geofences were not in force in time.") from None
