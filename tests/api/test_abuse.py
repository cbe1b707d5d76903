"""What an attacker tries beside broken bodies: invented journeys, replays, farms of phones, poisoned content."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from bad_house import soon
from conftest import CAMPAIGN, Client, fix, walk

import geoservice
from geoservice.workflows import devices

PACKAGE = Path(geoservice.__file__).parent
OPEN = {"uses": [], "context": {}}


async def shop(client: Client) -> None:
    await client.set_up_store()
    await client.set_up_campaign(**OPEN)


# Journeys that nobody made ------------------------------------------------------------------------------------------


async def test_a_lone_position_is_not_believed(service):
    """A phone that is 600 km away, for one fix in front of the store, and away again was never there: no message."""
    await shop(service)
    await service.opt_in("eve")
    away = [fix(service.now + timedelta(seconds=10 * n), 48.14, 11.58) for n in range(6)]
    away[3] |= {"lat": 53.55, "lon": 10.0}
    await service.set_clock(away[-1]["recorded_at"])
    await service.ping("eve", *away)
    await service.settled()
    assert await service.transitions("eve") == []


async def test_who_leaps_to_a_store_did_not_arrive_there(service):
    """A claim to be across the country, that a second one confirms 30 s later, puts her there, and sends nothing."""
    await shop(service)
    await service.opt_in("eve")
    before = [fix(service.now + timedelta(seconds=15 * n), 48.14, 11.58) for n in range(3)]
    leap = [fix(service.now + timedelta(seconds=60 + n), 53.55, 10.0) for n in (0, 30, 60, 90)]
    await service.set_clock(leap[-1]["recorded_at"])
    for each in (*before, *leap):
        await service.ping("eve", each)
    await service.settled()
    assert [(t["kind"], t["initial"]) for t in await service.transitions("eve")] == [("enter", True)]
    assert service.fcm.accepted == []


async def test_who_hops_from_store_to_store_gets_no_more(service):
    """A phone that claims to be at five stores far apart within minutes gets what the caps allow anybody: one."""
    for n in range(5):
        await service.set_up_store(f"store-{n}", lat=50 + n, lon=10.0)
    await service.set_up_campaign(**OPEN)
    await service.opt_in("eve")
    hops = [fix(service.now + timedelta(seconds=20 * n), 50 + n // 4, 10.0) for n in range(20)]
    await service.set_clock(hops[-1]["recorded_at"])
    await service.ping("eve", *hops)
    await service.settled()
    assert len(service.fcm.accepted) <= 1


async def test_a_phone_that_admits_to_be_mocked_is_nowhere(service):
    """Positions that the phone itself calls made up lead to no transition."""
    await shop(service)
    await service.opt_in("eve")
    path = walk(service.now, 53.55, 10.0)
    await service.set_clock(path[-1]["recorded_at"])
    receipt = await service.ping("eve", *(each | {"mock": True} for each in path))
    assert {item["reason"] for item in receipt["ignored"]} == {"mock"}
    assert await service.transitions("eve") == []


async def test_a_replayed_batch_sends_nothing_again(service):
    """The same walk sent again, at once, an hour and a day later, leads to one message."""
    await shop(service)
    await service.opt_in("eve")
    path = walk(service.now, 53.55, 10.0)
    await service.set_clock(path[-1]["recorded_at"])
    await service.ping("eve", *path)
    await service.delivered(1)
    for hours in (0, 1, 23):
        await service.pass_time(hours=hours)
        receipt = await service.ping("eve", *path)
        assert receipt["accepted"] == 0, receipt
    await service.settled()
    assert len(service.fcm.accepted) == 1


async def test_an_invented_past_sends_nothing_now(service):
    """A batch of yesterday, in order and plausible, is recorded as late and leads to no message."""
    await shop(service)
    await service.opt_in("eve")
    await service.ping("eve", *walk(service.now - timedelta(hours=20), 53.55, 10.0))
    await service.settled()
    assert all(each["late"] for each in await service.transitions("eve"))
    assert not service.fcm.accepted


# Farms --------------------------------------------------------------------------------------------------------------


async def test_phones_of_one_customer_have_an_end(service, monkeypatch):
    """Nobody collects phones without end: beyond the limit a new one is refused, by registration and by ping."""
    monkeypatch.setattr(devices, "DEVICES_MAX", 3)
    who = service.customer("eve")
    for n in range(3):
        await service.ok("PUT", f"/v1/devices/p{n}", {"platform": "ios", "push_token": f"t{n}"}, who=who)
    for method, path, body in (
        ("PUT", "/v1/devices/p3", {"platform": "ios", "push_token": "t3"}),
        ("POST", "/v1/pings", {"device_id": "p4", "pings": [fix(service.now, 53.55, 10.0)]}),
    ):
        answer = await service.call(method, path, body, who=who)
        assert (answer.status, answer.body["code"]) == (409, "too_many_devices")
    await service.ok("PUT", "/v1/devices/p1", {"platform": "ios", "push_token": "t1b"}, who=who)
    assert len(await service.sql("select from devices")) == 3


async def test_a_token_that_is_collected_again_and_again_rings_once(service):
    """Whoever registers somebody's push token takes it from her: a token is one customer's at a time."""
    for n in range(5):
        address = {"platform": "ios", "push_token": "wanted"}
        await service.ok("PUT", "/v1/devices/phone", address, who=service.customer(f"farmer-{n}"))
    holders = await service.sql("select customer_id from devices where push_token = 'wanted'")
    assert [row["customer_id"] for row in holders] == ["farmer-4"]


# Poisoned content -----------------------------------------------------------------------------------------------------

URLS = [
    "http://shop.example/a.png", "https://{{ store.name }}/a.png", "file:///etc/passwd", "gopher://127.0.0.1/",
    "https://user:pass@shop.example/a.png", "https://[::1]/a.png", "javascript:alert(1)", "data:image/png;base64,AAAA",
    "//shop", "https://shop.example\\@evil.example/", "https://", "https:/shop.example",
    "https://shop.example/" + "a" * 3_000,
]  # fmt: skip


@pytest.mark.parametrize("url", URLS, ids=[url[:40] for url in URLS])
@pytest.mark.asyncio(loop_scope="module")
async def test_an_image_comes_from_a_public_place(shared, url):
    """An image address is https with a plain host; anything that a fetcher could be led astray with is refused."""
    body = {**CAMPAIGN, "content": {**CAMPAIGN["content"], "image_url": url}}
    answer = await shared.call("PUT", "/v1/campaigns/c", body, who=shared.ops)
    assert answer.status == 422, url


def test_the_service_fetches_nothing_that_campaigns_name():
    """No code of the service opens an address from a campaign: image and link only travel on to the phone."""
    fetching = {"aiohttp.ClientSession", "urlopen", "requests.get", "httpx"}
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in fetching)
    }
    ours = {name for name in found if not name.startswith(("demo/", "bench/"))}
    assert ours <= {"api/jwks.py", "push/fcm.py"}, "is the new one's address safe?"


TEMPLATES = [
    "{{ ''.__class__.__mro__ }}", "{{ store.__init__ }}", "{% for i in (1..999999999) %}x{% endfor %}",
    "{% include 'x' %}",
    "{{ 'x' | times: 99999 }}", "{{ store.name | append: store.name | repeat: 9999999 }}", "{{", "{% raw %}",
    "{{ customer.id }}", "{{ settings.jwt_secret }}", "{% assign a = 'x' %}{{ a }}",
    "{{ 'a' | replace: 'a', 'b' }}" * 999,
]  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES, ids=[template[:40] for template in TEMPLATES])
@pytest.mark.asyncio(loop_scope="module")
async def test_a_template_is_no_program(shared, template):
    """Templates name the few things that there are; loops, includes, attributes and secrets are refused at once."""
    body = {**CAMPAIGN, "content": {"title": "t", "body": f"b {template}"}}
    with soon():
        answer = await shared.call("PUT", "/v1/campaigns/c", body, who=shared.ops)
    assert answer.status == 422, answer.body


async def test_a_name_is_no_template(service):
    """A store whose name looks like a template is shown as it is, not run."""
    await shop(service)
    store = {"name": "{{ 7 | times: 6 }}", "lat": 53.55, "lon": 10.0, "timezone": "Europe/Berlin"}
    await service.ok("PUT", "/v1/stores/harbour", store, who=service.ops)
    await service.app_directory.reload()
    await service.opt_in("eve")
    await service.walk_in("eve")
    (push,) = await service.delivered(1)
    assert "{{ 7 | times: 6 }}" in str(push)
    assert "42" not in str(push.message["notification"] if isinstance(push.message, dict) else push)


# Words that take for ever ---------------------------------------------------------------------------------------------


def patterns() -> Iterator[tuple[str, str]]:
    """Every regular expression in the package, with the file where it stands."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            first = node.args[:1] if name.startswith("re.") else []
            texts = [*first, *(word.value for word in node.keywords if word.arg == "pattern")]
            for text in texts:
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield path.relative_to(PACKAGE).as_posix(), text.value


