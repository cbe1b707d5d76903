"""Routes of campaigns, and of whatever makes them fall silent at once."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from geoservice.api import schemas
from geoservice.api.answers import campaigns as answers
from geoservice.api.given_back import GivenBack
from geoservice.api.routing import Call, Route, answer, tag
from geoservice.decisions.campaigns import CampaignSpec, CampaignState
from geoservice.vocabulary import Role
from geoservice.workflows import publishing

OPS: Final = frozenset({Role.OPS})

campaign_body: Final = GivenBack(CampaignSpec, answers.CampaignAnswer, answers.CampaignVersion, answers.PausedAnswer)


async def put_campaign(call: Call) -> web.Response:
    """Create a campaign or its next version; all that is wrong with it is said at once."""
    spec, services = await call.body(campaign_body), call.services
    return _write(
        await publishing.save_campaign(services.database, call.id(), spec, services.clock.now(), call.expected())
    )


async def get_campaigns(call: Call) -> web.Response:
    """List every campaign in its newest version."""
    return answer({"items": await publishing.campaigns(call.services.database)})


async def get_campaign(call: Call) -> web.Response:
    """Give one campaign in its newest version."""
    return _write(await publishing.campaign(call.services.database, call.id()))


def _write(campaign: dict[str, Any]) -> web.Response:
    return answer(campaign, headers=tag(campaign["version"]))


async def get_campaign_versions(call: Call) -> web.Response:
    """List a campaign as it was in each of its versions, newest first; every decision names its version."""
    query = call.query(schemas.VersionsQuery)
    items = await publishing.campaign_versions(call.services.database, call.id(), query.before, query.limit + 1)
    body: dict[str, Any] = {"items": items[: query.limit]}
    if len(items) > query.limit:
        body["next"] = str(items[query.limit - 1]["version"])
    return answer(body)


async def pause_campaign(call: Call) -> web.Response:
    """Silence a campaign, at once and in every process; what has not left is cancelled."""
    return await _set_state(call, CampaignState.PAUSED)


async def resume_campaign(call: Call) -> web.Response:
    """Let a campaign speak again."""
    return await _set_state(call, CampaignState.LIVE)


async def _set_state(call: Call, state: CampaignState) -> web.Response:
    services = call.services
    return _write(await publishing.set_campaign_state(services.database, call.id(), state, services.clock.now()))


async def mute_store(call: Call) -> web.Response:
    """Send nothing about a store until its local midnight; what has not left is cancelled."""
    services = call.services
    until = await publishing.mute_store(services.database, call.id(), services.clock.now())
    return answer({"id": call.id(), "muted_until": until})


async def unmute_store(call: Call) -> web.Response:
    """Take a mute back."""
    await publishing.unmute_store(call.services.database, call.id())
    return answer({"id": call.id(), "muted_until": None})


ROUTES: Final = (
    Route(
        "PUT",
        "/v1/campaigns/{id}",
        put_campaign,
        OPS,
        body=campaign_body.type,
        answer=answers.CampaignAnswer,
        headers=("ETag",),
        takes=("If-Match", "If-None-Match"),
        refuses=(412,),
    ),
    Route("GET", "/v1/campaigns", get_campaigns, OPS, answer=answers.CampaignsAnswer),
    Route("GET", "/v1/campaigns/{id}", get_campaign, OPS, answer=answers.CampaignAnswer, headers=("ETag",)),
    Route(
        "GET",
        "/v1/campaigns/{id}/versions",
        get_campaign_versions,
        OPS,
        query=schemas.VersionsQuery,
        answer=answers.CampaignVersionsAnswer,
    ),
    Route("POST", "/v1/campaigns/{id}/pause", pause_campaign, OPS, answer=answers.PausedAnswer, headers=("ETag",)),
    Route("POST", "/v1/campaigns/{id}/resume", resume_campaign, OPS, answer=answers.CampaignAnswer, headers=("ETag",)),
    Route("POST", "/v1/stores/{id}/mute", mute_store, OPS, answer=answers.MuteAnswer),
    Route("POST", "/v1/stores/{id}/unmute", unmute_store, OPS, answer=answers.MuteAnswer),
)
