"""Routes of what one would like to know of a campaign: a dry run, and the sizes of its experiment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from geoservice.api.campaigns import campaign_body
from geoservice.api.routing import Call, Route, answer, decode
from geoservice.decisions.campaigns import CampaignSpec, Experiment
from geoservice.errors import NotFound
from geoservice.vocabulary import Role, to_jsonable
from geoservice.workflows import publishing
from geoservice.workflows.simulate import simulate, sizes

DRY_RUN_S: Final = 30.0
"""How long a dry run looks at most; what it has found by then is its answer."""


class DryRunQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /v1/campaigns/{id}/dry-run``."""

    days: Annotated[int, Meta(ge=1, le=90)] = 7


class DryRunDay(Struct):
    """One day on the stores' clocks."""

    day: str
    sent: int
    suppressed: dict[str, int]


class DryRunExample(Struct, omit_defaults=True):
    """One moment, of nobody by name."""

    outcome: str
    at: datetime
    geofence_id: str
    sentence: str | None = None
    title: str | None = None
    body: str | None = None


class DryRunAnswer(Struct):
    """How often the campaign would have spoken, and why it would have been silent."""

    since: datetime
    until: datetime
    complete: bool
    customers: int
    sent: int
    waiting: int
    suppressed: dict[str, int]
    by_day: list[DryRunDay]
    examples: list[DryRunExample]


async def dry_run(call: Call) -> web.Response:
    """Replay a campaign over the last days: the one in the body, or the stored one; nothing is sent."""
    campaign_id, query, services = call.id(), call.query(DryRunQuery), call.services
    spec = await _spec(call, campaign_id)
    until = services.clock.now()
    report = await simulate(
        services.database,
        services.directory.snapshot,
        campaign_id,
        spec,
        since=until - timedelta(days=query.days),
        until=until,
        limit_s=DRY_RUN_S,
    )
    return answer(report.jsonable())


async def _spec(call: Call, campaign_id: str) -> CampaignSpec:
    body = await call.raw_body() if call.request.body_exists else b""
    if body.strip():
        return decode(campaign_body, body)
    return await publishing.campaign_spec(call.services.database, campaign_id)


class ArmAnswer(Struct):
    """One arm, and how many customers have drawn it. Drawn by lot, it tells nothing about them."""

    arm: str
    customers: int


class ExperimentAnswer(Struct):
    """An experiment as it stands."""

    id: str
    experiment: Experiment
    arms: list[ArmAnswer]


async def get_experiment(call: Call) -> web.Response:
    """Give a campaign's experiment, and how many customers are in each arm."""
    campaign_id = call.id()
    spec = await _spec(call, campaign_id)
    if spec.experiment is None:
        raise NotFound("This campaign has no experiment.")
    experiment_id = spec.experiment.id or campaign_id
    arms = await sizes(call.services.database, experiment_id)
    return answer({"id": experiment_id, "experiment": to_jsonable(spec.experiment), "arms": arms})


ROUTES: Final = (
    Route(
        "GET",
        "/v1/campaigns/{id}/experiment",
        get_experiment,
        frozenset({Role.OPS}),
        answer=ExperimentAnswer,
    ),
    Route(
        "POST",
        "/v1/campaigns/{id}/dry-run",
        dry_run,
        frozenset({Role.OPS}),
        body=campaign_body.type,
        query=DryRunQuery,
        answer=DryRunAnswer,
    ),
)
