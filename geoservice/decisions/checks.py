"""The record of one check: which gate, passed or not, why, and the facts that it used. Pure.

Campaigns that are looked at together share the checks that say the same of all of them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from geoservice.decisions.reasons import Gate, Reason


class Check(Struct, frozen=True, gc=False):
    """One gate's result. ``reason`` is None when it passed; ``facts`` holds JSON and datetimes."""

    gate: Gate
    passed: bool
    reason: Reason | None
    facts: dict[str, Any]


def check(gate: Gate, refusals: list[Reason], facts: dict[str, Any]) -> Check:
    """The result of a gate: the first refusal names it, further ones are kept as ``also``."""
    if not refusals:
        return Check(gate, True, None, facts)
    if len(refusals) > 1:
        facts = {**facts, "also": [str(reason) for reason in refusals[1:]]}
    return Check(gate, False, refusals[0], facts)


class Block(Struct, frozen=True, gc=False):
    """Checks that follow each other, and the first refusal among them."""

    checks: tuple[Check, ...]
    refused: Reason | None


def block(*checks: Check) -> Block:
    """These checks, in their order."""
    for each in checks:
        if each.reason is not None:
            return Block(checks, each.reason)
    return Block(checks, None)


def also(before: Check, refusals: list[Reason], facts: dict[str, Any]) -> Check:
    """The same gate's result once more was looked at: what it refused before comes first."""
    earlier = [] if before.reason is None else [before.reason, *map(Reason, before.facts.get("also", []))]
    return check(before.gate, [*earlier, *refusals], {key: value for key, value in facts.items() if key != "also"})
