"""The shoe story: what happens, and what the service is expected to say each time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Final

from geoservice.decisions.reasons import Reason
from geoservice.demo.city import City
from geoservice.demo.client import Client
from geoservice.demo.result import Result
from geoservice.demo.stage import ZONE, Stage, Taken, Tell
from geoservice.errors import GeoserviceError

LENA, BEN, PAUL, AYLA = "lena", "ben", "paul", "ayla"
PEOPLE: Final = (LENA, BEN, PAUL, AYLA)


def on(day: int, time: str) -> datetime:
    """A moment of March 2026 in Hamburg; the 2nd is a Monday."""
    return datetime.fromisoformat(f"2026-03-{day:02}T{time}").replace(tzinfo=ZONE)


class Story:
    """Plays the story scene by scene; ``result`` grows on the way."""

    def __init__(self, client: Client, city: City, taken: Taken, tell: Tell) -> None:
        self._stage = Stage(client, city, taken, tell)

    @property
    def result(self) -> Result:
        """What it came to so far."""
        return self._stage.result

    async def play(self) -> None:
        """Play all of it; an error ends the story and is a difference."""
        scenes: Iterable[Callable[[], Awaitable[None]]] = (
            self._she_looks_and_leaves,
            self._one_push_a_visit,
            self._never_more_than_the_cap,
            self._the_others,
            self._bought_is_bought,
        )
        try:
            for scene in scenes:
                await scene()
            await self._stage.check_the_books(PEOPLE)
        except (GeoserviceError, OSError) as error:
            self.result.differences.append(f"The story broke off: {error}")

    # The scenes ---------------------------------------------------------------------------------------------

    async def _she_looks_and_leaves(self) -> None:
        await self._stage.install_app(LENA, on(2, "20:10"))
        await self._stage.shop_online(
            LENA, on(2, "20:14"), "product_viewed", "running-shoes", ["swift-3", "dune-runner"],
            title="Lena looks at running shoes",
            text="Two pairs, in the app, on the sofa. She buys neither.",
        )  # fmt: skip
        await self._stage.walk(
            LENA, on(10, "12:10"), "hh-moenckebergstrasse", expect=Reason.NO_LOCATION_CONSENT,
            title="A week later she walks past the store in Mönckebergstraße",
            text="She has not allowed the app to use her location, nor anything else.",
        )  # fmt: skip
        await self._stage.opt_in(
            LENA, on(10, "19:30"), ["running", "outdoor"],
            title="Lena opts in",
            text="In the app she reads what it is for, and says yes.",
        )  # fmt: skip

    async def _one_push_a_visit(self) -> None:
        await self._stage.walk(
            LENA, on(11, "12:05"), "hh-moenckebergstrasse", about="running-shoes",
            title="In her lunch break Lena walks past the store again",
            text="She is near, she looked at running shoes, and she allowed it.",
        )  # fmt: skip
        await self._stage.walk(
            LENA, on(11, "14:40"), "hh-moenckebergstrasse", about="running-shoes", expect=Reason.CAMPAIGN_COOLDOWN,
            title="She walks past once more",
            text="Still without new shoes. But she was told today.",
        )  # fmt: skip

    async def _never_more_than_the_cap(self) -> None:
        await self._stage.shop_online(
            LENA, on(11, "15:20"), "wishlisted", "rain-jackets", ["west-wind"],
            title="It begins to rain",
            text="Lena puts a rain jacket on her wish list.",
        )  # fmt: skip
        await self._stage.walk(
            LENA, on(11, "16:10"), "hh-gaensemarkt", about="rain-jackets",
            title="She walks past the store at Gänsemarkt",
            text="Another store, another wish, and four hours since the last message.",
        )  # fmt: skip
        await self._stage.shop_online(
            LENA, on(11, "17:30"), "product_viewed", "backpacks", ["commuter-20", "commuter-26"],
            title="Waiting for the lift, she looks at two backpacks",
            text="The store at the station has a campaign for backpacks.",
        )  # fmt: skip
        await self._stage.walk(
            LENA, on(11, "18:45"), "hh-hauptbahnhof", about="backpacks", expect=Reason.DAILY_CAP,
            title="On her way to the train she walks past the store at the station",
            text="A third store, a third interest. The only thing against it is the day's cap.",
        )  # fmt: skip

    async def _the_others(self) -> None:
        for customer, moment in ((BEN, "08:00"), (PAUL, "08:01"), (AYLA, "08:02")):
            await self._stage.install_app(customer, on(12, moment))
            await self._stage.allow(customer, ["running", "outdoor"])
        await self._stage.walk(
            BEN, on(12, "12:20"), "hh-moenckebergstrasse", about="running-shoes", expect=Reason.CONTEXT_NOT_MET,
            title="Ben walks past the store",
            text="He allowed everything. He has not looked at anything.",
        )  # fmt: skip
        await self._stage.shop_online(
            PAUL, on(12, "13:00"), "product_viewed", "running-shoes", ["swift-3", "tide-2"],
            title="Paul looks at two pairs of running shoes", text="In the app, at his desk.",
        )  # fmt: skip
        await self._stage.walk(
            PAUL, on(12, "17:40"), "hh-moenckebergstrasse", about="running-shoes", expect=Reason.DRIVING,
            drives=True,
            title="Paul drives home and waits at the lights beside the store",
            text="He did look at running shoes. But now he looks at the road.",
        )  # fmt: skip
        await self._stage.shop_online(
            AYLA, on(13, "18:00"), "product_viewed", "running-shoes", ["dune-runner", "tide-2"],
            title="Ayla looks at two pairs of running shoes", text="In the app, after work.",
        )  # fmt: skip
        await self._stage.walk(
            AYLA, on(13, "22:20"), "hh-moenckebergstrasse", about="running-shoes", expect=Reason.QUIET_HOURS_RETAILER,
            title="Ayla walks past the store, which is open until midnight",
            text="It is the long shopping night. Everything is right but the hour.",
        )  # fmt: skip

    async def _bought_is_bought(self) -> None:
        await self._stage.buy(
            LENA, on(14, "11:20"), "running-shoes", "swift-3", "hh-moenckebergstrasse",
            title="Lena buys the shoes at the till",
            text="The till tells the service. Her phone is in her bag, switched off.",
        )  # fmt: skip
        await self._stage.walk(
            LENA, on(18, "12:30"), "hh-moenckebergstrasse", about="running-shoes", expect=Reason.ALREADY_PURCHASED,
            title="The week after, she walks past the store again",
            text="The campaign has rested for a week, and would speak to anyone still looking.",
        )  # fmt: skip
