"""The OpenAPI document that the web pages are typed by."""

from __future__ import annotations

import json
import os
from pathlib import Path

from geoservice.api.openapi import document
from geoservice.app import all_routes

FILE = Path(__file__).parents[2] / "geoservice" / "console" / "openapi.json"


def test_the_pages_are_typed_by_todays_routes() -> None:
    """The document that the pages' types are made of is what the service gives at /openapi.json, clock included."""
    made = json.dumps(document(all_routes(steerable=True)), ensure_ascii=False, indent=1) + "\n"
    if os.environ.get("UPDATE_DOCS"):
        FILE.write_text(made, encoding="utf-8")
    assert FILE.read_text(encoding="utf-8") == made, "UPDATE_DOCS=1 scripts/test tests/docs writes it anew"
