"""The fault tests look at the service from outside."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FROM_OUTSIDE = [
    "tcp_proxy.py", "verdict.py", "test_sender_dies.py", "test_many_kills.py", "test_provider_fails.py",
    "test_database_fails.py", "test_people_and_clocks.py", "test_two_senders.py",
]  # fmt: skip


@pytest.mark.parametrize("name", FROM_OUTSIDE)
def test_they_do_not_import_the_service(name):
    """No part of the service runs inside of these tests: it is a process, and they talk to it as others do."""
    tree = ast.parse(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not [module for module in imported if module.split(".")[0] == "geoservice"]
