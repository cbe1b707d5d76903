"""The pure rooms stay pure: no waiting, no clock, no randomness, no logger, no I/O, and few libraries."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geoservice"
PURE = sorted([
    PACKAGE / "plain_words.py",
    PACKAGE / "vocabulary.py",
    *(PACKAGE / "geofencing").rglob("*.py"),
    *(PACKAGE / "decisions").rglob("*.py"),
])  # fmt: skip

LIBRARIES = {"shapely", "numpy", "msgspec", "liquid", "opening_hours"}
OURS = (
    "geoservice.errors",
    "geoservice.plain_words",
    "geoservice.vocabulary",
    "geoservice.geofencing",
    "geoservice.decisions",
)

IMPURE = {
    "asyncio", "concurrent", "contextvars", "ctypes", "fcntl", "getpass", "glob", "http", "importlib", "io",
    "locale", "logging", "mmap", "multiprocessing", "os", "pathlib", "pickle", "platform", "pwd", "queue",
    "random", "sched", "secrets", "selectors", "shelve", "shutil", "signal", "smtplib", "socket", "sqlite3",
    "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid", "warnings",
}  # fmt: skip
"""Modules of the standard library that wait, look at the clock or the machine, or roll dice."""

CLOCKS = {"now", "utcnow", "today"}
DATES = ("date", "datetime")  # a field called today is no clock
DOORS = {"open", "input", "print", "exec", "eval", "__import__", "breakpoint"}


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every imported module as (line, dotted name); names taken from a package count as modules of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module == "geoservice":
                yield from ((node.lineno, f"geoservice.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def is_allowed(module: str) -> bool:
    top = module.partition(".")[0]
    if top == "geoservice":
        return module.startswith(OURS)
    if top in LIBRARIES:
        return True
    return top in sys.stdlib_module_names and not {top, module} & IMPURE


def offences(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [f"{line}: import of {module}" for line, module in imported(tree) if not is_allowed(module)]
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            found.append(f"{node.lineno}: {type(node).__name__}")
        elif isinstance(node, ast.Attribute) and node.attr in CLOCKS and ast.unparse(node.value).endswith(DATES):
            found.append(f"{node.lineno}: .{node.attr} reads the clock")
        elif isinstance(node, ast.Attribute) and node.attr == "random":
            found.append(f"{node.lineno}: .random rolls dice")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DOORS:
            found.append(f"{node.lineno}: {node.func.id}()")
    return found


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_rooms_are_pure(path: Path) -> None:
    """The same facts and the same moment give the same answer: nothing else gets into a pure room."""
    assert offences(path.read_text(encoding="utf-8")) == []


def test_all_pure_rooms_are_looked_at() -> None:
    """The rule covers plain words, vocabulary, geofencing and decisions, wherever their files lie."""
    rooms = {path.relative_to(PACKAGE).parts[0] for path in PURE}
    assert rooms == {"plain_words.py", "vocabulary.py", "geofencing", "decisions"}


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import os.path",
        "from time import monotonic",
        "import logging",
        "from random import random",
        "import uuid",
        "import asyncpg",
        "from aiohttp import web",
        "from geoservice.storage import database",
        "from geoservice import config",
        "from . import secrets_of_the_room",
        "from urllib.request import urlopen",
        "async def f(): ...",
        "async def f():\n    await g()",
        "from datetime import datetime\ndatetime.now()",
        "import datetime as dt\ndt.datetime.utcnow()",
        "from datetime import date\nage = date.today",
        "import numpy as np\nnp.random.rand()",
        "open('x')",
        "def f():\n    import socket",
    ],
)
def test_the_rule_bites(source: str) -> None:
    """Each way out of a pure room is noticed, also inside functions."""
    assert offences(source)


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime, time, timedelta",
        "import zoneinfo, math, enum, itertools",
        "from shapely import STRtree",
        "from geoservice.vocabulary import Fix",
        "from geoservice.decisions.facts import Facts",
        "from urllib.parse import urlsplit",
    ],
)
def test_the_rule_lets_work_be_done(source: str) -> None:
    """What computes without looking around is allowed."""
    assert offences(source) == []