@pytest.mark.asyncio(loop_scope="module")
async def test_a_long_name_takes_no_time(shared):
    """A field name of 100,000 characters that is made to look like the service's own words is refused at once."""
    for name in (" - at `$", "`", "value '", "unknown field `", "é"):
        body = {(name * 100_000)[:100_000]: 1}
        with soon():
            answer = await shared.call("PATCH", "/v1/me/preferences", body, who=shared.customer("eve"))
        assert (answer.status, answer.body["errors"][0]["code"]) == (422, "unknown_field")
        assert len(str(answer.body)) < 1_000


SEEDS = ("a", "0", "A0", "-", "a-", "a,", "_", ".", " ", "\n", "'", '"', "`", "[", "{", "max-age=1", "value '",
         " - at `$",          "unknown field `", "https://a", "21:00", "1,", "--", "::", ":a")  # fmt: skip


@pytest.mark.parametrize(("where", "pattern"), sorted(set(patterns())))
def test_no_expression_takes_for_ever(where, pattern):
    """No regular expression of the service can be kept busy: not by 24 characters, and not by 2,000."""
    compiled = re.compile(pattern, re.DOTALL)
    for seed in SEEDS:
        for count in (24, 2_000):
            for end in ("", "!", "\n"):
                started = time.thread_time()
                compiled.search(seed * count + end)
                compiled.fullmatch(seed * count + end)
                assert time.thread_time() - started < 0.25, (where, seed)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "piece",
    [
        "{{",
        "{{" + 200_000 * " ",
        "{{" + 20 * " " + "}}",
        "{%raw%}",
        "{% if " + 900 * "(" + " %}",
        "{{ store.name" + 90 * "|upcase" + "}}",
    ],
    ids=lambda piece: piece[:20],
)
async def test_no_template_takes_for_ever(shared, piece):
    """A text of 200,000 characters that is made to keep the templates' parser busy is refused at once."""
    content = {"title": "x", "body": piece * max(1, 200_000 // len(piece))}
    with soon():
        answer = await shared.call("PUT", "/v1/campaigns/busy", {**CAMPAIGN, "content": content}, who=shared.ops)
    assert answer.status == 422
