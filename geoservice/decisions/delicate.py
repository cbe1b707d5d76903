"""What is delicate: words and categories that would tell of health, faith, debt and the like. Pure.

A category is looked up in the taxonomy; one that it does not list is delicate as soon as one of its words is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

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
