"""The demo as people run it: the real command, its own service, the story, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

COMMAND = str(Path(sys.executable).with_name("geoservice"))
TIMEOUT_S = 300

STEPS = [
    # She looks, and goes. A week later she is at the store, and has allowed nothing.
    ("lena", "noted", None),
    ("lena", "ignored", "no_location_consent"),
    # She allows it: one push, and none the second time.
    ("lena", "noted", None),
    ("lena", "send", None),
    ("lena", "suppress", "campaign_cooldown"),
    # Another interest at another store: the second push. A third of each: the cap.
    ("lena", "noted", None),
    ("lena", "send", None),
    ("lena", "noted", None),
    ("lena", "suppress", "daily_cap"),
    # Nothing that he does makes it relevant.
    ("ben", "suppress", "context_not_met"),
    # He is at the wheel.
    ("paul", "noted", None),
    ("paul", "suppress", "driving"),
    # The store is open, but the hour is quiet.
    ("ayla", "noted", None),
    ("ayla", "suppress", "quiet_hours_retailer"),
    # She has bought them.
    ("lena", "noted", None),
    ("lena", "suppress", "already_purchased"),
]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Ours, without settings of a service; the demo's folder is made in ``folder``."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GEOSERVICE_")}
    width = {"COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    return own | width | {"TMPDIR": str(folder), "GEOSERVICE_PORT": "0"} | more


def play(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "demo", "--once", *arguments],
        env=environment(folder, **more),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )


@contextmanager
def started(folder: Path, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [COMMAND, "demo", *arguments],
            env=environment(folder, **more),
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
        )
    with process:
        try:
            yield process
        finally:
            process.terminate()  # in order, so that a test that failed leaves no database behind
            process.wait(TIMEOUT_S)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One story, with its JSON on standard output and its timeline on standard error."""
    return play(tmp_path_factory.mktemp("played"), "--json")


@pytest.fixture(scope="module")
def story(played: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert played.returncode == 0, played.stdout + played.stderr
    return json.loads(played.stdout.splitlines()[-1])


def get(url: str, path: str) -> Any:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return json.loads(body)


def told(step: dict[str, Any]) -> tuple[str, str, str | None]:
    return step["who"], step["outcome"], step["reason"]


def test_every_step_is_as_told(story):
    """Two pushes, and seven silences, each for the reason that the story is about."""
    assert story["ok"], story["differences"]
    assert [told(step) for step in story["steps"]] == STEPS
    assert story["silences"] == {reason: 1 for _, _, reason in STEPS if reason}


def test_a_push_says_why_and_reached_the_provider(story):
    """Each message carries its explanation and consents; the provider took it, once."""
    shoes, jacket = story["pushes"]
    assert shoes["why"]["summary"].startswith("You looked at running shoes on 2 March and you are near")
    assert jacket["why"]["summary"].startswith("You put rain jackets on your wish list on 11 March and")
    for push in (shoes, jacket):
        assert {each["purpose"] for each in push["why"]["consents"]} == {
            "location",
            "marketing_push",
            "personalisation",
        }
        assert push["provider_message_id"].startswith("projects/demo/messages/")
        assert push["customer"] == "lena"
        assert push["title"]
        assert push["body"]
    assert len({push["message_id"] for push in story["pushes"]}) == 2
    assert [push["at"][:16] for push in story["pushes"]] == ["2026-03-11T12:09", "2026-03-11T16:15"]


def test_without_consent_nothing_is_kept(story):
    """Each ping is ignored, and no decision exists."""
    step = story["steps"][1]
    assert step["pings"] == step["pings_ignored"] > 10
    assert step["decision_id"] is None
    assert step["checks"] == []


def test_a_silence_is_explained_by_its_checks(story):
    """The reason is that of the first check that refused, and it comes with a sentence."""
    for step in story["steps"]:
        if step["outcome"] == "suppress":
            refused = [check for check in step["checks"] if not check["passed"]]
            assert refused[0]["reason"] == step["reason"]
            assert step["sentence"].endswith(".")
            assert step["decision_id"]


def test_only_the_reason_stands_in_the_way(story):
    """The cap, the wheel, the hour and the purchase are each the only thing against a message."""
    alone = {"daily_cap", "campaign_cooldown", "driving", "quiet_hours_retailer", "already_purchased"}
    for step in story["steps"]:
        if step["reason"] in alone:
            assert sum(not check["passed"] for check in step["checks"]) == 1, step["title"]


def test_it_is_quick_and_quiet(played, story):
    """The story waits for no real time to pass, and what is logged is the story alone."""
    assert story["seconds"] < 60  # half a week passes in it; here some seconds do, more on a busy machine
    assert "Traceback" not in played.stderr
    assert played.stderr.startswith("The shoe story\n")
    assert len(played.stdout.splitlines()) == 1


def test_the_timeline_fits_80_columns_and_is_the_same_again(played, tmp_path):
    """Piped, it has no colours and no line over 80; a second run tells the same, on another port if need be."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        again = play(tmp_path, GEOSERVICE_PORT=str(port))
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert max(len(line) for line in again.stdout.splitlines()) <= 80
    assert "\x1b" not in again.stdout
    notice, _, timeline = again.stdout.partition("\n\n")
    assert notice == f"Port {port} is taken, so the demo takes another."
    assert without_numbers_of_one_run(timeline) == without_numbers_of_one_run(played.stderr)
    assert list(tmp_path.iterdir()) == []


def without_numbers_of_one_run(timeline: str) -> str:
    return re.sub(r"messages/\S+|in \d+\.\d s", "-", timeline)


def without_ids(step: dict[str, Any]) -> str:
    return re.sub(r'"[0-9a-f]{8}-[0-9a-f-]{27}"|messages/0:\w+', "-", json.dumps(step, sort_keys=True))


def test_it_keeps_serving_until_ctrl_c_and_leaves_nothing_behind(story, tmp_path):
    """After the story the service answers, its clock flows; Ctrl-C ends it, its database and its folder."""
    elsewhere = tmp_path / "not-for-stories"
    with started(tmp_path, "--json", GEOSERVICE_DATA_DIR=str(elsewhere)) as process:
        assert process.stdout is not None
        again = json.loads(process.stdout.readline())
        assert get(again["url"], "/readyz")["ready"]
        (folder,) = tmp_path.glob("geoservice-demo-*")
        server = int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])
        os.kill(server, 0)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0
    assert list(map(without_ids, again["steps"])) == list(map(without_ids, story["steps"]))
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["stderr"]
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_told_to_stop_in_mid_story_it_stops_in_order(tmp_path):
    """SIGTERM during the story ends service, database and folder, without a traceback."""
    with started(tmp_path) as process:
        assert process.stdout is not None
        assert any("Lena opts in" in line for line in process.stdout)
        (folder,) = tmp_path.glob("geoservice-demo-*")
        server = int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(TIMEOUT_S) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["stderr"]
    assert (tmp_path / "stderr").read_text() == ""
