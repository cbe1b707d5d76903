"""The access token: one refresh for everybody, ahead of its end, and no push lost or sent without it."""

from __future__ import annotations

import asyncio
import time

import pytest
from pushes import push

from geoservice.demo.fcm_stand_in import Answer
from geoservice.push.fcm import FcmSender
from geoservice.push.outcomes import Accepted, CredentialsRefused, DeadToken, NotSent, TokenDead


async def test_fifty_first_pushes_cost_one_access_token(fcm, sender):
    """Fifty pushes at once fetch one access token between them."""
    outcomes = await asyncio.gather(*(sender.send(push(number)) for number in range(50)))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert fcm.token_requests == 1


async def test_a_401_costs_one_refresh_and_the_push_goes_out(fcm, sender):
    """An access token that FCM stops accepting is replaced once, and the push is not lost."""
    await sender.send(push(1))
    fcm.revoke_access_tokens()
    outcomes = await asyncio.gather(*(sender.send(push(number)) for number in range(2, 52)))
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert fcm.token_requests == 2


@pytest.mark.parametrize(
    ("kind", "reason"), [("unauthenticated", "unauthenticated"), ("third_party_auth", "third_party_auth")]
)
async def test_a_401_that_stays_blames_the_credentials(fcm, sender, kind, reason):
    """When a new access token does not help, the credentials are at fault, at the cost of one refresh."""
    fcm.script(Answer(kind, times=1_000))
    outcomes = [await sender.send(push(number)) for number in range(10)]
    outcomes += await asyncio.gather(*(sender.send(push(number)) for number in range(50)))
    assert set(outcomes) == {CredentialsRefused(reason)}
    assert fcm.token_requests == 2


async def test_a_token_that_was_good_is_replaced_whenever_it_is_revoked(fcm, sender):
    """Revoked twice within a moment, the access token is replaced twice, and no push is lost."""
    for number in range(3):
        assert isinstance(await sender.send(push(number)), Accepted)
        fcm.revoke_access_tokens()
    assert fcm.token_requests == 3


async def test_a_token_endpoint_that_stumbles_blames_nobody(fcm, sender):
    """The access token is revoked while the endpoint is away: not now; when it is back, the push goes out."""
    await sender.send(push(1))
    fcm.revoke_access_tokens()
    fcm.script_token_endpoint(Answer("html_ok"))
    assert await sender.send(push(2)) == NotSent("token_endpoint")
    sender._access._ask_again_at_s = 0.0  # as if a second had passed
    assert isinstance(await sender.send(push(2)), Accepted)


async def test_a_token_endpoint_that_is_away_is_left_alone(fcm, sender):
    """However many pushes wait for an access token, the endpoint that has none is not asked for each."""
    fcm.script_token_endpoint(Answer("html_ok", times=1_000))
    assert {await sender.send(push(number)) for number in range(10)} == {NotSent("token_endpoint")}
    assert fcm.token_requests == 1


async def test_the_old_access_token_serves_while_there_is_no_new_one(fcm, sender):
    """The endpoint is away when it is time to renew: pushes go out with the old token, and it is not asked for each."""
    await sender.send(push(0))
    fcm.script_token_endpoint(Answer("html_ok", times=1_000))
    sender._access._refresh_at_s = time.monotonic()  # as if nine tenths of its time were over
    assert {type(await sender.send(push(number))) for number in range(1, 50)} == {Accepted}
    assert fcm.token_requests <= 3


async def test_a_slow_token_endpoint_does_not_stop_the_service(fcm, sender):
    """While Google's token endpoint is slow, everything else in the service goes on."""
    fcm.script_token_endpoint(Answer("accept", delay_s=1.5))
    sending = asyncio.create_task(sender.send(push()))
    worst_s = 0.0
    while not sending.done():
        before_s = time.perf_counter()
        await asyncio.sleep(0.005)
        worst_s = max(worst_s, time.perf_counter() - before_s)
    assert isinstance(sending.result(), Accepted)
    assert worst_s < 1


async def test_the_access_token_is_renewed_before_it_ends(account, fcm):
    """A new access token is fetched while the old one still holds: no push waits for it."""
    fcm.token_lifetime_s = 20
    sender = FcmSender(account, endpoint=fcm.base_url)
    await sender.send(push(1))
    fcm.script_token_endpoint(Answer("accept", delay_s=2))
    sender._access._refresh_at_s = time.monotonic()  # as if nine tenths of its time were over
    assert isinstance(await sender.send(push(2)), Accepted)
    assert len(fcm._access_tokens) == 1
    async with asyncio.timeout(60):
        while len(fcm._access_tokens) < 2:
            await asyncio.sleep(0.02)
    await sender.close()


@pytest.mark.parametrize(
    ("answer", "outcomes"),
    [
        (Answer("unauthenticated"), {CredentialsRefused("token_refused")}),
        (Answer("html_ok"), {NotSent("token_endpoint")}),
        (Answer("cut"), {NotSent("token_endpoint")}),
        # Two timeouts of the same length run: that of the push, and that of the HTTP call in the thread.
        (Answer("accept", delay_s=1.5), {NotSent("token_endpoint_slow"), NotSent("token_endpoint")}),
    ],
    ids=["refused", "html", "cut", "slow"],
)
async def test_without_an_access_token_nothing_is_sent(fcm, hasty, answer, outcomes):
    """When the token endpoint refuses, breaks or sleeps, FCM is not called at all."""
    fcm.script_token_endpoint(answer)
    assert await hasty.send(push()) in outcomes
    assert fcm.sends == 0


async def test_a_sender_that_gives_up_does_not_spoil_the_refresh(fcm, sender):
    """One cancelled push leaves the shared refresh to the others."""
    fcm.script_token_endpoint(Answer("accept", delay_s=0.2))
    first, second = (asyncio.create_task(sender.send(push(number))) for number in (1, 2))
    await asyncio.sleep(0.05)
    first.cancel()
    assert isinstance(await second, Accepted)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert fcm.token_requests == 1


async def test_closing_while_a_push_waits_for_its_token_is_said(fcm, sender):
    """A push that waits when the sender closes is known not to be sent."""
    fcm.script_token_endpoint(Answer("accept", delay_s=0.3))
    waiting = asyncio.create_task(sender.send(push()))
    await asyncio.sleep(0.05)
    await sender.close()
    assert await waiting == NotSent("sender_closed")
    assert fcm.sends == 0


async def test_the_account_is_checked_without_sending_anything(fcm, sender, account):
    """A check asks FCM to look at a push that it never sends: the made-up phone is blamed, our account is good."""
    assert await sender.check() == TokenDead(DeadToken.INVALID_TOKEN)
    assert (fcm.accepted, fcm.sends) == ([], 0)
    fcm.script_token_endpoint(Answer("unauthenticated"))
    impostor = FcmSender(account, endpoint=fcm.base_url)
    assert await impostor.check() == CredentialsRefused("token_refused")
    await impostor.close()
