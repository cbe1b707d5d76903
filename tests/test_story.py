"""The shoe story, from a ping to a push."""


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
