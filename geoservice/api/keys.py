"""Whose API key is this: what a page asks before it shows anything."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from geoservice.api.answers import service as answers
from geoservice.api.routing import Call, Route, answer
from geoservice.vocabulary import Role


async def get_key(call: Call) -> web.Response:
    """Tell what the API key of this request is called, and what it may do."""
    roles = sorted(call.actor.roles)
    return answer(msgspec.to_builtins(answers.KeyAnswer(name=call.actor.name, roles=roles)))


ROUTES: Final = (Route("GET", "/v1/key", get_key, frozenset(Role), answer=answers.KeyAnswer),)
