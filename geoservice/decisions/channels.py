"""By which channel a message would go: the first that the campaign names and she allows. Pure.

Push is allowed by her consent to it, a phone that can be reached, and as long as she has not switched it off. The inbox
in the app interrupts nobody, yet it is off until she switches it on: no record means no.
"""

from __future__ import annotations

from collections.abc import Sequence

from geoservice.decisions.facts import Facts
from geoservice.vocabulary import Channel, Purpose


def is_switched_on(facts: Facts, channel: Channel) -> bool:
    """Whether her settings have the channel on."""
    return facts.preferences.channels.get(channel, channel is Channel.PUSH)


def channel_of(facts: Facts, channels: Sequence[Channel]) -> Channel:
    """The channel of a message; when she allows none, the first, whose refusals then tell why."""
    for channel in channels:
        if _reaches(facts, channel):
            return channel
    return channels[0]


def _reaches(facts: Facts, channel: Channel) -> bool:
    if not is_switched_on(facts, channel):
        return False
    if channel is not Channel.PUSH:
        return True
    consent = facts.consents.get(Purpose.MARKETING_PUSH)
    return consent is not None and consent.granted and facts.customer.push_reachable
