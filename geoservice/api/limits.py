"""Routes of limits: the retailer's policy, and the attention budget that each customer can read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from geoservice.api.given_back import GivenBack
from geoservice.api.routing import Call, Route, answer, tag
from geoservice.decisions.attention import Level
from geoservice.decisions.facts import RetailerDefaults
from geoservice.decisions.policy import CapRule
from geoservice.vocabulary import Role
from geoservice.workflows import attention, policy
from geoservice.workflows.languages import language_of_customer
from geoservice.workflows.preferences import load_preferences

OPS: Final = frozenset({Role.OPS})
LISTED: Final = 100


class PolicyAnswer(Struct):
    """The policy in force, every field spelled out; version 0 is that of the settings."""

    version: int
    daily_cap: int
    quiet_hours: policy.QuietBody | None
    min_gap_s: int
    cooldown_s: int
    per_visit: int
    same_product_s: int
    feed_silent_s: int
    caps: list[CapRule]


_policy_body = GivenBack(policy.PolicyBody, PolicyAnswer)


class PolicyVersion(Struct):
    """What was published, by whom and when."""

    version: int
    body: dict[str, Any]
    actor: str
    published_at: datetime


class PolicyVersions(Struct):
    """Published versions, newest first."""

    items: list[PolicyVersion]


class AttentionStep(Struct):
    """One thing that counted, and the level that it led to."""

    at: datetime
    message_id: str
    what: str
    misses: int
    level: Level


class AttentionAnswer(Struct):
    """The cap in force, and how it came about."""

    level: Level
    own_daily_cap: int | None
    ladder: list[Level]
    misses: int
    steps: list[AttentionStep]
    sentence: str


async def get_policy(call: Call) -> web.Response:
    """Give the policy in force."""
    services = call.services
    return _write(await policy.policy_now(services.database, services.directory.defaults))


def _write(in_force: RetailerDefaults) -> web.Response:
    return answer(policy.write_policy(in_force), headers=tag(in_force.version))


async def put_policy(call: Call) -> web.Response:
    """Publish the next version of the policy; it holds at once."""
    body, services = await call.body(_policy_body), call.services
    defaults, at = services.directory.defaults, services.clock.now()
    return _write(await policy.publish_policy(services.database, body, defaults, call.actor.name, at, call.expected()))


async def get_policy_versions(call: Call) -> web.Response:
    """List what was published, newest first."""
    rows = await policy.versions(call.services.database, LISTED)
    return answer({"items": [dict(row) for row in rows]})


async def get_attention(call: Call) -> web.Response:
    """Give the cap in force for this customer, and its arithmetic."""
    services = call.services
    retailer = await policy.policy_now(services.database, services.directory.defaults)
    at = services.clock.now()
    budget = await attention.attention_of(services.database, call.customer_id, retailer, at)
    own = (await load_preferences(services.database, call.customer_id))[0].daily_cap
    body = msgspec.to_builtins(budget)
    say = (await language_of_customer(services.database, call.customer_id)).sentences
    return answer(body | {"own_daily_cap": own, "sentence": say.budget(budget.level, own)})


ROUTES: Final = (
    Route("GET", "/v1/me/attention", get_attention, answer=AttentionAnswer),
    Route("GET", "/v1/policy", get_policy, OPS, answer=PolicyAnswer, headers=("ETag",)),
    Route(
        "PUT",
        "/v1/policy",
        put_policy,
        OPS,
        body=_policy_body.type,
        answer=PolicyAnswer,
        headers=("ETag",),
        takes=("If-Match",),
        refuses=(412,),
    ),
    Route("GET", "/v1/policy/versions", get_policy_versions, OPS, answer=PolicyVersions),
)
