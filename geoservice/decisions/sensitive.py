"""Check 3 and the words of check 10: what must not be concluded, and what must not be read over her shoulder. Pure.

A category is looked up in the taxonomy; one that it does not list is delicate as soon as one of its words is. What is
delicate drives a message only for an interest that she declared herself, and is never readable on a lock screen.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain
from typing import Final

from geoservice.decisions.campaigns import Campaign
from geoservice.decisions.checks import Check, check
from geoservice.decisions.conditions import Interest
from geoservice.decisions.context import Evidence, Provenance
from geoservice.decisions.reasons import Gate, Reason
from geoservice.decisions.taxonomy import STEMS, TAXONOMY, Sensitivity

_WORD: Final = re.compile(r"[^\W_]+")
_LEVEL: Final = re.compile(r"[>/|]")
_FILLERS: Final = frozenset({"and", "of", "for", "the", "a"})


def _words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, plurals as singulars: "Running Shoes" and running-shoe are the same."""
    words = (word for word in _WORD.findall(text.lower()) if word not in _FILLERS)
    return tuple(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)


_LISTED: Final[dict[tuple[str, ...], Sensitivity | None]] = {_words(name): kind for name, kind in TAXONOMY.items()}
_LONGEST: Final = max(map(len, _LISTED))

_EXACT: Final[dict[str, Sensitivity]] = {
    word: kind for kind, stems in STEMS.items() for stem in stems.split() if stem[-1] != "*" for word in _words(stem)
}
_BEGINNINGS: Final[tuple[tuple[str, Sensitivity], ...]] = tuple(
    (stem[:-1], kind) for kind, stems in STEMS.items() for stem in stems.split() if stem[-1] == "*"
)


def _of_word(word: str) -> Sensitivity | None:
    if word in _EXACT:
        return _EXACT[word]
    return next((kind for beginning, kind in _BEGINNINGS if word.startswith(beginning)), None)


@lru_cache(maxsize=4_096)
def sensitivity(category: str) -> Sensitivity | None:
    """What this category would tell about a person; None when it is listed as ordinary, or no word of it is delicate.

    Of a path such as ``Baby > Nursing > Socks`` every level counts.
    """
    whole = _words(category)
    if whole in _LISTED:
        return _LISTED[whole]
    levels = [_words(level) for level in _LEVEL.split(category)]
    found = (_LISTED[level] if level in _LISTED else next(filter(None, map(_of_word, level)), None) for level in levels)
    return next(filter(None, found), None)


@lru_cache(maxsize=8_192)
def sensitive_in(text: str) -> str | None:
    """The first delicate word or category that a text says; None when anybody may read it."""
    words = _words(text)
    for start in range(len(words)):
        for length in range(min(_LONGEST, len(words) - start), 0, -1):
            phrase = words[start : start + length]
            if phrase in _LISTED and (length > 1 or _LISTED[phrase] is not None):
                if _LISTED[phrase] is not None:
                    return " ".join(phrase)
                break  # an ordinary category, whatever its words mean elsewhere
        else:
            if _of_word(words[start]) is not None:
                return words[start]
    return None


@lru_cache(maxsize=4_096)
def _touched(interests: tuple[Interest, ...]) -> dict[str, Sensitivity]:
    return {each.category: kind for each in interests if (kind := sensitivity(each.category)) is not None}


def sensitive_check(campaign: Campaign, evidence: Evidence) -> Check:
    """Check 3: a delicate category speaks only for an interest that she declared herself."""
    touched = _touched(campaign.interests)
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
