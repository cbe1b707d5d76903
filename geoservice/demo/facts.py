"""The facts behind a silence, in a sentence whose numbers all come from the decision's record."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

ZONE: Final = ZoneInfo("Europe/Berlin")
_DAY_S: Final = 86_400

Facts = dict[str, Any]


def told_by(checks: list[dict[str, Any]]) -> str:
    """Say what the first check that refused looked at; empty when there is nothing to add."""
    refusing = next((check for check in checks if not check["passed"]), None)
    if refusing is None:
        return ""
    tell = _TOLD.get(refusing["reason"])
    return tell(refusing["facts"]) if tell else ""


def _cooldown(facts: Facts) -> str:
    days = facts["cooldown_s"] / _DAY_S
    return f"The last message came on {_when(facts['last_message_at'])}; this campaign rests for {days:g} days."


def _daily_cap(facts: Facts) -> str:
    return f"Messages today: {facts['today']}. The cap: {facts['daily_cap']}."


def _context(facts: Facts) -> str:
    return f"Interests on record that this campaign could serve: {len(facts['matched'])}."


def _driving(facts: Facts) -> str:
    return f"Arrived at {_local(facts['at']):%H:%M:%S}; last that fast at {_local(facts['fast_at']):%H:%M:%S}."


def _quiet_hours(facts: Facts) -> str:
    return f"Local time {facts['local_time']}; quiet hours {facts['retailer']}."


def _bought(facts: Facts) -> str:
    bought = [f"{each['category'].replace('-', ' ')} on {_when(each['bought_at'])}" for each in facts["bought"]]
    return f"Bought: {', '.join(bought)}."


def _when(text: str) -> str:
    at = _local(text)
    return f"{at.day} {at:%B, %H:%M}"


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(ZONE)


_TOLD: Final[dict[str, Callable[[Facts], str]]] = {
    "campaign_cooldown": _cooldown,
    "daily_cap": _daily_cap,
    "context_not_met": _context,
    "driving": _driving,
    "quiet_hours_retailer": _quiet_hours,
    "already_purchased": _bought,
}
