"""Two people at one thing: whoever was slower is told, where it is asked for with If-Match."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import CAMPAIGN, Client, ring

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Thing:
    """Something with versions, in two states."""

    path: str
    first: dict[str, Any]
    second: dict[str, Any]


def fence(radius_m: float) -> dict[str, Any]:
    return ring("x", 53.55, 10.0, radius_m) | {"properties": {"kind": "approach", "radius_m": radius_m}}


THINGS = {
    "campaign": Thing("/v1/campaigns/NAME", CAMPAIGN, CAMPAIGN | {"name": "another"}),
    "geofence": Thing("/v1/geofences/NAME", fence(150), fence(250)),
    "policy": Thing("/v1/policy", {"daily_cap": 1}, {"daily_cap": 2}),
}
each = pytest.mark.parametrize("thing", THINGS.values(), ids=list(THINGS))
created = pytest.mark.parametrize("thing", [THINGS["campaign"], THINGS["geofence"]], ids=["campaign", "geofence"])


async def put(client: Client, path: str, body: Any, **headers: str) -> Any:
    return await client.call(
        "PUT", path, body, who=client.ops, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


async def read(client: Client, path: str) -> Any:
    return await client.call("GET", path, who=client.ops)


@each
async def test_of_two_who_read_the_same_the_slower_is_told(shared, who, thing):
    """A change that names an older version is a 412 and changes nothing; each answer has the version to name."""
    path = thing.path.replace("NAME", who)
    first = await put(shared, path, thing.first)
    assert first.status == 200, first.body
    assert (await read(shared, path)).headers["ETag"] == first.headers["ETag"]
    second = await put(shared, path, thing.second, If_Match=first.headers["ETag"])
    assert second.status == 200, second.body
    before = await read(shared, path)
    late = await put(shared, path, thing.first, If_Match=first.headers["ETag"])
    assert (late.status, late.body["code"]) == (412, "precondition_failed")
    assert (await read(shared, path)).body == before.body
    assert before.headers["ETag"] == second.headers["ETag"] != first.headers["ETag"]
    again = await put(shared, path, thing.second, If_Match=second.headers["ETag"])
    assert again.status == 200
    assert again.headers["ETag"] == (await read(shared, path)).headers["ETag"]


@created
async def test_what_is_there_is_not_created_again(shared, who, thing):
    """If-None-Match: * creates and never replaces; If-Match: * replaces and never creates."""
    path = thing.path.replace("NAME", f"{who}-new")
    assert (await put(shared, path, thing.first, If_Match="*")).status == 412
    assert (await read(shared, path)).status == 404
    assert (await put(shared, path, thing.first, If_None_Match="*")).status == 200
    assert (await put(shared, path, thing.second, If_None_Match="*")).status == 412
    assert (await put(shared, path, thing.second, If_Match="*")).status == 200


async def test_of_eight_at_once_one_wins(shared, who):
    """Eight saves of the same version, at once, are one save and seven 412."""
    path = f"/v1/campaigns/{who}"
    tag = (await put(shared, path, CAMPAIGN)).headers["ETag"]
    saves = [put(shared, path, CAMPAIGN | {"name": f"save {n}"}, If_Match=tag) for n in range(8)]
    assert sorted(answer.status for answer in await asyncio.gather(*saves)) == [200] + [412] * 7


async def test_a_form_from_before_does_not_resume_what_paused(shared, who):
    """Pausing is a new version, too: saving the campaign as it was read live is a 412, no resumption."""
    path = f"/v1/campaigns/{who}"
    tag = (await put(shared, path, CAMPAIGN)).headers["ETag"]
    paused = await shared.call("POST", f"{path}/pause", who=shared.ops)
    assert paused.headers["ETag"] != tag
    assert (await put(shared, path, CAMPAIGN, If_Match=tag)).status == 412
    assert (await read(shared, path)).body["state"] == "paused"


async def test_a_geofence_that_was_moved_is_not_removed_unseen(shared, who):
    """DELETE with an older version is a 412; with the present one the geofence goes."""
    path = f"/v1/geofences/{who}"
    old = (await put(shared, path, fence(150))).headers["ETag"]
    new = (await put(shared, path, fence(250))).headers["ETag"]
    late = await shared.call("DELETE", path, who=shared.ops, headers={"If-Match": old})
    assert late.status == 412
    assert (await shared.call("DELETE", path, who=shared.ops, headers={"If-Match": new})).status == 204
