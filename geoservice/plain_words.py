"""What is wrong with a body, in plain words: msgspec's message becomes a path, a code and a sentence. Pure.

Whoever writes a campaign has never heard of a regex or of RFC 3339, so the sentence says what to write instead. It
never quotes a value that was sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import msgspec.inspect

from geoservice.errors import ErrorDetail

_AT: Final = " - at `"
_PATH = re.compile(r"\$([A-Za-z0-9_.\[\]]{0,200})`")
_QUOTED = re.compile(r"(?<=value) ['\"].*$", re.DOTALL)
"""What msgspec quotes of the caller's text: a value that is no member of an enum."""
_UNLIKE_A_FIELD = re.compile(r"(?<=unknown field) `(?![A-Za-z_]{1,40}`$).*$", re.DOTALL)
"""A name that looks like one is repeated, since it is a typing error; any other might be an id, or a place."""

_A_TIME: Final = "must be a time with an offset, such as 2026-11-27T09:00:00+01:00"
_PLAIN: Final = tuple(
    (re.compile(expression), words)
    for expression, words in (
        (r"^Object missing required field (`\w+`)$", r"\1 is missing"),
        (r"^Object contains unknown field (`\w+`)$", r"there is no field \1"),
        (r"^Object contains unknown field$", "there is no such field"),
        (r"^Invalid (?:enum )?value$", "is not one of the words for this"),
        (r"^Invalid RFC3339 encoded datetime$|^Expected `datetime[` ]", _A_TIME),
        (r"^Invalid RFC3339 encoded date$|^Expected `date[` ]", "must be a day, such as 2026-11-27"),
        (r"^Expected `str` of length >= 1$", "must not be empty"),
        (r"^Expected `str` of length >= (\d+)$", r"must have \1 characters or more"),
        (r"^Expected `str` of length <= (\d+)$", r"must have \1 characters at most"),
        (r"^Expected `\w+` of length >= (\d+)$", r"must hold \1 or more"),
        (r"^Expected `\w+` of length <= (\d+)$", r"must hold \1 at most"),
        (r"^Expected `\w+` >= (-?\d+)(?:\.0)?$", r"must be at least \1"),
        (r"^Expected `\w+` <= (-?\d+)(?:\.0)?$", r"must be at most \1"),
        (r"^Expected `\w+` > (-?\d+)(?:\.0)?$", r"must be above \1"),
        (r"^Expected `\w+` < (-?\d+)(?:\.0)?$", r"must be below \1"),
        (r"^Expected `str` matching regex .*\|2\[0-3\]", "must be hours and minutes, such as 21:00"),
        (r"^Expected `str` matching regex .*a-z\]\{2,3\}", "must be a language tag, such as de or fr-CH"),
        (r"^Expected `str` matching regex '\^\[([^\]]+)\][+*]\$", r"may hold only \1"),
        (r"^Expected `str` matching regex '\^\[0-9A-Fa-f\]\{(\d+)\}\$", r"must be \1 hexadecimal digits"),
        (r"^Expected `str` matching regex '\^\[0-9A-Fa-f\]\{8\}\(", "must be a UUID"),
    )
)
_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_TYPE: Final = re.compile(r"^Expected `([a-z]+(?: \| [a-z]+)*)`, got `[a-z]+`$")


def detail_of(error: msgspec.ValidationError, kind: Any = None, prefix: str = "") -> ErrorDetail:
    """Say where a body breaks which rule; with the type that it should be, also which words and fields there are."""
    # The last one: names that were sent stand before it, and may be made to look like it.
    what, _, place = str(error).rpartition(_AT)
    found = _PATH.fullmatch(place.removeprefix("key` in `"))
    if found is None or not what:
        what = str(error)
    inside = found[1] if found else ""
    what = _UNLIKE_A_FIELD.sub("", _QUOTED.sub("", what))
    code = _code_of(what)
    path, known = (prefix + inside).lstrip("."), ", ".join(_known(code, kind, inside))
    if known and code == "unknown_value":
        return ErrorDetail(path, code, f"must be one of {known}")
    return ErrorDetail(path, code, _plain(what) + (f"; known: {known}" if known else ""))


def _code_of(what: str) -> str:
    for words, code in (
        ("missing required field", "missing"),
        ("unknown field", "unknown_field"),
        ("Invalid enum value", "unknown_value"),
        ("Invalid value", "unknown_value"),
        ("of length", "length"),
        ("matching regex", "pattern"),
        ("timezone", "timezone"),
        ("beyond the calendar", "out_of_range"),
        ("out of range", "out_of_range"),
    ):
        if words in what:
            return code
    return "out_of_range" if re.search(r"[<>]=? |[<>]=?-?\d", what) else "type"


def _plain(what: str) -> str:
    for expression, words in _PLAIN:
        if found := expression.search(what):
            return found.expand(words).replace("\\\\", "")  # as it stands in a character class
    if found := _TYPE.match(what):
        return f"must be {' or '.join(_KINDS.get(name, name) for name in found[1].split(' | ') if name != 'null')}"
    return what


def _known(code: str, kind: Any, path: str) -> list[str]:
    """Name the words or fields that may stand at a path of a type; none where it is no list of words."""
    if kind is None or code not in {"unknown_value", "unknown_field"}:
        return []
    kinds = _members(msgspec.inspect.type_info(kind))
    for step in re.findall(r"[^.\[\]]+", path):
        kinds = [inner for outer in kinds for inner in _inside(outer, step)]
    kinds = [each.key_type if isinstance(each, msgspec.inspect.DictType) else each for each in kinds]
    return [name for each in kinds for name in _names(each)]


def _names(kind: msgspec.inspect.Type) -> Sequence[str]:
    match kind:
        case msgspec.inspect.EnumType(cls=words):
            return [str(word) for word in words]
        case msgspec.inspect.LiteralType(values=words):
            return [str(word) for word in words]
        case msgspec.inspect.StructType(fields=fields):
            return [field.encode_name for field in fields]
    return []


def _inside(kind: msgspec.inspect.Type, step: str) -> Sequence[msgspec.inspect.Type]:
    match kind:
        case msgspec.inspect.StructType(fields=fields):
            return [inner for field in fields if field.encode_name == step for inner in _members(field.type)]
        case msgspec.inspect.CollectionType(item_type=item):
            return _members(item)
        case msgspec.inspect.DictType(value_type=value):
            return _members(value)
    return []


def _members(kind: msgspec.inspect.Type) -> Sequence[msgspec.inspect.Type]:
    return kind.types if isinstance(kind, msgspec.inspect.UnionType) else [kind]
