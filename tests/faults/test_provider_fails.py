"""The provider answers with everything in its book, slowly, in rubbish, or not at all; so does its token endpoint."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from conftest import NOON
from fault_house import House, house
from tcp_proxy import Way
from verdict import verdict

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

ANSWERS = {
    # It is theirs.
    "accept": ("accepted", "token stays"),
    # The token is dead, and so is the message to it.
    "unregistered": ("failed", "token goes"),
    "sender_id_mismatch": ("failed", "token goes"),
    "invalid_token": ("failed", "token goes"),
    # Our payload is wrong: the token is not to blame.
    "invalid_payload": ("failed", "token stays"),
    # Not now: the next try is taken.
    "unavailable": ("accepted", "token stays"),
    "unavailable_html": ("accepted", "token stays"),
    # The access token was refused: renewed, and taken.
    "unauthenticated": ("accepted", "token stays"),
    # It may have been taken: not said again.
    "internal": ("unknown", "token stays"),
    "bad_gateway_html": ("unknown", "token stays"),
    "html_ok": ("unknown", "token stays"),
    "cut": ("unknown", "token stays"),
}


async def test_every_answer_has_its_consequence(home):
    """Each answer of the table, once: how the message ends, and whether the phone's token is forgotten."""
    customers = await home.crowd(len(ANSWERS))
    asked = dict(zip(customers, ANSWERS, strict=True))
    for customer_id, kind in asked.items():
        await home.provider.script({"kind": kind}, token=f"token-{customer_id}")
    await home.arrive(customers)
    await home.at_rest()
    found = await verdict(home, customers)
    rows = await home.sql("select customer_id, push_token is null as gone from devices")
    token = {row["customer_id"]: "token goes" if row["gone"] else "token stays" for row in rows}
    ended = {asked[row["customer_id"]]: (row["state"], token[row["customer_id"]]) for row in found.rows}
    assert ended == ANSWERS


@pytest.mark.long
@pytest.mark.parametrize("kind", ["not_found", "permission_denied", "third_party_auth", "unauthenticated"])
async def test_what_is_wrong_with_our_account_costs_no_message(home, kind):
    """Project, rights or keys are refused: no token is forgotten, and once mended every message goes out."""
    customers = await home.crowd(30)
    before = await home.provider.counts()
    await home.provider.script({"kind": kind, "times": None})
    await home.arrive(customers)
    await asyncio.sleep(5)
    during = await home.provider.counts()
    assert during["accepted"] == before["accepted"]
    assert during["token_requests"] - before["token_requests"] <= 3
    await home.provider.recover()
    await home.in_state("accepted", customers, timeout_s=180)
    await verdict(home, customers)
    gone = "select customer_id from devices where push_token is null and customer_id = any($1)"
    assert not await home.sql(gone, customers)


async def test_a_slow_provider_is_waited_for(home):
    """Every answer takes a second: every message is accepted, and the event loop never waits."""
    customers = await home.crowd(100)
    await home.provider.script({"kind": "accept", "delay_s": 1, "times": None})
    await home.arrive(customers)
    await home.in_state("accepted", customers)
    await verdict(home, customers)


async def test_a_connection_cut_in_mid_call_leaves_a_doubt(home):
    """All calls under way are cut: those are in doubt and not repeated; what follows goes out."""
    customers = await home.crowd(20)
    before = (await home.provider.counts())["accepted"]
    await home.provider.script({"kind": "accept", "delay_s": 20, "times": 20})
    await home.arrive(customers)
    await home.provider.until(accepted=before + 20)
    await home.provider_way.cut()
    await home.in_state("unknown", customers)
    await home.provider.recover()
    found = await verdict(home, customers)
    assert len(found.accepted) == 20


async def test_a_provider_that_refuses_connections_is_tried_again(home):
    """Nobody listens there for a while: nothing was sent, so nothing is in doubt, and everything goes out later."""
    customers = await home.crowd(50)
    await home.provider_way.close()
    await home.arrive(customers)
    await asyncio.sleep(1)
    await home.provider_way.open()
    await home.in_state("accepted", customers)
    await verdict(home, customers)


@pytest.mark.long
@pytest.mark.parametrize("way", [Way.HALF_OPEN, Way.BLACK_HOLE])
async def test_a_way_that_swallows_is_given_up(home, way):
    """Answers, or everything, get lost without a word: in doubt after the timeout, then new connections are used."""
    home.provider_way.set(way)
    customers = await home.crowd(20)
    before = (await home.provider.counts())["accepted"]
    await home.arrive(customers)
    await home.in_state("unknown", customers, 1)
    await home.mend()
    await home.at_rest()
    found = await verdict(home, customers)
    assert found.states["unknown"] >= 1
    if way is Way.HALF_OPEN:
        assert (await home.provider.counts())["accepted"] >= before + 20


@pytest.mark.long
async def test_a_provider_that_never_answers_is_not_waited_for(home):
    """It takes every push and says nothing: those are in doubt after the timeout; once it speaks, the others go out."""
    customers = await home.crowd(40)
    await home.provider.script({"kind": "hang", "times": None})
    await home.arrive(customers)
    await home.in_state("unknown", customers, 5)
    await home.provider.recover()
    await home.at_rest()
    found = await verdict(home, customers)
    assert found.states.keys() <= {"unknown", "accepted"}


