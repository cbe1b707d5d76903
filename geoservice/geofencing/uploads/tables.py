"""CSV (RFC 4180, and what spreadsheets make of it) as rows with their lines. Pure.

Read are commas, semicolons, tabs and bars, a byte order mark, quotes, and either kind of line end. With semicolons a
number may be written 53,55, as spreadsheets do wherever the comma is the decimal sign.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from typing import Final

import msgspec

from geoservice.errors import ErrorDetail

MAX_COLUMNS: Final = 200
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+")
_SEPARATORS: Final = ",;\t|"
_DECIMAL_COMMA: Final = re.compile(r"[+-]?[0-9]+,[0-9]+")
_NO_TABLE: Final = {
    b"<": "This is XML, such as KML or GPX; save it as GeoJSON.",
    b"PK\x03\x04": "This is a workbook or an archive; save it as CSV in UTF-8, or as GeoJSON.",
}
"""What people take for a table, by how it begins."""


class Row(msgspec.Struct, frozen=True):
    """One record: its first line, counted from 1, and its cells by column; empty ones are left out."""

    line: int
    cells: dict[str, str]


class Table(msgspec.Struct, frozen=True):
    """A file's columns as it writes them, its rows, and what cannot be read in it."""

    columns: tuple[str, ...]
    rows: list[Row]
    errors: list[ErrorDetail]


class _Unreadable(Exception):
    """The file as a whole is no table; carries what is to be said about it."""

    def __init__(self, detail: ErrorDetail) -> None:
        super().__init__(detail.message)
        self.detail = detail


def read_table(body: bytes) -> Table:
    """Read a CSV file whose first line names the columns."""
    try:
        text = _text(body)
        # Not `splitlines`, for which a name may hold line ends that are none in a file: vertical tabs, U+2028.
        # One at a time: to find all of a large file's at once would hold up every thread for seconds.
        head = next((line for line in _lines(text) if line.strip()), "")
        separator = max(_SEPARATORS, key=head.count)
        records = _records(_lines(text), separator)
        _, columns = next(records, (1, []))
        names = _names(columns)
        return _rows(names, records, decimal_comma=separator == ";")
    except _Unreadable as unreadable:
        return Table((), [], [unreadable.detail])


def _text(body: bytes) -> str:
    for beginning, message in _NO_TABLE.items():
        if body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(beginning):
            raise _Unreadable(ErrorDetail("line 1", "csv_malformed", message))
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _Unreadable(ErrorDetail("line 1", "csv_encoding", "The file is UTF-16; save it as CSV in UTF-8."))
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise _Unreadable(
            ErrorDetail(f"line {line}", "csv_encoding", "This is not UTF-8; save it as CSV in UTF-8.")
        ) from None
    if (nul := text.find("\0")) >= 0:
        line = text.count("\n", 0, nul) + 1
        raise _Unreadable(ErrorDetail(f"line {line}", "csv_malformed", "A NUL character: this is no text file."))
    return text


def _lines(text: str) -> Iterator[str]:
    return (line[0] for line in _LINE.finditer(text))


def _records(lines: Iterator[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, with their first lines."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error:
            message = "A quote is not closed, something follows a closing quote, or a cell is longer than 131,072."
            raise _Unreadable(ErrorDetail(f"line {line}", "csv_malformed", message)) from None
        if record is None:
            return
        if any(cell.strip() for cell in record):
            yield line, record


def _names(columns: list[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in columns)
    if not any(names):
        raise _Unreadable(ErrorDetail("line 1", "csv_header", "The first line must name the columns."))
    if len(names) > MAX_COLUMNS:
        raise _Unreadable(ErrorDetail("line 1", "csv_header", f"At most {MAX_COLUMNS} columns are taken."))
    folded = [name.casefold() for name in names if name]
    if len(set(folded)) < len(folded):
        raise _Unreadable(ErrorDetail("line 1", "csv_header", "Two columns have the same name."))
    return names


def _rows(names: tuple[str, ...], records: Iterator[tuple[int, list[str]]], *, decimal_comma: bool) -> Table:
    rows, errors = [], []
    for line, record in records:
        if any(cell.strip() for cell in record[len(names) :]):
            message = "More cells than columns: is there a separator in a text without quotes?"
            errors.append(ErrorDetail(f"line {line}", "csv_row", message))
            continue
        cells = {name: cell.strip() for name, cell in zip(names, record, strict=False) if name and cell.strip()}
        if decimal_comma:
            cells = {
                name: cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell for name, cell in cells.items()
            }
        rows.append(Row(line, cells))
    if not rows and not errors:
        message = "No line follows the names of the columns; curl's -d drops line breaks, --data-binary keeps them."
        raise _Unreadable(ErrorDetail("line 1", "csv_row", message))
    return Table(names, rows, errors)
