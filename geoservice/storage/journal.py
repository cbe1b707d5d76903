"""What must outlive the database: withdrawals, erasures and revoked keys, in a file outside of it.

A restored backup is a step back in time. Whatever a customer took back since is granted in it again, so each such thing
is also written here before it is answered, and ``geoservice restore-check`` applies it again. On disk::

    JOURNAL_DIR/key             mode 0600; turns ids into pseudonyms
    JOURNAL_DIR/entries.jsonl   mode 0600; append-only, one JSON object a line, on disk before `add` returns

Customers and phones stand in it as keyed hashes: who holds the database and the key can tell whom an entry is about, as
applying it again must, and nobody else can. No coordinates, no push tokens.

Any number of processes of one machine may share a folder; several machines have one each.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from geoservice.errors import NotReady, SettingsError
from geoservice.storage.secret_file import stored_secret

ENTRIES: Final = "entries.jsonl"
KEY: Final = "key"
_DIGEST_BYTES: Final = 16


class ConsentWithdrawn(msgspec.Struct, frozen=True, tag_field="kind", tag="consent_withdrawn"):
    """She took one consent back. ``who`` is her pseudonym, here and below."""

    at: datetime
    who: str
    purpose: str
    notice_version: str


class PreferencesChanged(msgspec.Struct, frozen=True, tag_field="kind", tag="preferences_changed"):
    """Her settings, all of them, as she left them."""

    at: datetime
    who: str
    preferences: dict[str, Any]


class SignedOut(msgspec.Struct, frozen=True, tag_field="kind", tag="signed_out"):
    """She signed out on a phone. ``device`` is the pseudonym of its id."""

    at: datetime
    who: str
    device: str


class Erased(msgspec.Struct, frozen=True, tag_field="kind", tag="erased"):
    """She asked for everything about her to be erased."""

    at: datetime
    who: str


class KeyRevoked(msgspec.Struct, frozen=True, tag_field="kind", tag="key_revoked"):
    """An API key was revoked; key ids name no person."""

    at: datetime
    key_id: str


Entry = ConsentWithdrawn | PreferencesChanged | SignedOut | Erased | KeyRevoked

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class Journal:
    """One folder. Raises SettingsError when it cannot be written: said at start, not at the first withdrawal."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ENTRIES
        if self._path.exists() and self._path.stat().st_size and not (folder / KEY).exists():
            raise SettingsError([f"The journal in {folder} has lost its key: nobody can tell whom it is about."])
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(self._open())
            _sync_folder(folder)
        except OSError as error:
            raise SettingsError([f"The journal folder {folder} cannot be used: {error.strerror}."]) from None
        self._key = stored_secret(folder / KEY, lambda: secrets.token_urlsafe(48)).encode()[:64]

    @classmethod
    def kept_in(cls, folder: Path) -> Self:
        """Open a journal that is there; a wrong folder must not look like one with nothing to apply."""
        if not (folder / ENTRIES).exists():
            raise SettingsError([f"There is no journal in {folder}; name the one of the service that served."])
        return cls(folder)

    def pseudonym(self, *parts: str) -> str:
        """Name a customer, or a customer's phone, without saying who it is."""
        return blake2b("\0".join(parts).encode(), key=self._key, digest_size=_DIGEST_BYTES).hexdigest()

    async def add(self, entry: Entry) -> None:
        """Append an entry; it is on disk when this returns. Raises NotReady when it cannot be."""
        try:
            await asyncio.to_thread(self._append, _encode(entry) + b"\n")
        except OSError as error:
            raise NotReady("What you asked for holds, but cannot be put on record; send it again.") from error

    def entries(self) -> Iterator[Entry | None]:
        """Read the entries in their order; None for a line that was cut off, which nobody got an answer for."""
        with self._path.open("rb") as file:
            for line in file:
                try:
                    yield _decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield None

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _append(self, line: bytes) -> None:
        # Opened each time, so that an operator may move the file away while the service runs.
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _ends_in_newline(descriptor):
                line = b"\n" + line  # what a full disk or a power cut left of an earlier entry must not spoil this one
            while line:
                line = line[os.write(descriptor, line) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _ends_in_newline(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


def _sync_folder(folder: Path) -> None:
    """Make the file's name as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