@pytest.mark.long
async def test_a_thousand_refusals_and_then_recovery(home):
    """1,000 times 503, and then it is well: every message goes out once, without anybody's help."""
    customers = await home.crowd(200)
    await home.provider.script({"kind": "unavailable", "times": 1_000})
    await home.arrive(customers)
    await home.in_state("accepted", customers, timeout_s=400)
    answers = (await home.provider.counts())["answers"]
    assert answers["unavailable"] >= 1_000
    await verdict(home, customers)


async def test_a_storm_of_401_costs_one_refresh(home):
    """The access token is revoked while 60 calls begin: one refresh serves all, and every message goes out."""
    await home.arrive(await home.crowd(1))
    customers = await home.crowd(60)
    before = (await home.provider.counts())["token_requests"]
    await home.provider.revoke_access_tokens()
    await home.arrive(customers)
    await home.in_state("accepted", customers, timeout_s=180)
    assert (await home.provider.counts())["token_requests"] - before <= 2
    await verdict(home, customers)


@pytest.mark.long
@pytest.mark.parametrize(
    "answer",
    [
        # A synchronous refresh would stop the event loop for as long.
        {"kind": "accept", "delay_s": 1.5},
        {"kind": "unavailable", "times": 3},
        {"kind": "bad_gateway_html", "times": 3},
        {"kind": "cut", "times": 3},
        {"kind": "hang", "delay_s": 4},
    ],
    ids=lambda answer: answer["kind"],
)
async def test_a_token_endpoint_that_is_slow_or_down_costs_no_message(home, answer):
    """No access token for a while: messages wait, the event loop does not, and then all go out."""
    customers = await home.crowd(40)
    await home.provider.script(answer, endpoint="token")
    await home.provider.revoke_access_tokens()
    await home.arrive(customers)
    await home.in_state("accepted", customers, timeout_s=180)
    await verdict(home, customers)


# 429 ----------------------------------------------------------------------------------------------------------------

RETRY_AFTER = {
    # At least a minute, whatever it says, and whatever says it.
    "none": (None, 60),
    "zero": ("0", 60),
    "seconds": ("7", 60),
    "a fraction": ("0.5", 60),
    "a date that is over": ("past", 60),
    "a negative number": ("-30", 60),
    "rubbish": ("soon", 60),
    "empty": ("", 60),
    "a page": ("page", 60),
    # Longer where it says so.
    "long": ("100", 100),
    "a date": ("future", 95),
    # Longer than the message lives: there is no next try.
    "for ever": ("999999999999", None),
    "a far date": ("Fri, 31 Dec 9999 23:59:59 GMT", None),
}


def header(form: str | None) -> str | None:
    """The header as it is sent; dates count from now."""
    moments = {"past": timedelta(hours=-1), "future": timedelta(seconds=100)}
    if form not in moments:
        return None if form == "page" else form
    return format_datetime(datetime.now(UTC) + moments[form], usegmt=True)


async def quota_exceeded(ours: House) -> dict[str, str]:
    customers = await ours.crowd(len(RETRY_AFTER))
    asked = dict(zip(customers, RETRY_AFTER, strict=True))
    for customer_id, name in asked.items():
        form = RETRY_AFTER[name][0]
        kind = "too_many_html" if form == "page" else "quota_exceeded"
        await ours.provider.script({"kind": kind, "retry_after": header(form)}, token=f"token-{customer_id}")
    await ours.arrive(customers)
    return asked


@pytest.mark.long
async def test_slow_down_is_obeyed_in_every_form(postgres, furnished, tmp_path):
    """429 with every form of Retry-After: no try before a minute or what it says, one soon after, none too late."""
    async with house(postgres, furnished, tmp_path, GEOSERVICE_CLOCK="steerable") as ours:
        await ours.set_clocks(NOON)
        asked = await quota_exceeded(ours)
        ends = {name for name, (_, wait_s) in RETRY_AFTER.items() if wait_s is None}
        await ours.in_state("failed", list(asked), len(ends))
        await ours.in_state("retry_wait", list(asked), len(asked) - len(ends))
        sent = (await ours.provider.counts())["sends"]
        waits = await ours.sql("select customer_id, not_before, failure from messages where state = 'retry_wait'")
        for row in waits:
            least_s = RETRY_AFTER[asked[row["customer_id"]]][1]
            assert least_s <= (row["not_before"] - NOON).total_seconds() <= 1.5 * least_s, asked[row["customer_id"]]
        await ours.set_clocks(NOON + timedelta(seconds=59))
        await asyncio.sleep(2)
        assert (await ours.provider.counts())["sends"] == sent
        await ours.set_clocks(NOON + timedelta(seconds=151))
        await ours.at_rest()
        found = await verdict(ours, list(asked))
        ended = {asked[row["customer_id"]]: row["state"] for row in found.rows}
        assert ended == {name: "failed" if name in ends else "accepted" for name in RETRY_AFTER}
