"""Message texts as Liquid templates in a small, bounded dialect. Pure.

Allowed are ``{{ variable | filter }}`` and ``if``, ``unless``, ``case``. There are no loops, no assignments,
no includes, and no filter that reads a clock or multiplies text, so rendering is bounded by the template's
own length. Every variable must be one of ``VARIABLES``; which ones a template reads is known before it is
ever rendered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Final

from liquid import BoundTemplate, Environment
from liquid.exceptions import LiquidError, UndefinedError
from liquid.static_analysis import TemplateAnalysis
from liquid.undefined import FalsyStrictUndefined
from msgspec import Struct

from geoservice.errors import ErrorDetail

VARIABLES: Final[dict[str, str]] = {
    "store.name": "the store's name, for example Harbour Street",
    "geofence.name": "the name of the geofence that the phone entered or left",
    "interest.category": "the category of the strongest matched interest, in plain words: running shoes",
    "interest.count": "how many of her events matched",
    "interest.days_ago": "whole calendar days, in her time zone, since the newest matched event",
    "interest.date": "the day of the newest matched event in her time zone, for example 15 November",
}
"""Every variable that a template may use, with what it holds."""

SAMPLES: Final[Mapping[str, str | int]] = {
    name: 7 if name.endswith((".count", ".days_ago")) else "Harbour Street" for name in VARIABLES
}
"""A value for each, to try a template with."""

Values = tuple[str | int | None, ...]
"""What every variable holds, in their order, None where it has no value; at the end the date in her language."""

_PLACES: Final = {name: place for place, name in enumerate(VARIABLES)}

TAGS: Final = frozenset({"if", "unless", "case"})
FILTERS: Final = frozenset(
    {
        "append",
        "at_least",
        "at_most",
        "capitalize",
        "default",
        "downcase",
        "minus",
        "plus",
        "prepend",
        "round",
        "squish",
        "strip",
        "truncate",
        "truncatewords",
        "upcase",
        "url_encode",
    }
)
_SYNTAX_TAGS: Final = frozenset({"content", "output", "illegal"})  # how the parser names text and {{ }}

MAX_RENDERED_B: Final = 4_096
MAX_EXPRESSION: Final = 1_000
MAX_BLANKS: Final = 20
"""Characters between two delimiters, and blanks before the second: the parser's time grows with their square."""
_OPENING = re.compile(r"\{[{%]")
_UNPARSED = re.compile(r"-?\s*(raw|doc)\b")


class _Dialect(Environment):
    """Liquid with only the tags and filters above."""

    block_nesting_limit = 8
    context_depth_limit = 8
    output_stream_limit = MAX_RENDERED_B
    loop_iteration_limit = 1
    local_namespace_limit = 1

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.tags = {name: tag for name, tag in self.tags.items() if name in TAGS | _SYNTAX_TAGS}
        self.filters = {name: each for name, each in self.filters.items() if name in FILTERS}


class _Missing(FalsyStrictUndefined):
    """A variable without a value: `if` takes it for false and `default` replaces it; written out, it is an error."""

    force_liquid_default = True


_DIALECT: Final = _Dialect(undefined=_Missing)


class TemplateError(Exception):
    """The template cannot be rendered from these facts; the text says what was missing."""


class Template(Struct, frozen=True, gc=False, cache_hash=True):
    """A checked template: its source and the variables it reads. Plain text has none."""

    source: str
    variables: tuple[str, ...] = ()
    plain: bool = True


def compile_template(source: str, path: str) -> tuple[Template, list[ErrorDetail]]:
    """Check a template; what is wrong with it points at ``path``."""
    if "{{" not in source and "{%" not in source:
        return Template(source), []
    if message := _delimited_badly(source):
        return Template(source), [ErrorDetail(path, "template_syntax", message)]
    try:
        analysis = _parsed(source).analyze()
    except LiquidError as error:
        message = str(error.args[0]) if error.args else "cannot be parsed"
        return Template(source), [ErrorDetail(path, "template_syntax", message)]
    except RecursionError:
        return Template(source), [ErrorDetail(path, "template_syntax", "nests too deep")]
    used = _variables(analysis)
    problems = _unknown_names(analysis, used, path) or _rendering_problems(source, used, path)
    return Template(source, tuple(sorted(used)), plain=False), problems


