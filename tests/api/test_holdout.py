"""An experiment over HTTP: ghosts hold slots, arms are kept, operations see sizes."""

from __future__ import annotations

from datetime import timedelta

from conftest import fix


async def test_a_held_out_customer_lives_alike(service):
    """She gets nothing, her ghost counts for the cooldown, and her arm stays when the holdout is lifted."""
    await service.set_up_store()
    everybody = {"holdout_percent": 90}
    await service.set_up_campaign("shoes", context={}, uses=[], experiment=everybody)
    names = [f"c{n}" for n in range(8)]
    for name in names:
        await service.opt_in(name)
    start = service.now
    for name in names:
        await service.set_clock(start)
        await service.walk_in(name)
    await service.settled()
    found = await service.ok("GET", "/v1/campaigns/shoes/experiment", who=service.ops)
    sizes = {each["arm"]: each["customers"] for each in found["arms"]}
    assert sum(sizes.values()) == 8
    assert sizes["holdout"] > 0
    assert len(service.fcm.accepted) == sizes.get("base", 0)
    reasons = {name: (await service.decisions(name))[-1]["reason"] for name in names}
    held_out = [name for name, reason in reasons.items() if reason == "held_out"]
    assert len(held_out) == sizes["holdout"]
    await service.set_up_campaign("shoes", context={}, uses=[], experiment={"holdout_percent": 0})
    for days, expected in ((1, "campaign_cooldown"), (9, "held_out")):
        await service.set_clock(start + timedelta(days=days, minutes=-30))
        await service.ping(held_out[0], fix(service.now, 53.6, 10.0))
        await service.set_clock(start + timedelta(days=days))
        await service.walk_in(held_out[0])
        await service.settled()
        assert (await service.decisions(held_out[0]))[-1]["reason"] == expected
    await service.set_up_campaign("plain", context={}, uses=[])
    assert (await service.call("GET", "/v1/campaigns/plain/experiment", who=service.ops)).status == 404
