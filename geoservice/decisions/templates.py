"""Message texts as Liquid templates in a small, bounded dialect. Pure.

Allowed are ``{{ variable | filter }}`` and ``if``, ``unless``, ``case``. There are no loops, no assignments,
no includes, and no filter that reads a clock or multiplies text, so rendering is bounded by the template's
own length. Every variable must be one of ``VARIABLES``; which ones a template reads is known before it is
ever rendered.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from liquid import BoundTemplate, Environment, StrictDefaultUndefined
from liquid.exceptions import LiquidError
from liquid.static_analysis import TemplateAnalysis
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


_DIALECT: Final = _Dialect(undefined=StrictDefaultUndefined)


class TemplateError(Exception):
    """The template cannot be rendered from these facts; the text says what was missing."""


class Template(Struct, frozen=True, cache_hash=True):
    """A checked template: its source and the variables it reads. Plain text has none."""

    source: str
    variables: tuple[str, ...] = ()
    plain: bool = True


def compile_template(source: str, path: str) -> tuple[Template, list[ErrorDetail]]:
    """Check a template; what is wrong with it points at ``path``."""
    if "{{" not in source and "{%" not in source:
        return Template(source), []
    try:
        analysis = _parsed(source).analyze()
    except LiquidError as error:
        message = str(error.args[0]) if error.args else "cannot be parsed"
        return Template(source), [ErrorDetail(path, "template_syntax", message)]
    except RecursionError:
        return Template(source), [ErrorDetail(path, "template_syntax", "nests too deep")]
    used = _variables(analysis)
    problems = _unknown_names(analysis, used, path)
    return Template(source, tuple(sorted(used)), plain=False), problems


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
    """The text; raises TemplateError when a variable that it reads has no value here."""
    if template.plain:
        return template.source
    try:
        read = tuple([values[name] for name in template.variables])
    except KeyError as missing:
        raise TemplateError(f"{missing.args[0]} has no value here") from None
    return _rendered(template.source, template.variables, read)


@lru_cache(maxsize=1_024)
def _parsed(source: str) -> BoundTemplate:
    return _DIALECT.from_string(source)


@lru_cache(maxsize=8_192)
def _rendered(source: str, names: tuple[str, ...], values: tuple[str | int, ...]) -> str:
    """The same few store names, categories and day counts come again and again."""
    tree: dict[str, dict[str, str | int]] = {}
    for name, value in zip(names, values, strict=True):
        thing, _, attribute = name.partition(".")
        tree.setdefault(thing, {})[attribute] = value
    try:
        return _parsed(source).render(tree)
    except LiquidError as error:
        raise TemplateError(str(error.args[0]) if error.args else "cannot be rendered") from error
