"""The retailer's policy: one document, published in versions; what it leaves out comes from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Annotated, Any

import asyncpg
import msgspec
from msgspec import UNSET, Meta, UnsetType

from geoservice.decisions.facts import QuietHours, RetailerDefaults
from geoservice.decisions.policy import RULES_MAX, WINDOW_MAX_S, CapRule, CapScope
from geoservice.errors import ErrorDetail, Invalid
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import to_jsonable
from geoservice.workflows.preconditions import ANYTHING, Expected

_sql = Queries("policy")
_directory = Queries("directory")

Seconds = Annotated[int, Meta(ge=0, le=WINDOW_MAX_S)]
LocalTime = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$(?!\n)")]
"""Hours and minutes on a wall clock, for example 21:00."""


class QuietBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Half-open [start, end) on the customer's clock; may wrap midnight."""

    start: LocalTime
    end: LocalTime


class PolicyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``PUT /v1/policy``. What is left out is as in the settings; ``quiet_hours: null`` means none."""

    daily_cap: Annotated[int, Meta(ge=0, le=100)] | UnsetType = UNSET
    quiet_hours: QuietBody | UnsetType | None = UNSET
    min_gap_s: Seconds | UnsetType = UNSET
    cooldown_s: Seconds | UnsetType = UNSET
    per_visit: Annotated[int, Meta(ge=0, le=1_000)] | UnsetType = UNSET
    same_product_s: Seconds | UnsetType = UNSET
    feed_silent_s: Annotated[int, Meta(ge=60, le=WINDOW_MAX_S)] | UnsetType = UNSET
    caps: Annotated[tuple[CapRule, ...], Meta(max_length=RULES_MAX)] = ()


def check_policy(body: PolicyBody) -> None:
    """Raise Invalid with every rule that makes no sense."""
    problems = []
    for i, rule in enumerate(body.caps):
        if (rule.within_s is None) == (rule.calendar is None):
            problems.append(ErrorDetail(f"caps[{i}]", "window", "exactly one of within_s and calendar"))
        if rule.scope is CapScope.GLOBAL and rule.of is not None:
            problems.append(ErrorDetail(f"caps[{i}].of", "no_subject", "a global rule is of nothing in particular"))
    if problems:
        raise Invalid("This policy cannot be published as it is.", details=problems)


def in_force(body: Mapping[str, Any], version: int, defaults: RetailerDefaults) -> RetailerDefaults:
    """Make a stored policy ready for decisions."""
    policy = msgspec.convert(body, PolicyBody)
    said = {name: value for name, value in msgspec.structs.asdict(policy).items() if value is not UNSET}
    quiet = said.get("quiet_hours")
    if isinstance(quiet, QuietBody):
        said["quiet_hours"] = QuietHours(time.fromisoformat(quiet.start), time.fromisoformat(quiet.end))
    return msgspec.structs.replace(defaults, **said, version=version)


def is_tighter(before: RetailerDefaults, after: RetailerDefaults) -> bool:
    """Whether what one policy allows the next one may forbid."""
    return (
        after.daily_cap < before.daily_cap
        or after.per_visit < before.per_visit
        or any(getattr(after, name) > getattr(before, name) for name in ("min_gap_s", "cooldown_s", "same_product_s"))
        or after.feed_silent_s < before.feed_silent_s
        or after.quiet_hours not in (None, before.quiet_hours)
        or not set(after.caps) <= set(before.caps)
    )


async def load_policy(connection: Connection, defaults: RetailerDefaults) -> RetailerDefaults:
    """Load the newest version; without one the settings hold."""
    row = await _sql.newest.row(connection)
    return defaults if row is None else in_force(row["body"], row["version"], defaults)


async def publish_policy(
    database: Database,
    body: PolicyBody,
    defaults: RetailerDefaults,
    actor: str,
    at: datetime,
    expected: Expected = ANYTHING,
) -> RetailerDefaults:
    """Publish the next version; it holds for every decision that begins after this answers.

    What still waits was decided under the one before: when the new one is tighter, it is not sent. Raises
    PreconditionFailed when the one before is not the ``expected`` one; that of the settings is version 0.
    """
    check_policy(body)

    async def work(connection: Connection) -> RetailerDefaults:
        await _directory.publish.value(connection, room="policy")
        before = await load_policy(connection, defaults)
        expected.check(before.version)
        stored = to_jsonable(body)
        version = await _sql.add.value(connection, body=stored, actor=actor, at=at)
        after = in_force(msgspec.convert(stored, dict[str, Any]), version, defaults)
        if is_tighter(before, after):
            await _sql.cancel_waiting.run(connection, at=at)
        await _directory.announce.value(connection, room="policy")
        return after

    return await database.run(work)


async def policy_now(database: Database, defaults: RetailerDefaults) -> RetailerDefaults:
    """Give the policy in force."""
    async with database.connection() as connection:
        return await load_policy(connection, defaults)


async def versions(database: Database, limit: int) -> list[asyncpg.Record]:
    """List what was published, newest first."""
    async with database.connection() as connection:
        return await _sql.versions.fetch(connection, limit=limit)


def write_policy(policy: RetailerDefaults) -> dict[str, Any]:
    """Write the policy in force as it is sent, every field spelled out."""
    body = msgspec.convert(to_jsonable(policy), dict[str, Any])
    quiet = policy.quiet_hours
    body["quiet_hours"] = None if quiet is None else {"start": f"{quiet.start:%H:%M}", "end": f"{quiet.end:%H:%M}"}
    return body
