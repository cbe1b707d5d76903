"""Geofences in files and folders: each file is read by its suffix, or by how it begins."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from geoservice.errors import SettingsError
from geoservice.geofencing.uploads.csv_files import read_csv
from geoservice.geofencing.uploads.documents import Document, joined
from geoservice.geofencing.uploads.geojson import read_geojson

_CSV: Final = frozenset({".csv", ".tsv"})
_JSON: Final = frozenset({".json", ".geojson"})


def read_files(files: Sequence[Path]) -> Document:
    """Read files as one document; raises SettingsError for those that cannot be read.

    Of several files, every place begins with the name of its file.
    """
    documents, problems = {}, []
    for file in files:
        try:
            documents[str(file)] = _read(file)
        except OSError as error:
            problems.append(f"{file} cannot be read: {error.strerror}.")
        except orjson.JSONDecodeError as error:
            problems.append(f"{file} is not JSON: {error}.")
    if problems:
        raise SettingsError(problems)
    return next(iter(documents.values())) if len(files) == 1 else joined(documents)


def read_folder(folder: Path) -> Document:
    """Read every geofence file below a folder, hidden ones left out; raises SettingsError."""
    if not folder.is_dir():
        raise SettingsError([f"{folder} is no folder."])
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in _CSV | _JSON
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
    document = read_files(files)
    return joined({str(files[0]): document}) if len(files) == 1 else document


def _read(file: Path) -> Document:
    body = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    suffix = file.suffix.lower()
    if suffix in _CSV or (suffix not in _JSON and body.lstrip()[:1] not in (b"{", b"[")):
        return read_csv(body)
    return read_geojson(orjson.loads(body))
