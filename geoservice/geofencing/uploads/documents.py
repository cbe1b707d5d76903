"""What a reader of one format makes of a file: features, each with its place in the file. Pure.

A reader is a small module a format. It looks at the form only, and yields GeoJSON Features; all that is to be said
about a geofence is said in one place, whatever format it came in, and by the names that the file itself uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from geoservice.errors import ErrorDetail

_INDEXES: Final = re.compile(r"\[[0-9]+\]")


class Origin(msgspec.Struct, frozen=True):
    """Where a feature stands in its file.

    ``before`` leads to it, such as ``features[3].`` or ``line 4``. ``columns`` name, for each path in the feature,
    the column of a table that it was made from.
    """

    before: str
    columns: Mapping[str, str] | None = None

    def place(self, path: str) -> str:
        """Where a path in the feature stands in the file."""
        if self.columns is None:
            return self.before + path
        column = self.columns.get(_INDEXES.sub("", path))
        return self.before if column is None else f"{self.before}, column {column}"


class Document(msgspec.Struct, frozen=True):
    """What a file holds, or several files together."""

    features: Sequence[Any]
    origins: Sequence[Origin]
    errors: Sequence[ErrorDetail] = ()
    warnings: Sequence[ErrorDetail] = ()


def joined(documents: Mapping[str, Document]) -> Document:
    """Read several files as one; each place begins with the name of its file."""
    return Document(
        [feature for document in documents.values() for feature in document.features],
        [
            Origin(f"{name}: {origin.before}", origin.columns)
            for name, document in documents.items()
            for origin in document.origins
        ],
        [_in_file(name, detail) for name, document in documents.items() for detail in document.errors],
        [_in_file(name, detail) for name, document in documents.items() for detail in document.warnings],
    )


def _in_file(name: str, detail: ErrorDetail) -> ErrorDetail:
    return msgspec.structs.replace(detail, path=f"{name}: {detail.path}")
