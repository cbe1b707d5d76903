"""Pages of the documentation as the reader has them: fenced blocks, and a shell that runs them top to bottom."""
# ruff: noqa: D102 - the names of helpers say what they do

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs_tables import DOCS, ROOT

PORT = "8080"
"""The port that the pages speak of; the test takes a free one."""

TIMEOUT_S = 300


@dataclass(frozen=True)
class Block:
    """One fenced block, and where its text stands in the page."""

    page: str
    language: str
    text: str
    line: int
    span: tuple[int, int]

    @property
    def place(self) -> str:
        return f"docs/{self.page}:{self.line}"


_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(page: str, folder: Path = DOCS) -> list[Block]:
    text = (folder / page).read_text(encoding="utf-8")
    return [
        Block(page, match[1], match[2], text.count("\n", 0, match.start()) + 1, match.span(2))
        for match in _FENCE.finditer(text)
    ]


@dataclass
class Step:
    """A shell block, and the block that shows what it prints, if the page shows it."""

    block: Block
    shown: Block | None
    printed: str | None = None


def steps_of(page: str) -> list[Step]:
    blocks = blocks_of(page)
    following = [*blocks[1:], None]
    return [
        Step(block, after if after is not None and after.language in {"json", "text"} else None)
        for block, after in zip(blocks, following, strict=True)
        if block.language == "sh"
    ]


class Reader:
    """Types every line of a few pages into one shell, in a folder like a fresh checkout."""

    def __init__(self, folder: Path, port: int, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = environment or {}
        self.port = str(port)
        (folder / ".venv").symlink_to(sys.prefix)
        (folder / "geofences").symlink_to(ROOT / "geofences")
        (folder / "out").mkdir()

    def read(self, steps: Sequence[Step], *, before_the_last: str = "") -> None:
        """Run the steps; AssertionError names the block that failed, and what it printed."""
        lines = ["set -eu", "SERVICE=", "trap 'test -z \"$SERVICE\" || kill $SERVICE 2>/dev/null || :; wait' EXIT"]
        for number, step in enumerate(steps):
            if number == len(steps) - 1:
                lines.append(before_the_last)
            text = step.block.text.replace(PORT, self.port)
            lines.append(f"{{\n{text}}} >out/{number} 2>out/{number}.err")
        (self.folder / "pages.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")
        status = self._run()
        done = [number for number in range(len(steps)) if (self.folder / "out" / str(number)).exists()]
        last = steps[done[-1]].block.place if done else "the first block"
        assert status == 0, f"{last} ended with {status}:\n{self._printed(done[-1])}{self._printed(f'{done[-1]}.err')}"
        for number, step in enumerate(steps):
            step.printed = self._printed(number).replace(self.port, PORT)

    def _run(self) -> int:
        private = ("GEOSERVICE_", "http_proxy", "https_proxy", "all_proxy")
        clean = {name: value for name, value in os.environ.items() if not name.lower().startswith(private)}
        clean = {name: value for name, value in clean.items() if not name.startswith(private)}
        with subprocess.Popen(
            ["sh", "pages.sh"], cwd=self.folder, env={**clean, **self.environment}, start_new_session=True
        ) as shell:
            try:
                return shell.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(shell.pid, signal.SIGTERM)
                return shell.wait(30)

    def _printed(self, name: object) -> str:
        return (self.folder / "out" / str(name)).read_text(encoding="utf-8")


# Comparing what is shown with what was printed -----------------------------------------------------------------------

_CHANGES_EVERY_TIME = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00| UTC)?"), "<time>"),
    (re.compile(r"\b\d{1,2} [A-Z][a-z]{2,8}\b( \d{4})?"), "<day>"),
    (re.compile(r"\b\d\d:\d\d\b"), "<clock>"),
    (re.compile(r"-?\d+\.\d+"), "<number>"),
)


def steady(text: str) -> str:
    """The text without what is different in every run: ids, times, days, decimals."""
    for pattern, word in _CHANGES_EVERY_TIME:
        text = pattern.sub(word, text)
    return text


def shape(value: Any) -> Any:
    """A JSON value without what is different in every run."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return "<number>" if isinstance(value, float) else steady(value) if isinstance(value, str) else value


def written(value: Any, indent: str = "", lead: int = 0, width: int = 116) -> str:
    """JSON as a person would write it: what fits stands on one line, ``lead`` characters after its indent."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + lead + len(line) <= width or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + "  "
    if isinstance(value, list):
        opening, closing, parts = "[", "]", [written(each, inner) for each in value]
    else:
        opening, closing = "{", "}"
        parts = [f"{json.dumps(key)}: {written(each, inner, len(key) + 4)}" for key, each in value.items()]
    return opening + "\n" + ",\n".join(inner + part for part in parts) + f"\n{indent}{closing}"


def agree(step: Step) -> bool:
    if step.shown.language == "json":
        return bool(shape(json.loads(step.printed)) == shape(json.loads(step.shown.text or "null")))
    return steady(step.printed).split() == steady(step.shown.text).split()


def show(steps: Sequence[Step]) -> None:
    """Write what was printed into the pages, last block first, so that the others keep their places."""
    for step in sorted(steps, key=lambda each: each.shown.span, reverse=True):
        if agree(step):
            continue  # it shows another run, and that is as good
        text = written(json.loads(step.printed)) + "\n" if step.shown.language == "json" else _trimmed(step.printed)
        path = DOCS / step.shown.page
        page = path.read_text(encoding="utf-8")
        start, end = step.shown.span
        path.write_text(page[:start] + text + page[end:], encoding="utf-8")


def _trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())
