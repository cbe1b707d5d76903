"""Where the pings of requests wait for a micro-batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from geoservice.errors import ErrorDetail, Overloaded
from geoservice.geofencing.screening import Indexed
from geoservice.vocabulary import Ignored

DeviceKey = tuple[str, str]
"""(customer_id, device_id): the order in which devices are locked."""


@dataclass(slots=True)
class IngestReceipt:
    """What became of the items of one request; the counts and lists add up to the items."""

    accepted: int = 0
    duplicates: int = 0
    ignored: list[tuple[int, Ignored]] = field(default_factory=list)
    rejected: list[tuple[int, ErrorDetail]] = field(default_factory=list)

    def add(self, other: IngestReceipt) -> None:
        """Join with what became of other items of the same request."""
        self.accepted += other.accepted
        self.duplicates += other.duplicates
        self.ignored += other.ignored
        self.rejected += other.rejected


@dataclass(slots=True, eq=False)
class Submission:
    """The observations of one request of one device, waiting for their answer."""

    key: DeviceKey
    observations: Sequence[Indexed]
    answer: asyncio.Future[IngestReceipt]
    give_up_at: float
    trace: str | None = None
    """Where its trace goes on, if it is traced."""
    sent_at: datetime | None = None
    """When the phone says that it sent the request, on its own clock."""


class IngestQueue(Protocol):
    """Where requests wait. The one here is local; a broker that keeps a customer's order may stand in."""

    def put(self, submission: Submission) -> None:
        """Add at the end; raises Overloaded when full."""
        ...

    def put_back(self, submissions: Sequence[Submission]) -> None:
        """Add at the front, in order: their devices were locked."""
        ...

    async def take(self, items: int) -> list[Submission]:
        """Wait for something, then take about as many items as asked for."""
        ...

    @property
    def items(self) -> int:
        """How many pings wait."""
        ...

    @property
    def requests(self) -> int:
        """How many requests wait."""
        ...


class LocalQueue:
    """A bounded queue in this process; what is on it has not been answered, so nothing is lost with it."""

    def __init__(self, capacity_items: int) -> None:
        self._capacity = capacity_items
        self._waiting: deque[Submission] = deque()
        self._filled = asyncio.Event()
        self.items = 0

    def put(self, submission: Submission) -> None:
        """Add at the end; raises Overloaded when full."""
        # An empty queue takes any legal request, however small its capacity.
        if self.items and self.items + len(submission.observations) > self._capacity:
            raise Overloaded("More pings are waiting than can be stored soon; try again shortly.")
        self._waiting.append(submission)
        self.items += len(submission.observations)
        self._filled.set()

    @property
    def requests(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def put_back(self, submissions: Sequence[Submission]) -> None:
        """Add at the front, in order."""
        self._waiting.extendleft(reversed(submissions))
        self.items += sum(len(s.observations) for s in submissions)
        if submissions:
            self._filled.set()

    async def take(self, items: int) -> list[Submission]:
        """Wait for something, then take about as many items as asked for."""
        await self._filled.wait()
        taken: list[Submission] = []
        count = 0
        while self._waiting and (not taken or count + len(self._waiting[0].observations) <= items):
            submission = self._waiting.popleft()
            count += len(submission.observations)
            taken.append(submission)
        self.items -= count
        if not self._waiting:
            self._filled.clear()
        return taken
