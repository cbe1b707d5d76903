"""Transitions and decisions as they commit, from every process on the database; none is missed, none told twice.

Rows are numbered when they are written and can be seen when their transaction commits, so a number may come to light
after a higher one. A viewer therefore remembers the numbers that were passed over: each of them belongs to a
transaction that had begun when the gap was noticed, and once all of those have ended it can come no more. Writers do
nothing for this: they draw a number after they have taken their locks, and so after they have a transaction's id.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from geoservice.errors import Invalid, Overloaded
from geoservice.storage.database import Database
from geoservice.storage.queries import Connection, Queries, Query
from geoservice.telemetry.metrics import LIVE_VIEWERS

LOOKED_BACK: Final = 5_000
"""So many numbers below the newest one are looked at for those that are on their way when a viewer begins."""
AT_ONCE: Final = 500
RESUMED_AT_MOST: Final = 20_000
"""A viewer who comes back after more than this begins anew, and is told so."""
VIEWERS: Final = 32
"""Of one process."""
GAPS_TOLD: Final = 150
"""A place with more gaps than these is not told: its text comes back in a header, and that has 8 KiB."""

_NUMBERS = r"(\d{1,18})((?:[~,]\d{1,18}-\d{1,18})*)"
_PLACE = re.compile(rf"t{_NUMBERS}\.d{_NUMBERS}")
_GAP = re.compile(r"(\d+)-(\d+)")

_sql = Queries("live")


@dataclass(slots=True)
class Gap:
    """Numbers, from ``low`` to ``high``, that were passed over; ``noticed_before`` is a transaction's id.

    Whoever holds one of them had an id below that one.
    """

    low: int
    high: int
    noticed_before: int | None = None
    """None until a look has told which transactions are under way."""


@dataclass(slots=True)
class Numbers:
    """The numbers of one table that were seen: all up to ``top``, but for the gaps."""

    top: int
    gaps: list[Gap] = field(default_factory=list)

    def note(self, seen: Iterable[int], *, oldest: int, next_: int, all_seen: bool) -> None:
        """Note what one look at the table gave, in ascending order.

        ``oldest`` is the first transaction that had not ended then, none from ``next_`` on had begun. ``all_seen`` says
        that the look gave all that there was.
        """
        for number in seen:
            if number > self.top:
                if number > self.top + 1:
                    self.gaps.append(Gap(self.top + 1, number - 1))
                self.top = number
            else:
                self._fill(number)
        if all_seen:
            self.gaps = [gap for gap in self.gaps if gap.noticed_before is None or oldest < gap.noticed_before]
        for gap in self.gaps:
            if gap.noticed_before is None:
                gap.noticed_before = next_

    def _fill(self, number: int) -> None:
        for place, gap in enumerate(self.gaps):
            if gap.low <= number <= gap.high:
                below = Gap(gap.low, number - 1, gap.noticed_before)
                above = Gap(number + 1, gap.high, gap.noticed_before)
                self.gaps[place : place + 1] = [part for part in (below, above) if part.low <= part.high]
                return

    def __str__(self) -> str:
        """Write it so that another process can go on from here."""
        gaps = ",".join(f"{gap.low}-{gap.high}" for gap in self.gaps)
        return f"{self.top}~{gaps}" if gaps else str(self.top)

    @classmethod
    def read(cls, top: str, gaps: str) -> Self:
        """Read what :meth:`__str__` has written."""
        return cls(int(top), [Gap(int(low), int(high)) for low, high in _GAP.findall(gaps)])

    @classmethod
    def begin(cls, newest: Sequence[int]) -> Self:
        """Begin at the end of these numbers; those that are missing among them may still come."""
        numbers = cls(newest[0] if newest else 0)
        for number in newest[1:]:
            if number > numbers.top + 1:
                numbers.gaps.append(Gap(numbers.top + 1, number - 1))
            numbers.top = number
        return numbers


@dataclass(slots=True)
class Place:
    """How far a viewer is."""

    transitions: Numbers
    decisions: Numbers

    def told(self) -> str | None:
        """Write it for the viewer to come back with; None when that would be too long."""
        if len(self.transitions.gaps) + len(self.decisions.gaps) > GAPS_TOLD:
            return None
        return f"t{self.transitions}.d{self.decisions}"


def read_place(text: str) -> Place:
    """Read a place that was told earlier; raises Invalid."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise Invalid("Last-Event-ID must be the id of an event that this route has sent.")
    return Place(Numbers.read(found[1], found[2]), Numbers.read(found[3], found[4]))


