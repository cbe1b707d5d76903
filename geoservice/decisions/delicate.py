"""What is delicate: words and categories that would tell of health, faith, debt and the like. Pure.

A category is looked up in the taxonomy; one that it does not list is delicate as soon as one of its words is.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from geoservice.decisions.taxonomy import ATTRIBUTES, PHRASES, STEMS, TAXONOMY, Sensitivity

_WORD: Final = re.compile(r"[^\W_]+")
_PLURAL: Final = re.compile(r"(?<=...)(?<!s)(?<!ou)s$")
_LEVEL: Final = re.compile(r"[>/|]")
_FILLERS: Final = frozenset({"and", "of", "for", "the", "a"})


def _words(text: str) -> tuple[str, ...]:
    """The words of a text in lower case, plurals as singulars: "Running Shoes" and running-shoe are the same."""
    words = (word for word in _WORD.findall(text.lower()) if word not in _FILLERS)
    return tuple(word[:-1] if _PLURAL.search(word) else word for word in words)


_LISTED: Final[dict[tuple[str, ...], Sensitivity | None]] = {_words(name): kind for name, kind in TAXONOMY.items()}

_PHRASES: Final[dict[tuple[str, ...], Sensitivity]] = {
    _words(phrase): kind for kind, phrases in PHRASES.items() for phrase in phrases.split()
}
_LONGEST: Final = max(map(len, (*_LISTED, *_PHRASES)))
_BEGUN: Final = {phrase[0]: len(phrase) for phrase in sorted((*_LISTED, *_PHRASES), key=len)}
"""Of each word that a phrase or a category begins with, how long the longest of them is."""
_EXACT: Final[dict[str, Sensitivity]] = {
    **{word: kind for kind, each in STEMS.items() for stem in each.split() if stem[-1] != "*" for word in _words(stem)},
    # Phrases that somebody wrote without a gap, such as creditscore.
    **{"".join(phrase): kind for phrase, kind in _PHRASES.items()},
}
_ATTRIBUTES: Final = frozenset(word for words in ATTRIBUTES.values() for word in _words(words))
_BEGINNINGS: Final[tuple[tuple[str, Sensitivity], ...]] = tuple(
    (stem[:-1], kind) for kind, stems in STEMS.items() for stem in stems.split() if stem[-1] == "*"
)
_ANY_BEGINNING: Final = tuple(beginning for beginning, _ in _BEGINNINGS)


def _of_word(word: str) -> Sensitivity | None:
    if word in _EXACT:
        return _EXACT[word]
    if not word.startswith(_ANY_BEGINNING):  # most words, at the price of one comparison
        return None
    return next((kind for beginning, kind in _BEGINNINGS if word.startswith(beginning)), None)


def _of_words(words: tuple[str, ...]) -> Sensitivity | None:
    """Of several words, the first delicate one, or the first that are so together."""
    for start in range(len(words)):
        for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
            kind = _PHRASES.get(words[start:end]) or (_of_word(words[start]) if end == start + 1 else None)
            if kind is not None:
                return kind
    return None


@lru_cache(maxsize=4_096)
def sensitivity(category: str) -> Sensitivity | None:
    """What this category would tell about a person; None when it is listed as ordinary, or no word of it is delicate.

    Of a path such as ``Baby > Nursing > Socks`` every level counts.
    """
    whole = _words(category)
    if whole in _LISTED:
        return _LISTED[whole]
    levels = [_words(level) for level in _LEVEL.split(category)]
    return next(filter(None, (_LISTED[level] if level in _LISTED else _of_words(level) for level in levels)), None)


@lru_cache(maxsize=8_192)
def sensitive_in(text: str) -> str | None:
    """The first delicate word, phrase or category that a text says; None when anybody may read it."""
    words = _words(text)
    for start in range(len(words)):
        for length in range(min(_BEGUN.get(words[start], 0), len(words) - start), 0, -1):
            phrase = words[start : start + length]
            if phrase in _PHRASES:
                return " ".join(phrase)
            if phrase in _LISTED and (length > 1 or _LISTED[phrase] is not None):
                if _LISTED[phrase] is not None:
                    return " ".join(phrase)
                break  # an ordinary category, whatever its words mean elsewhere
        else:
            if _of_word(words[start]) is not None:
                return words[start]
    return None


def personal_in(text: str) -> str | None:
    """The same of an attribute's name or value, in any spelling: netWorth, net_worth, net-worth, networth."""
    text = _HUMP.sub(" ", text)
    named = tuple(word for word in _words(text) if word not in _WHOSE)
    return named[0] if len(named) == 1 and named[0] in _ATTRIBUTES else sensitive_in(text)


_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where isPregnant becomes two words, and isHIVPositive four."""

_WHOSE: Final = frozenset(_words("is has her his customer customers user person profile status level band group"))
"""Words around the name of an attribute that do not change what it tells."""
