"""Which campaigns listen to a transition, found without asking every campaign. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from geoservice.decisions.campaigns import Campaign, Trigger, TriggerOn
from geoservice.decisions.facts import GeofenceFacts
from geoservice.vocabulary import Transition

Key = tuple[str, str]


class Listeners:
    """Live campaigns by the narrowest thing that their trigger names; a transition asks only those it may concern."""

    def __init__(self, campaigns: Mapping[str, Campaign]) -> None:
        self._by_key: dict[tuple[TriggerOn, Key], list[Campaign]] = {}
        for campaign in campaigns.values():
            trigger = campaign.spec.trigger
            for key in _narrowest(trigger):
                self._by_key.setdefault((trigger.on, key), []).append(campaign)
        self.kinds = frozenset(on.value for on, _ in self._by_key)
        """The kinds of transitions that anybody listens to."""

    def of(self, transition: Transition, geofence: GeofenceFacts) -> tuple[Campaign, ...]:
        """Those that this transition starts, each once."""
        try:
            on = TriggerOn(transition.kind.value)
        except ValueError:  # the end of a presence by silence starts nothing
            return ()
        found = {
            campaign.campaign_id: campaign
            for key in _keys(geofence)
            for campaign in self._by_key.get((on, key), ())
            if campaign.listens_to(transition, geofence)
        }
        return tuple(found.values())


def _narrowest(trigger: Trigger) -> Iterable[Key]:
    if trigger.geofence_ids:
        return [("geofence", each) for each in trigger.geofence_ids]
    if trigger.store_ids:
        return [("store", each) for each in trigger.store_ids]
    if trigger.tags:
        return [("tag", each) for each in trigger.tags]
    return [("kind", trigger.geofence_kind.value if trigger.geofence_kind else "any")]


def _keys(geofence: GeofenceFacts) -> Iterator[Key]:
    """Every key under which a campaign about this geofence may stand."""
    yield "geofence", geofence.geofence_id
    if geofence.store_id is not None:
        yield "store", geofence.store_id
    for tag in geofence.tags:
        yield "tag", tag
    yield "kind", geofence.kind.value
    yield "kind", "any"
