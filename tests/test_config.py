"""Settings: what the operator writes, and what the service says when it is wrong."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import time
from pathlib import Path

import pytest

from geoservice.config import SETTINGS, is_loopback, load_settings, shown
from geoservice.errors import SettingsError

SECRET = "s" * 32
KEY = "k" * 24


def problems(**environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return caught.value.problems


def test_nothing_needs_to_be_set() -> None:
    """An empty environment gives a service on 127.0.0.1:8080 that reaches nobody."""
    settings = load_settings({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.database_url is None
    assert settings.fcm_credentials_path is None
    assert settings.fcm_endpoint_url == "https://fcm.googleapis.com"
    assert settings.default_daily_cap == 2
    assert settings.default_quiet_hours == (time(21), time(8))
    assert settings.clock == "system"
    assert settings.data_dir.is_absolute()


def test_every_default_is_a_value_that_could_be_written_out() -> None:
    """Writing every default into the environment changes nothing."""
    written = {setting.name: setting.default_text or "" for setting in SETTINGS}
    assert load_settings(written) == load_settings({})


def test_every_setting_is_told_in_a_sentence() -> None:
    """Each setting is a variable of ours with a sentence of its own."""
    assert len({setting.name for setting in SETTINGS}) == len({setting.doc for setting in SETTINGS}) == len(SETTINGS)
    assert all(setting.name.startswith("GEOSERVICE_") and setting.doc.endswith(".") for setting in SETTINGS)


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("GEOSERVICE_DATABASE_URL", "postgresql://u:p@db/geo", "database_url", "postgresql://u:p@db/geo"),
        ("GEOSERVICE_DATABASE_URL", "postgres:///geo?host=/run", "database_url", "postgres:///geo?host=/run"),
        ("GEOSERVICE_DATA_DIR", "/srv/geo", "data_dir", Path("/srv/geo")),
        ("GEOSERVICE_PORT", "0", "port", 0),
        ("GEOSERVICE_PORT", "65535", "port", 65_535),
        ("GEOSERVICE_HOST", "::", "host", "::"),
        ("GEOSERVICE_JWT_SECRET", "é" * 16, "jwt_secret", "é" * 16),
        ("GEOSERVICE_JWKS_URL", "https://id.example/keys", "jwks_url", "https://id.example/keys"),
        ("GEOSERVICE_JWKS_URL", "http://127.0.0.1:9/keys", "jwks_url", "http://127.0.0.1:9/keys"),
        ("GEOSERVICE_OPS_KEY", KEY, "ops_key", KEY),
        ("GEOSERVICE_FCM_ENDPOINT", "http://[::1]:9/", "fcm_endpoint_url", "http://[::1]:9"),
        ("GEOSERVICE_FCM_ENDPOINT", "http://localhost:9", "fcm_endpoint_url", "http://localhost:9"),
        ("GEOSERVICE_DEFAULT_DAILY_CAP", "0", "default_daily_cap", 0),
        ("GEOSERVICE_DEFAULT_QUIET_HOURS", "none", "default_quiet_hours", None),
        ("GEOSERVICE_DEFAULT_QUIET_HOURS", "13:30-14:00", "default_quiet_hours", (time(13, 30), time(14))),
        ("GEOSERVICE_RATE_LIMIT_KEY", "50", "rate_limit_key_per_s", 50),
        ("GEOSERVICE_CLOCK", "steerable", "clock", "steerable"),
    ],
)
def test_values_are_read(name: str, text: str, attribute: str, value: object) -> None:
    """What is written in the environment is what the service uses."""
    assert getattr(load_settings({name: text}), attribute) == value


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("GEOSERVICE_DATABASE_URL", "mysql://db/geo", "postgresql://"),
        ("GEOSERVICE_DATABASE_URL", "postgresql://db:port/geo", "cannot be parsed"),
        ("GEOSERVICE_DATA_DIR", "data", "absolute"),
        ("GEOSERVICE_PORT", "65536", "0 to 65,535"),
        ("GEOSERVICE_PORT", "-1", "whole number"),
        ("GEOSERVICE_PORT", "8_080", "whole number"),
        ("GEOSERVICE_PORT", "٣", "whole number"),
        ("GEOSERVICE_PORT", "9" * 5000, "whole number"),
        ("GEOSERVICE_HOST", "http://localhost", "without scheme"),
        ("GEOSERVICE_HOST", "localhost:80", "without scheme and port"),
        ("GEOSERVICE_JWT_SECRET", "s" * 31, "32 bytes; it has 31"),
        ("GEOSERVICE_JWKS_URL", "http://id.example/keys", "https://"),
        ("GEOSERVICE_JWKS_URL", "https:///keys", "host"),
        ("GEOSERVICE_JWKS_URL", "https://me:pw@id.example", "without user"),
        ("GEOSERVICE_OPS_KEY", "k" * 23, "24 characters; it has 23"),
        ("GEOSERVICE_FCM_CREDENTIALS", "/no/such/file.json", "there is none"),
        ("GEOSERVICE_FCM_ENDPOINT", "http://fcm.example", "this machine"),
        ("GEOSERVICE_FCM_ENDPOINT", "http://localhost.example", "this machine"),
        ("GEOSERVICE_LOG_FORMAT", "xml", "console or json"),
        ("GEOSERVICE_DEFAULT_DAILY_CAP", "2.5", "whole number"),
        ("GEOSERVICE_DEFAULT_QUIET_HOURS", "21-8", "21:00-08:00"),
        ("GEOSERVICE_DEFAULT_QUIET_HOURS", "24:00-08:00", "21:00-08:00"),
        ("GEOSERVICE_DEFAULT_QUIET_HOURS", "08:00-08:00", "different times"),
        ("GEOSERVICE_CLOCK", "manual", "system or steerable"),
        ("GEOSERVICE_DATABASE_POOL_SIZE", "1", "2 to 1,000"),
        ("GEOSERVICE_INGEST_QUEUE_ITEMS", "0", "whole number"),
    ],
)
def test_wrong_values_are_explained(name: str, text: str, says: str) -> None:
    """A wrong value gives one sentence that begins with the setting's name and says what it should be."""
    (problem,) = problems(**{name: text})
    assert problem.startswith(f"{name} must ")
    assert says in problem
    assert problem.endswith(".")


