"""Secrets that the service makes for itself: one file each, for this user only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from geoservice.errors import SettingsError

SECRET_MIN_CHARS: Final = 32


def stored_secret(path: Path, make: Callable[[], str]) -> str:
    """Read a secret that only this user can read, or make it. Raises SettingsError when that cannot be done."""
    try:
        return _read_or_make(path, make)
    except OSError as error:
        raise SettingsError([f"{path} cannot be used: {error.strerror}."]) from None


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Written aside and linked in place, so that nobody ever reads half of it; the first one wins.
        descriptor, aside = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(aside, path)
        Path(aside).unlink()
    secret = path.read_text().strip()
    if len(secret) < SECRET_MIN_CHARS:
        raise SettingsError([f"{path} does not hold a secret; remove it and a new one is made."])
    return secret
