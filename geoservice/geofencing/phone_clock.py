"""A phone's clock: how far it is off, learnt from when its requests say that they were sent. Pure.

Each request tells how late it seems to arrive: the server's time minus ``sent_at``. Nothing arrives before it was sent,
so that the smallest of the last eight is the best guess of how slow the phone's clock is. It comes into force only when
it differs from the one in force by more than 60 s: what the network does to a request must not reorder observations.
What is off by more than 30 years is no clock, and is not learnt from: corrected by it, any instant might be now.

The offset is added to everything alike when a phone's instants meet the server's: is this in the future, is it too late
to say something, when did she enter. Order and identity stay on the phone's own clock.
"""

from __future__ import annotations

from typing import Final

import msgspec

REMEMBERED: Final = 8
TOLERANCE_S: Final = 60.0
BELIEVED_S: Final = 30 * 365.25 * 86_400.0


class PhoneClock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``offset_s`` is in force; ``seen_s`` are the latest differences, the newest last."""

    offset_s: float = 0.0
    seen_s: tuple[float, ...] = ()

    def heard(self, difference_s: float) -> PhoneClock:
        """The clock after a request that came so many seconds after its ``sent_at``."""
        if abs(difference_s) > BELIEVED_S:
            return self
        seen = (*self.seen_s, difference_s)[-REMEMBERED:]
        smallest = min(seen)
        return PhoneClock(smallest if abs(smallest - self.offset_s) > TOLERANCE_S else self.offset_s, seen)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PhoneClock).decode


def write_clock(clock: PhoneClock) -> bytes | None:
    """Write a clock as it is stored: not at all, as long as nothing is known of it."""
    return _encode(clock) if clock.seen_s else None


def read_clock(stored: bytes | None) -> PhoneClock:
    """Read a stored clock; None is one of which nothing is known."""
    return PhoneClock() if stored is None else _decode(stored)