def test_all_problems_at_once() -> None:
    """Three mistakes are reported together, so that one restart mends them."""
    found = problems(GEOSERVICE_PORT="x", GEOSERVICE_LOG_FORMAT="y", GEOSERVICE_CLOCK="z")
    assert [p.split()[0] for p in found] == ["GEOSERVICE_PORT", "GEOSERVICE_LOG_FORMAT", "GEOSERVICE_CLOCK"]


def test_typos_are_found() -> None:
    """A misspelt setting is refused, with the name that was probably meant."""
    assert problems(GEOSERVICE_PROT="1") == ["GEOSERVICE_PROT is not a setting; did you mean GEOSERVICE_PORT?"]
    assert problems(GEOSERVICE_ZZZZZZZZ="1") == ["GEOSERVICE_ZZZZZZZZ is not a setting."]


def test_other_programs_variables_are_none_of_our_business() -> None:
    """Variables of other programs are ignored."""
    assert load_settings({"PATH": "/bin", "GEO": "1"}) == load_settings({})


def test_an_empty_variable_counts_as_unset() -> None:
    """`GEOSERVICE_PORT=` means the default, as container files write it."""
    assert load_settings({"GEOSERVICE_PORT": ""}).port == 8080


def test_one_way_to_check_tokens() -> None:
    """A JWT secret and a JWKS URL together are refused."""
    (problem,) = problems(GEOSERVICE_JWT_SECRET=SECRET, GEOSERVICE_JWKS_URL="https://id.example/keys")
    assert "exclude each other" in problem


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "shop.example"])  # noqa: S104 -- refused
def test_time_cannot_be_moved_on_a_service_that_others_reach(host: str) -> None:
    """A steerable clock is refused on any address that is not loopback."""
    (problem,) = problems(GEOSERVICE_CLOCK="steerable", GEOSERVICE_HOST=host)
    assert problem.startswith("GEOSERVICE_CLOCK may be steerable only")


def test_time_cannot_be_moved_where_pushes_leave_the_machine(tmp_path: Path) -> None:
    """A steerable clock with push credentials is refused, unless the push provider is a local stand-in."""
    credentials = tmp_path / "account.json"
    credentials.write_text("{}")
    environ = {"GEOSERVICE_CLOCK": "steerable", "GEOSERVICE_FCM_CREDENTIALS": str(credentials)}
    assert len(problems(**environ)) == 1
    stand_in = load_settings({**environ, "GEOSERVICE_FCM_ENDPOINT": "http://127.0.0.1:9"})
    assert stand_in.clock == "steerable"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104 -- asked about, not bound
        ("::", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Only addresses that no other machine can reach count as loopback."""
    assert is_loopback(host) is loopback


def test_secrets_stay_out_of_sight() -> None:
    """Neither the printed settings nor a traceback's repr nor an error shows a secret."""
    environ = {
        "GEOSERVICE_DATABASE_URL": "postgresql://geo:hunter22@db:5432/geo?password=hunter22",
        "GEOSERVICE_JWT_SECRET": "hunter22" * 4,
        "GEOSERVICE_OPS_KEY": "hunter22" * 3,
    }
    settings = load_settings(environ)
    values = {setting.name: value for setting, value in shown(settings)}
    assert "hunter22" not in repr(settings) + "".join(values.values())
    assert values["GEOSERVICE_DATABASE_URL"].startswith("postgresql://geo:********@db:5432/geo")
    assert values["GEOSERVICE_JWT_SECRET"] == "********"
    wrong = problems(
        GEOSERVICE_DATABASE_URL="hunter22://x",
        GEOSERVICE_JWT_SECRET="hunter22",
        GEOSERVICE_OPS_KEY="hunter22",
    )
    assert len(wrong) == 3
    assert "hunter22" not in "".join(wrong)


def test_shown_values_can_be_written_back() -> None:
    """What `geoservice config` prints for a plain setting is what one would write to get it."""
    values = {setting.name: value for setting, value in shown(load_settings({}))}
    assert values["GEOSERVICE_DEFAULT_QUIET_HOURS"] == "21:00-08:00"
    assert values["GEOSERVICE_PORT"] == "8080"
    assert load_settings(values) == load_settings({})


def test_settings_cannot_change_while_the_service_runs() -> None:
    """Settings are frozen."""
    with pytest.raises(FrozenInstanceError):
        load_settings({}).port = 1  # type: ignore[misc]
