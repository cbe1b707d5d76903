"""The stand-in as the sender sees it: it trusts whom the real service would, and runs as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import aiohttp
from pushes import push

from geoservice.demo.fcm_stand_in import FcmStandIn
from geoservice.push.fcm import FcmSender
from geoservice.push.outcomes import Accepted, CredentialsRefused, TokenDead, WrongProject


async def test_the_stand_in_checks_key_and_project(fcm, account, tmp_path):
    """The stand-in trusts neither another key nor another project, as the real service would not."""
    async with FcmStandIn() as other:
        stranger = json.loads(other.write_service_account(tmp_path / "other.json").read_text())
    content = json.loads(account.read_text())
    account.write_text(json.dumps({**content, "private_key": stranger["private_key"]}))
    impostor = FcmSender(account, endpoint=fcm.base_url)
    account.write_text(json.dumps({**content, "project_id": "elsewhere"}))
    lost = FcmSender(account, endpoint=fcm.base_url)
    assert await impostor.send(push()) == CredentialsRefused("token_refused")
    assert await lost.send(push()) == WrongProject("not_found")
    await impostor.close()
    await lost.close()


async def test_the_stand_in_runs_as_a_process(tmp_path):
    """Started by itself, the stand-in says where it is, and is steered over HTTP."""
    path = tmp_path / "account.json"
    command = [
        sys.executable,
        "-m",
        "geoservice.demo.fcm_stand_in",
        "--port",
        "0",
        "--credentials",
        str(path),
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        base_url = json.loads(await process.stdout.readline())["base_url"]
        sender = FcmSender(path, endpoint=base_url)
        async with aiohttp.ClientSession(base_url) as session:
            script = {"answers": [{"kind": "unregistered"}]}
            async with session.post("/_script", json=script) as response:
                assert response.status == 204
            async with session.post("/_script", json={"answers": [{"kind": "sing"}]}) as response:
                assert response.status == 400
            assert isinstance(await sender.send(push(1)), TokenDead)
            assert isinstance(await sender.send(push(2)), Accepted)
            async with session.get("/_accepted") as response:
                assert [taken["message_id"] for taken in (await response.json())["accepted"]] == ["m-2"]
            async with session.post("/_reset") as response:
                assert response.status == 204
            async with session.get("/_accepted") as response:
                assert (await response.json())["accepted"] == []
        await sender.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
