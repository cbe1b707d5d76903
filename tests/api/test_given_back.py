"""What GET gives, edited, is what PUT takes."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import CAMPAIGN, STORE, ring

pytestmark = pytest.mark.asyncio(loop_scope="module")

FENCE = ring("x", 53.55, 10.0, 150) | {"properties": {"kind": "approach", "radius_m": 150, "name": "around"}}
THINGS = {
    "campaign": ("/v1/campaigns/NAME", CAMPAIGN),
    "store": ("/v1/stores/NAME", STORE),
    "product": ("/v1/products/NAME", {"name": "Runner 3", "category": "running-shoes", "variants": ["42"]}),
    "geofence": ("/v1/geofences/NAME", FENCE),
    "policy": ("/v1/policy", {"daily_cap": 1, "quiet_hours": {"start": "21:00", "end": "08:00"}}),
}


def without_version(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "version"}


@pytest.mark.parametrize(("path", "body"), THINGS.values(), ids=list(THINGS))
async def test_what_was_read_can_be_put_back(shared, who, path, body):
    """An answer sent back as it is changes nothing but its version, and an edit of it changes what was edited."""
    path = path.replace("NAME", who)
    await shared.ok("PUT", path, body, who=shared.ops)
    read = await shared.ok("GET", path, who=shared.ops)
    await shared.ok("PUT", path, read, who=shared.ops)
    again = await shared.ok("GET", path, who=shared.ops)
    assert without_version(again) == without_version(read)
    edited = read | {"daily_cap": 2} if "daily_cap" in read else read | {"name": "edited"}
    if "geofences" in path:
        edited = read | {"properties": read["properties"] | {"name": "edited"}}
    await shared.ok("PUT", path, edited, who=shared.ops)
    assert without_version(await shared.ok("GET", path, who=shared.ops)) == without_version(edited)


async def test_what_an_answer_adds_is_not_read(shared, who):
    """The path names what is put, and the service counts its versions; what else is unknown is refused as ever."""
    body = CAMPAIGN | {"id": "another", "version": 99, "paused_because": "no", "live_since": 5, "cancelled": {}}
    saved = await shared.ok("PUT", f"/v1/campaigns/{who}", body, who=shared.ops)
    assert (saved["id"], saved["version"]) == (who, 1)
    assert "paused_because" not in saved
    refused = await shared.call("PUT", f"/v1/campaigns/{who}", body | {"limit": {}}, who=shared.ops)
    assert (refused.status, "`limit`" in refused.body["errors"][0]["message"]) == (422, True)


async def test_an_old_version_can_be_put_again(shared, who):
    """What a campaign said in an earlier version is saved as its next one, as it stands in the list."""
    path = f"/v1/campaigns/{who}"
    await shared.ok("PUT", path, CAMPAIGN, who=shared.ops)
    await shared.ok("PUT", path, CAMPAIGN | {"name": "a mistake"}, who=shared.ops)
    first = (await shared.ok("GET", f"{path}/versions", who=shared.ops))["items"][-1]
    restored = await shared.ok("PUT", path, first, who=shared.ops)
    assert (restored["version"], restored["name"]) == (3, CAMPAIGN["name"])


async def test_a_stored_campaign_can_be_looked_over_and_replayed_as_it_was_read(shared, who):
    """Preview and dry run take an answer, too."""
    path = f"/v1/campaigns/{who}"
    await shared.ok("PUT", path, CAMPAIGN, who=shared.ops)
    read = await shared.ok("GET", path, who=shared.ops)
    assert (await shared.ok("POST", f"{path}/preview", read, who=shared.ops))["previews"]
    assert (await shared.ok("POST", f"{path}/dry-run", read, who=shared.ops))["complete"]
