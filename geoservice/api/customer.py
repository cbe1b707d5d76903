"""Routes of the customer: consents and preferences."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from geoservice.api import schemas
from geoservice.api.answers import settings as answers
from geoservice.api.mobile import refuse_unknown_zone
from geoservice.api.routing import Call, Route, answer, tag
from geoservice.decisions.facts import Preferences
from geoservice.errors import ErrorDetail, Invalid, NotFound
from geoservice.vocabulary import Purpose, to_jsonable
from geoservice.workflows import consents
from geoservice.workflows.preferences import change_preferences, load_preferences

_consent_body = msgspec.json.Decoder(schemas.ConsentBody)
_preferences_body = msgspec.json.Decoder(schemas.PreferencesBody)


async def get_consents(call: Call) -> web.Response:
    """List every purpose with the record in force; one that was never answered is not granted."""
    rows = {row["purpose"]: row for row in await consents.consents(call.services.database, call.customer_id)}
    items = [
        schemas.as_json(rows[purpose.value]) if purpose.value in rows else {"purpose": purpose.value, "granted": False}
        for purpose in Purpose
    ]
    return answer({"items": items})


async def put_consent(call: Call) -> web.Response:
    """Give or withdraw one consent. It holds when this answers."""
    try:
        purpose = Purpose(call.request.match_info["purpose"])
    except ValueError:
        raise NotFound("There is no such purpose.") from None
    body = await call.body(_consent_body)
    change = consents.ConsentChange(**msgspec.structs.asdict(body))
    at = call.services.clock.now()
    withdrawn = await consents.record_consent(
        call.services.database, call.services.journal, call.customer_id, purpose, change, at
    )
    return answer(
        {
            "purpose": purpose.value,
            "granted": change.granted,
            "notice_version": change.notice_version,
            "recorded_at": at,
            "cancelled": withdrawn.cancelled,
            "in_flight": withdrawn.in_flight,
        }
    )


async def get_preferences(call: Call) -> web.Response:
    """Give the settings in force."""
    preferences, version = await load_preferences(call.services.database, call.customer_id)
    return answer(write_preferences(preferences), headers=tag(version))


async def patch_preferences(call: Call) -> web.Response:
    """Change some settings; what waits and is no longer wanted is cancelled."""
    body = await call.body(_preferences_body)
    ceiling = call.services.directory.snapshot.retailer.daily_cap
    if isinstance(body.daily_cap, int) and body.daily_cap > ceiling:
        detail = ErrorDetail("daily_cap", "above_ceiling", f"at most {ceiling}; you can only lower it")
        raise Invalid("More than the retailer sends to anybody.", details=[detail])
    if isinstance(body.timezone, str):
        refuse_unknown_zone(body.timezone)
    patch: dict[str, Any] = msgspec.to_builtins(body)
    if quiet := patch.get("quiet_hours"):
        patch["quiet_hours"] = {end: f"{local}:00" for end, local in quiet.items()}  # times of day have seconds
    preferences, version, withdrawn = await change_preferences(
        call.services.database,
        call.services.journal,
        call.customer_id,
        patch,
        call.services.clock.now(),
        expected=call.expected(),
    )
    return answer(
        write_preferences(preferences) | {"cancelled": withdrawn.cancelled, "in_flight": withdrawn.in_flight},
        headers=tag(version),
    )


def write_preferences(preferences: Preferences) -> dict[str, Any]:
    """Write settings as they are sent: wall-clock times in hours and minutes."""
    body = to_jsonable(preferences)
    assert isinstance(body, dict)  # noqa: S101 - a struct becomes a dict
    if (quiet := preferences.quiet_hours) is not None:
        body["quiet_hours"] = {"start": f"{quiet.start:%H:%M}", "end": f"{quiet.end:%H:%M}"}
    body["interests"] = dict.fromkeys(preferences.interests, True)
    return body


ROUTES: Final = (
    Route("GET", "/v1/me/consents", get_consents, answer=answers.ConsentsAnswer),
    Route(
        "PUT",
        "/v1/me/consents/{purpose}",
        put_consent,
        body=schemas.ConsentBody,
        answer=answers.ConsentChanged,
        refuses=(409,),
    ),
    Route("GET", "/v1/me/preferences", get_preferences, answer=answers.PreferencesAnswer, headers=("ETag",)),
    Route(
        "PATCH",
        "/v1/me/preferences",
        patch_preferences,
        body=schemas.PreferencesBody,
        answer=answers.PreferencesChanged,
        headers=("ETag",),
        takes=("If-Match",),
        refuses=(409, 412),
    ),
)
