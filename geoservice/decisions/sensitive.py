"""Check 3 and the words of check 10: what must not be concluded, and what must not be read over her shoulder. Pure.

What is delicate drives a message only for an interest that she declared herself, and is never readable on a lock
screen.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.checks import Check, check
from geoservice.decisions.context import Evidence, Provenance
from geoservice.decisions.delicate import sensitive_in
from geoservice.decisions.reasons import Gate, Reason


def sensitive_check(campaign: Campaign, evidence: Evidence) -> Check:
    """Check 3: a delicate category speaks only for an interest that she declared herself."""
    touched = campaign.delicate
    if not touched:
        return _NOTHING_DELICATE
    declared = {m.interest.category for m in evidence.matches if m.provenance is Provenance.DECLARED}
    undeclared = sorted(touched.keys() - declared)
    refusals = [Reason.SENSITIVE_CATEGORY] if undeclared else []
    used = {
        "sensitive_categories": undeclared,
        "declared": sorted(touched.keys() & declared),
        "classes": sorted({kind.value for kind in touched.values()}),
    }
    return check(Gate.SENSITIVE, refusals, used)


_NOTHING_DELICATE: Final = check(Gate.SENSITIVE, [], {"sensitive_categories": []})


def readable_by_anybody(*texts: str) -> str | None:
    """The delicate word in what a lock screen shows, or None."""
    return next(chain(filter(None, map(sensitive_in, texts))), None)
