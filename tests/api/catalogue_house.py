"""What an upload of geofences is made of, and what a publication could have changed."""

from __future__ import annotations

from typing import Any

from conftest import STORE, Client, ring


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


def ids(body: dict[str, Any]) -> list[str]:
    return sorted(feature["properties"]["id"] for feature in body["features"])