def _delimited_badly(source: str) -> str | None:
    """Say what would keep the parser busy: from each delimiter without its other half it looks through all the rest."""
    end = 0
    while opening := _OPENING.search(source, end):
        close = "}}" if opening[0] == "{{" else "%}"
        end = source.find(close, opening.end())
        if end < 0:
            return f"expected '{close}', found end of file"
        inside = source[opening.end() : end].removesuffix("-")
        if len(inside) > MAX_EXPRESSION or len(inside) - len(inside.rstrip()) > MAX_BLANKS:
            return f"more than {MAX_EXPRESSION} characters, or {MAX_BLANKS} blanks at the end, before '{close}'"
        if close == "%}" and (tag := _UNPARSED.match(inside)):
            return f"unexpected tag '{tag[1]}'"
        end += len(close)
    return None


def _variables(analysis: TemplateAnalysis) -> set[str]:
    return {str(variable) for uses in analysis.variables.values() for variable in uses}


def _unknown_names(analysis: TemplateAnalysis, used: set[str], path: str) -> list[ErrorDetail]:
    return [
        ErrorDetail(path, "template_variable", f"unknown variable {name}; known: {', '.join(VARIABLES)}")
        for name in sorted(used - VARIABLES.keys())
    ] + [
        ErrorDetail(path, "template_filter", f"unknown filter {name}; known: {', '.join(sorted(FILTERS))}")
        for name in sorted(analysis.filters.keys() - FILTERS)
    ]


def render(template: Template, values: Mapping[str, str | int]) -> str:
    """The text; raises TemplateError when it writes out a variable that has no value here."""
    if template.plain:
        return template.source
    return _rendered(template.source, template.variables, tuple([values.get(name) for name in template.variables]))


@lru_cache(maxsize=256)  # more than there are sets of names: equal texts have one and the same
def reader(names: tuple[str, ...], *, in_her_language: bool) -> Callable[[Values], Values]:
    """What takes the values of these variables, in their order, from those of all."""
    places = [len(_PLACES) if in_her_language and name == "interest.date" else _PLACES[name] for name in names]
    if len(places) > 1:  # fewer would not come as a tuple
        return itemgetter(*places)
    return lambda values: tuple([values[place] for place in places])


def _rendering_problems(source: str, used: set[str], path: str) -> list[ErrorDetail]:
    """Write it once with every variable present, so that what can never be written is refused at once."""
    names = tuple(sorted(used))
    try:
        _rendered(source, names, tuple([SAMPLES[name] for name in names]))
    except TemplateError as error:
        return [ErrorDetail(path, "template_syntax", str(error))]
    return []


@lru_cache(maxsize=1_024)
def _parsed(source: str) -> BoundTemplate:
    return _DIALECT.from_string(source)


@lru_cache(maxsize=8_192)
def _rendered(source: str, names: tuple[str, ...], values: tuple[str | int | None, ...]) -> str:
    """The same few store names, categories and day counts come again and again."""
    tree: dict[str, dict[str, str | int]] = {}
    for name, value in zip(names, values, strict=True):
        if value is not None:
            thing, _, attribute = name.partition(".")
            tree.setdefault(thing, {})[attribute] = value
    try:
        text = _parsed(source).render(tree)
    except UndefinedError:
        missing = [name for name, value in zip(names, values, strict=True) if value is None]
        raise TemplateError(f"{' or '.join(missing)} has no value here") from None
    except LiquidError as error:
        raise TemplateError(str(error.args[0]) if error.args else "cannot be rendered") from error
    except (ArithmeticError, ValueError, MemoryError, RecursionError) as error:
        raise TemplateError(f"cannot be rendered: {type(error).__name__}") from error
    if len(text) > MAX_RENDERED_B:
        raise TemplateError(f"comes to more than {MAX_RENDERED_B} characters")
    return text
