"""The container image and the compose file: as far as they can be checked without Docker."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import orjson
import pytest
import yaml

from geoservice import cli
from geoservice.config import SETTINGS, load_settings
from geoservice.storage.database import NEWEST_TESTED, OLDEST

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """The lines of the Dockerfile as (instruction, rest), continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def of(word: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == word]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    return every[max(i for i, (word, _) in enumerate(every) if word == "FROM") :]


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


# The image -----------------------------------------------------------------------------------------------------------


def test_the_image_has_what_its_build_needs(tmp_path):
    """The files that are copied into the image, and that .dockerignore lets through, build the package."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    for copied in of("COPY"):
        if copied.startswith("--from"):
            continue
        *sources, target = copied.split()
        for source in sources:
            assert source in allowed, source
            there = tmp_path / target / (source if target.endswith("/") else "")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
            else:
                shutil.copy(ROOT / source, there)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, "--wheel-dir", tmp_path / "out", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    names = subprocess.run([sys.executable, "-m", "zipfile", "-l", wheel], capture_output=True, text=True, check=True)
    packed = {line.split()[0] for line in names.stdout.splitlines()[1:]}
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / "geoservice").rglob("*") if p.suffix in {".py", ".sql"}}
    assert ours <= packed
    assert {f"geoservice/console/dist/{page}/index.html" for page in ("console", "phone")} <= packed
    assert not [name for name in packed if "/console/" in name and "/console/dist/" not in name]


def test_the_image_is_slim_and_runs_as_nobody_special():
    """Two stages on the slim image of a Python that is supported; the last one runs as a user without rights."""
    bases = [base.split()[0] for base in of("FROM")]
    assert len(bases) == 2
    (python,) = {re.fullmatch(r"python:(3\.\d+)-slim", base)[1] for base in bases}
    assert f"Programming Language :: Python :: {python}" in PROJECT["project"]["classifiers"]
    user = [rest for word, rest in last_stage() if word == "USER"]
    (made,) = [rest for word, rest in last_stage() if word == "RUN"]
    uid = re.match(r"useradd --uid (\d+) ", made)[1]
    assert int(uid) >= 1000
    assert user == [uid], "by number: Kubernetes cannot tell from a name that it is not root"
    runs = [command for word, rest in instructions() if word == "RUN" for command in rest.split("&&")]
    tools = [command.split()[0] for command in runs if "nodejs" in command or "hatchling" in command]
    assert tools == ["/opt/tools/bin/pip"], "what only builds is not in the environment that the last stage copies"


def test_the_image_starts_the_service():
    """Its entry point is a command of the package, its arguments are understood, and its settings are legal."""
    (entry,) = of("ENTRYPOINT")
    (command,) = of("CMD")
    assert orjson.loads(entry) == ["geoservice"]
    assert "geoservice" in PROJECT["project"]["scripts"]
    assert cli._parser().parse_args(orjson.loads(command)).run
    values = dict(word.split("=", 1) for line in of("ENV") for word in shlex.split(line))
    settings = load_settings({name: value for name, value in values.items() if name.startswith("GEOSERVICE_")})
    assert [str(settings.port)] == of("EXPOSE")
    assert [str(settings.data_dir)] == of("VOLUME")
    assert settings.log_format == "json"
    assert of("STOPSIGNAL") == ["SIGTERM"]


async def test_the_image_knows_when_it_is_well(service):
    """The health check succeeds against a service that is ready, on whichever port, and fails where there is none."""
    (check,) = of("HEALTHCHECK")
    command = orjson.loads(check.partition(" CMD ")[2] or check.partition("CMD ")[2])
    assert command[0] == "python"

    def run(port: int) -> int:
        there = os.environ | {"GEOSERVICE_PORT": str(port)}
        words = [sys.executable, *command[1:]]
        return subprocess.run(words, capture_output=True, check=False, timeout=30, env=there).returncode

    import asyncio

    from conftest import free_port

    assert await asyncio.to_thread(run, service.app.address[1]) == 0
    assert await asyncio.to_thread(run, free_port()) != 0


# The compose file ----------------------------------------------------------------------------------------------------


def test_compose_brings_a_supported_postgresql(compose):
    """The database is one of the versions that are tested, waits to be healthy, and keeps its data in a volume."""
    database = compose["services"]["database"]
    assert OLDEST <= int(database["image"].removeprefix("postgres:")) <= NEWEST_TESTED
    assert "pg_isready" in " ".join(database["healthcheck"]["test"])
    for service in compose["services"].values():
        for mounted in service.get("volumes", ()):
            assert mounted.partition(":")[0] in compose["volumes"], mounted
    assert "ports" not in database, "nobody outside needs the database"


def test_compose_migrates_before_it_serves(compose):
    """The service starts when the tables are there, and both know the same database."""
    services = compose["services"]
    assert services["geoservice"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert services["migrate"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    for name in ("migrate", "geoservice"):
        assert cli._parser().parse_args(services[name].get("command", ["serve"])).run
        environment = services[name]["environment"]
        assert set(environment) <= {setting.name for setting in SETTINGS}
        url = re.sub(r"\$\{(\w+)[^}]*\}", r"\1", environment["GEOSERVICE_DATABASE_URL"])
        given = services["database"]["environment"]
        assert url == f"postgresql://{given['POSTGRES_USER']}:POSTGRES_PASSWORD@database:5432/{given['POSTGRES_DB']}"
    assert services["geoservice"]["ports"] == ["127.0.0.1:8080:8080"], "a proxy that speaks TLS belongs in front"


def test_compose_asks_for_its_secrets():
    """No password stands in the file: without them compose says which one is missing."""
    text = (ROOT / "compose.yaml").read_text()
    asked = {name: rest for name, rest in re.findall(r"\$\{(\w+)(:\?[^}]*)?\}", text) if rest}
    assert asked.keys() == {"POSTGRES_PASSWORD", "GEOSERVICE_OPS_KEY"}
    assert all(f"`{name}`" in (ROOT / "docs" / "deploy.md").read_text() for name in asked)


def test_compose_gives_a_stop_its_time(compose):
    """A container is killed later than a drain takes at most."""
    from geoservice import app

    grace_s = int(compose["services"]["geoservice"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > app.REQUESTS_S + app.CUT_AFTER_S + app.DRAIN_S + 10


def test_hadolint_has_nothing_to_say():
    """The linter of Dockerfiles finds nothing wrong."""
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
