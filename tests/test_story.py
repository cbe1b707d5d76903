"""The shoe story, from a ping to a push."""

from conftest import fix, ring


async def test_browse_then_near_the_store_is_one_message(service):
    """She looked at running shoes, allowed it, and walks by: one push, with a why, and a readable decision."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in("ada")
    await service.browse("ada")
    receipt = await service.walk_in("ada")
    assert receipt == {"accepted": 10, "duplicates": 0, "ignored": [], "rejected": []}
    (push,) = await service.delivered(1)
    assert push.title == "The shoes are here"
    (decision,) = await service.decisions("ada")
    assert decision["outcome"] == "send"
    (message,) = (await service.ok("GET", "/v1/me/messages", who=service.customer("ada")))["items"]
    assert message["why"]["summary"]


async def test_a_sensitive_place_is_never_tracked(service):
    """A fix whose disc touches a sensitive place or its buffer is dropped, and presence ends silently."""
    await service.set_up_store()
    clinic = ring("harbour", 53.55, 10.02, 50)
    clinic["properties"] |= {"id": "clinic", "kind": "sensitive"}
    await service.ok("PUT", "/v1/geofences/clinic", clinic, who=service.ops)
    await service.wait_until_matching("clinic")
    await service.opt_in("ada")
    await service.walk_in("ada")
    inside = await service.ok("GET", "/v1/me/presence", who=service.customer("ada"))
    assert [item["state"] for item in inside["items"]] == ["inside"]
    await service.pass_time(minutes=10)
    receipt = await service.ping("ada", fix(service.now, 53.5545, 10.02))  # 500 m from the clinic
    assert receipt["ignored"] == [{"index": 0, "reason": "sensitive_place"}]
    inside = await service.ok("GET", "/v1/me/presence", who=service.customer("ada"))
    assert inside["items"] == []
    assert [item["kind"] for item in await service.transitions("ada")] == ["enter"]
