"""The route that looks a campaign over before it is saved: what is wrong with it, and how its messages would read."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from msgspec import Struct

from geoservice.api.answers.problems import ErrorPlace
from geoservice.api.campaigns import campaign_body
from geoservice.api.routing import Call, Route, answer
from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.compiling import compile_campaign
from geoservice.decisions.preview import Preview, previews, sample_values
from geoservice.geofencing.geofence import Geofence
from geoservice.vocabulary import Role, to_jsonable
from geoservice.workflows.directory import Snapshot, as_fact
from geoservice.workflows.languages import language_of


class PreviewAnswer(Struct):
    """The campaign's messages, with the values that were made up for its variables; warnings do not keep it back."""

    previews: list[Preview]
    values: dict[str, str | int]
    warnings: list[ErrorPlace]


async def post_preview(call: Call) -> web.Response:
    """Check a campaign as saving it would, and write its messages with sample facts; nothing is stored."""
    campaign_id, spec = call.id(), await call.body(campaign_body)
    campaign = compile_campaign(campaign_id, 0, spec)
    services = call.services
    snapshot, at = services.directory.snapshot, services.clock.now()
    fence = await asyncio.to_thread(_first_heard, campaign, snapshot)  # there may be a hundred thousand
    store = snapshot.stores.get(fence.store_id) if fence is not None and fence.store_id is not None else None
    values = sample_values(campaign, as_fact(fence) if fence else None, store.name if store else None, at)
    warnings = [] if fence is not None else [_HEARS_NOTHING]
    if campaign.delicate:
        named = " and ".join(sorted(campaign.delicate))
        warnings.append(ErrorPlace("context", "delicate", f"{named}: speaks only to those who declared it"))
    return answer(
        {
            "previews": to_jsonable(list(previews(campaign, values, at, lambda tag: language_of(tag).sentences))),
            "values": values,
            "warnings": to_jsonable(warnings),
        }
    )


_HEARS_NOTHING: Final = ErrorPlace(
    "trigger", "hears_nothing", "no geofence that is in force fits, so nothing starts it"
)


def _first_heard(campaign: Campaign, snapshot: Snapshot) -> Geofence | None:
    """The first geofence that the trigger names."""
    return next((fence for fence in snapshot.catalogue.present if campaign.listens_at(as_fact(fence))), None)


ROUTES: Final = (
    Route(
        "POST",
        "/v1/campaigns/{id}/preview",
        post_preview,
        frozenset({Role.OPS}),
        body=campaign_body.type,
        answer=PreviewAnswer,
    ),
)
