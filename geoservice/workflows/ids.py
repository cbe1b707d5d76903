"""Fresh ids for rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

_AT_ONCE: Final = 64
"""A look at the system's randomness costs more than the ids that it is for."""


def fresh_ids() -> Iterator[str]:
    """Random UUIDs (RFC 9562, version 4), as many as are asked for; for one batch, never to be shared by processes."""
    while True:
        digits = os.urandom(16 * _AT_ONCE).hex()
        for at in range(0, len(digits), 32):
            one = digits[at : at + 32]
            yield f"{one[:8]}-{one[8:12]}-4{one[13:16]}-{_VARIANT[one[16]]}{one[17:20]}-{one[20:]}"


_VARIANT: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
