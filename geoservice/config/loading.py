"""The environment, read once at start: each setting alone, then what is wrong together; all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from geoservice.config.reading import is_loopback
from geoservice.config.settings import SETTINGS, Settings
from geoservice.errors import SettingsError

PREFIX: Final = "GEOSERVICE_"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; a SettingsError names every problem at once, one sentence each."""
    problems = _unknown_names(environ)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = environ.get(setting.name) or setting.default_text
        try:
            values[setting.attribute] = setting.unset if text is None else setting.parse(text)
        except ValueError as wrong:
            problems.append(f"{setting.name} {wrong}.")
    problems += _contradictions(values)
    if values.get("journal_dir") is None and "data_dir" in values:
        values["journal_dir"] = values["data_dir"] / "journal"
    if problems:
        raise SettingsError(problems)
    return Settings(**values)


def _unknown_names(environ: Mapping[str, str]) -> list[str]:
    known = [setting.name for setting in SETTINGS]
    problems = []
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            problems.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "."))
    return problems


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """Settings that are right alone and wrong together; ``values`` lacks those that failed alone."""
    problems = []
    if values.get("jwt_secret") and values.get("jwks_url"):
        problems.append(
            "GEOSERVICE_JWT_SECRET and GEOSERVICE_JWKS_URL exclude each other: tokens are checked in one way."
        )
    if _is_googles(values.get("jwks_url")) and not values.get("jwt_audience"):
        problems.append(
            "GEOSERVICE_JWT_AUDIENCE must be set, to your project's id: with the keys of GEOSERVICE_JWKS_URL Google "
            "signs the tokens of everybody's projects."
        )
    if values.get("clock") == "steerable" and not _harmless(values):
        problems.append(
            "GEOSERVICE_CLOCK may be steerable only while GEOSERVICE_HOST is loopback and pushes stay on "
            "this machine (no GEOSERVICE_FCM_CREDENTIALS, or a loopback GEOSERVICE_FCM_ENDPOINT)."
        )
    return problems


def _is_googles(url: str | None) -> bool:
    host = urlsplit(url or "").hostname or ""
    return host == "googleapis.com" or host.endswith(".googleapis.com")


def _harmless(values: Mapping[str, Any]) -> bool:
    """Whether nobody but this machine can call the service or be called by it. In doubt: not."""
    if "host" not in values or "fcm_credentials_path" not in values:
        return False
    endpoint_host = urlsplit(values.get("fcm_endpoint_url", "")).hostname or ""
    pushes_stay = values["fcm_credentials_path"] is None or is_loopback(endpoint_host)
    return is_loopback(values["host"]) and pushes_stay
