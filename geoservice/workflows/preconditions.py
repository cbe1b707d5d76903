"""What a caller takes for the present state (RFC 9110, 13.1): who changes what she read is told when it moved on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from geoservice.errors import PreconditionFailed


@dataclass(frozen=True, slots=True)
class Expected:
    """What should be there: one of these ``versions``; something, or nothing. None expects neither."""

    versions: frozenset[int] | None = None
    exists: bool | None = None

    def check(self, version: int | None) -> None:
        """Compare with the version that is there, None for nothing, in a transaction that keeps it so.

        Raises PreconditionFailed.
        """
        if self.exists is not None and self.exists is (version is None):
            raise PreconditionFailed("It is not there." if self.exists else "It is there already.")
        if self.versions is not None and version not in self.versions:
            raise PreconditionFailed("It was changed since it was read; read it again.")


ANYTHING: Final = Expected()
