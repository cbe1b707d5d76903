"""How often one may call, from which pages, and what pages may load."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import NOON, Client, environment, fix, running

from geoservice.api import rates
from geoservice.api.rates import RateLimit
from geoservice.errors import TooManyRequests


async def statuses(client: Client, count: int, who: dict[str, str], path: str = "/v1/me/consents") -> list[int]:
    return [(await client.call("GET", path, who=who)).status for _ in range(count)]


@pytest.fixture
async def limited(database_url, tmp_path):
    """A service with limits."""
    settings = environment(
        database_url, None, tmp_path,
        GEOSERVICE_RATE_LIMIT_CUSTOMER="10", GEOSERVICE_RATE_LIMIT_DEVICE="1", GEOSERVICE_RATE_LIMIT_KEY="1000",
    )  # fmt: skip
    async with running(settings, None) as client:
        yield client


async def test_whoever_is_too_fast_is_told_to_wait(limited):
    """A customer over her rate gets a 429 that says when to come back; the others are answered as before."""
    ada = limited.customer("ada")
    seen = await statuses(limited, 60, ada)
    assert seen[:20] == [200] * 20
    assert seen.count(429) > 10
    while (answer := await limited.call("GET", "/v1/me/consents", who=ada)).status != 429:
        pass
    assert answer.body["code"] == "too_many_requests"
    assert int(answer.headers["Retry-After"]) >= 1
    assert await statuses(limited, 5, limited.customer("ben")) == [200] * 5


async def test_a_phone_is_limited_beside_its_owner(limited):
    """A phone that sends batch after batch is stopped, while her other phone is not."""
    who = limited.customer("ada")

    async def send(device_id: str) -> int:
        body = {"device_id": device_id, "pings": [fix(NOON, 53.5, 10)]}
        return (await limited.call("POST", "/v1/pings", body, who=who)).status

    assert [await send("loud") for _ in range(4)].count(429) >= 1
    assert await send("quiet") == 202


async def test_keys_are_limited_one_by_one(database_url, tmp_path):
    """A server over its rate is stopped; operations with another key go on."""
    settings = environment(database_url, None, tmp_path, GEOSERVICE_RATE_LIMIT_KEY="5")
    async with running(settings, None) as client:
        busy, other = await client.key("ops"), await client.key("ops")
        assert 429 in await statuses(client, 40, busy, "/v1/stores")
        assert await statuses(client, 3, other, "/v1/stores") == [200] * 3


def allowed(limit: RateLimit, caller: str, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            limit.spend(caller)
        except TooManyRequests:
            continue
        count += 1
    return count


def test_a_bucket_fills_again(monkeypatch):
    """Five a second: ten at once after a pause, then one each fifth of a second, and ten again after two seconds."""
    now = 1_000.0
    monkeypatch.setattr(rates.time, "monotonic", lambda: now)
    limit = RateLimit(5)
    assert allowed(limit, "ada", 100) == 10
    now += 0.21
    assert allowed(limit, "ada", 100) == 1
    now += 60
    assert allowed(limit, "ada", 100) == 10
    assert allowed(limit, "ben", 100) == 10


def test_no_limit_remembers_nobody():
    """Without a limit, everybody may call, and nothing is kept of it."""
    limit = RateLimit(0)
    assert allowed(limit, "ada", 1_000) == 1_000
    assert not limit._full_at


def test_a_million_callers_fit(monkeypatch):
    """However many callers come, so many are remembered and no more."""
    monkeypatch.setattr(rates, "REMEMBERED", 100)
    limit = RateLimit(1)
    for n in range(1_000):
        limit.spend(f"caller-{n}")
    assert len(limit._full_at) == 100


# Browsers -----------------------------------------------------------------------------------------------------------

SHOP = "https://shop.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


async def as_page(client: Client, method: str, path: str, origin: str, **headers: str) -> Any:
    who = client.customer("ada") | {"Origin": origin} | headers
    return await client.call(method, path, who=who)


async def test_no_page_of_elsewhere_may_call(service):
    """Without a setting, no answer lets a page of another origin read it, and a preflight is refused."""
    for method, path in (
        ("GET", "/v1/me/consents"),
        ("GET", "/healthz"),
        ("GET", "/nowhere"),
        ("OPTIONS", "/v1/events"),
    ):
        answer = await as_page(service, method, path, SHOP, **PREFLIGHT)
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert method != "OPTIONS" or answer.status == 405


async def test_named_origins_may_call(database_url, tmp_path):
    """Pages of the origins in the settings may call and read, also refusals; never with cookies, and no others."""
    settings = environment(database_url, None, tmp_path, GEOSERVICE_CORS_ORIGINS=f"{SHOP}, https://m.shop.example")
    async with running(settings, None) as client:
        preflight = await as_page(client, "OPTIONS", "/v1/events", SHOP, **PREFLIGHT)
        assert preflight.status == 204
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        for path, status in (("/v1/me/consents", 200), ("/nowhere", 404), ("/v1/stores", 401)):
            answer = await as_page(client, "GET", path, SHOP)
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == SHOP
            assert "Origin" in answer.headers["Vary"]
            assert "Access-Control-Allow-Credentials" not in answer.headers
        for origin in ("https://evil.example", "null", f"{SHOP}.evil.example", f"{SHOP}:444", SHOP.upper(), "*"):
            answer = await as_page(client, "GET", "/v1/me/consents", origin)
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert (await as_page(client, "OPTIONS", "/v1/events", origin, **PREFLIGHT)).status == 405


async def test_pages_load_nothing_from_elsewhere(service):
    """Pages say that they load their own parts only and stand in no frame; personal answers stay out of caches."""
    page = await service.call("GET", "/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "https:" not in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    for path in ("/docs", "/v1/me/consents", "/nowhere", "/metrics", "/docs/static/swagger-ui.css"):
        answer = await service.call("GET", path, who=service.customer("ada"))
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert (await service.call("GET", "/v1/me/consents", who=service.customer("ada"))).headers[
        "Cache-Control"
    ] == "no-store"
