"""A customer and a store of its own for each test, a service with a store and a campaign, the real command."""
# `conftest` is the file at the top by the time a fixture runs, not yet when this one is read: so imports stand inside.

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest_asyncio

COMMAND = str(Path(sys.executable).with_name("geoservice"))


@pytest_asyncio.fixture(loop_scope="module")
async def who(request) -> str:
    """A customer of her own for each test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(shared):
    """A service with a store and a campaign."""
    await shared.set_up_store()
    await shared.set_up_campaign()
    return shared


@pytest_asyncio.fixture(loop_scope="module")
async def store(shared, request) -> str:
    """A store of its own for each test."""
    from conftest import STORE

    store_id = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:60].strip("-")
    await shared.ok("PUT", f"/v1/stores/{store_id}", STORE, who=shared.ops)
    return store_id


@pytest_asyncio.fixture(loop_scope="module")
async def command(shared, tmp_path_factory) -> Callable[..., Awaitable[subprocess.CompletedProcess[str]]]:
    """Run the real command against the service's database."""
    from conftest import environment

    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GEOSERVICE_")}
    settings = environment(shared.app.settings.database_url, None, tmp_path_factory.mktemp("data"))

    async def run(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        values = {name: value for name, value in (settings | more).items() if value}
        return await asyncio.to_thread(
            subprocess.run,
            [COMMAND, *map(str, arguments)],
            env=inherited | {"COLUMNS": "200", "PYTHONIOENCODING": "utf-8"} | values,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )

    return run