@dataclass(frozen=True, slots=True)
class Look:
    """What was new: rows of both tables, in the order of their numbers."""

    transitions: list[Any]
    decisions: list[Any]
    more: bool
    """Whether there was more than one look takes."""

    def __bool__(self) -> bool:
        """Whether there was anything."""
        return bool(self.transitions or self.decisions)


async def begin(database: Database) -> Place:
    """Begin with what happens from now on."""
    async with database.connection() as connection:
        transitions = await _sql.newest_transition.fetch(connection, looked_back=LOOKED_BACK)
        decisions = await _sql.newest_decision.fetch(connection, looked_back=LOOKED_BACK)
    return Place(*(Numbers.begin([row["seq"] for row in rows]) for rows in (transitions, decisions)))


async def resume(database: Database, last: str) -> tuple[Place, bool]:
    """Go on where a viewer was, or begin anew if that is too long ago; tells whether something was left out."""
    place, now = read_place(last), await begin(database)
    behind = (now.transitions.top - place.transitions.top, now.decisions.top - place.decisions.top)
    if all(0 <= each <= RESUMED_AT_MOST for each in behind):
        return place, False
    return now, True


async def look(database: Database, place: Place) -> Look:
    """Give what has come to light since the last look, and move the place on."""
    async with database.connection() as connection:
        transitions, more = await _look(connection, _sql.transitions, place.transitions)
        decisions, more_decisions = await _look(connection, _sql.decisions, place.decisions)
    return Look(transitions, decisions, more or more_decisions)


async def _look(connection: Connection, query: Query, numbers: Numbers) -> tuple[list[Any], bool]:
    rows = await query.fetch(
        connection,
        top=numbers.top,
        lows=[gap.low for gap in numbers.gaps],
        highs=[gap.high for gap in numbers.gaps],
        limit=AT_ONCE,
    )
    told = sorted((row for row in rows if row["seq"] is not None), key=lambda row: row["seq"])
    full = len(told) == AT_ONCE
    numbers.note([row["seq"] for row in told], oldest=rows[0]["oldest"], next_=rows[0]["next"], all_seen=not full)
    return told, full


async def counts(database: Database, since: datetime, until: datetime) -> list[Any]:
    """Count the decisions of a window by campaign, outcome and reason."""
    async with database.connection() as connection:
        return await _sql.counts.fetch(connection, since=since, until=until)


class Viewers:
    """Whoever watches this process: a few, and until it stops."""

    def __init__(self) -> None:
        self._watching = 0
        self._looking = asyncio.Lock()
        self._stopping = asyncio.Event()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Let somebody watch; raises Overloaded."""
        if self._watching >= VIEWERS:
            raise Overloaded(f"{VIEWERS} viewers watch already; try again later.", retry_after_s=30)
        self._watching += 1
        LIVE_VIEWERS.set(self._watching)
        try:
            yield
        finally:
            self._watching -= 1
            LIVE_VIEWERS.set(self._watching)

    async def look(self, database: Database, place: Place) -> Look:
        """Look one after the other: however many watch, they take one connection, since pings come first."""
        async with self._looking:
            return await look(database, place)

    @property
    def stopping(self) -> bool:
        """Whether all of them are to go."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Send them away; they come back to another process."""
        self._stopping.set()

    async def pause(self, seconds: float) -> None:
        """Wait, unless they are to go."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
