"""What the sample retailer sells in its app, and the words in which it asks for consent."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct


class Item(Struct, frozen=True):
    """A product as the app shows it; ``price`` in euros."""

    id: str
    name: str
    category: str
    topic: str
    price: float
    text: str


ITEMS: Final = (
    Item("swift-3", "Swift 3", "running-shoes", "running", 129.0, "Light and quick, for the road."),
    Item("dune-runner", "Dune Runner", "running-shoes", "running", 139.0, "Grips where the ground gives way."),
    Item("tide-2", "Tide 2", "running-shoes", "running", 99.0, "Soft, for easy days along the water."),
    Item("west-wind", "West Wind", "rain-jackets", "outdoor", 129.0, "Dry in a Hamburg summer."),
    Item("commuter-20", "Commuter 20", "backpacks", "outdoor", 79.0, "Twenty litres, laptop included."),
    Item("commuter-26", "Commuter 26", "backpacks", "outdoor", 89.0, "Six litres more, for the gym."),
)

TOPICS: Final = {"running": "Running", "outdoor": "Outdoor"}
"""Topics of the campaigns, and what the app calls them."""

NOTICE: Final = "2026-01"

_ENGLISH: Final = """\
Strandläufer Sport asks before it uses anything about you. Each question stands alone: say yes to some, to all or to \
none. You can change every answer in the settings, at once, and shopping works the same either way.

## location
Why: to notice that you are near one of our stores while you walk, and only there. We keep no trail of where you were.
Benefit: you hear of something when you can go and look at it, not at home in the evening.

## marketing_push
Why: to send a message to this phone: at most two a day, none at night.
Benefit: you need not open the app to learn that what you looked for is around the corner.

## personalisation
Why: to use what you look at and buy in this app when we choose what to tell you.
Benefit: shoes for runners, nothing about skis; and silence about what you have bought already.

## associate_sharing
Why: to show an associate in the store what you noted, when you ask for help there.
Benefit: you need not explain it twice.

## insights
Why: to count visits and purchases, never of fewer than eleven people together.
Benefit: stores that are staffed and stocked when you come.
"""

NOTICE_BODY: Final[dict[str, Any]] = {
    "texts": {"en": _ENGLISH},
    "controller": "Strandläufer Sport GmbH, Hamburg",
    "jurisdiction": "EU",
    "data_used": ["place", "browsing", "purchases"],
}
