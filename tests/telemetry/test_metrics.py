"""What an on-call engineer watches is there, and moves when what it counts happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import get_args

import pytest
from conftest import Client
from prometheus_client.parser import text_string_to_metric_families

from geoservice.decisions.reasons import Reason
from geoservice.demo.fcm_stand_in import Answer
from geoservice.push.outcomes import DeadToken, Outcome
from geoservice.vocabulary import Ignored, TransitionKind

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: Client) -> Samples:
    text = (await client.call("GET", "/metrics")).body.decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, labels: dict[str, str]) -> float:
    """The sum over every sample of that name that has at least these labels."""
    return sum(value for (each, has), value in samples.items() if each == name and labels.items() <= dict(has).items())


MOVED = {
    "pings that were accepted": ("geoservice_pings_total", {"outcome": "accepted"}),
    "pings that came twice": ("geoservice_pings_total", {"outcome": "duplicate"}),
    "pings without consent": ("geoservice_pings_total", {"outcome": "no_location_consent"}),
    "batches": ("geoservice_ingest_batch_seconds_count", {}),
    "the time to lock": ("geoservice_ingest_stage_seconds_sum", {"stage": "lock"}),
    "the time to match": ("geoservice_ingest_stage_seconds_sum", {"stage": "match"}),
    "the time to store": ("geoservice_ingest_stage_seconds_sum", {"stage": "store"}),
    "the time to decide": ("geoservice_ingest_stage_seconds_sum", {"stage": "decide"}),
    "entering": ("geoservice_transitions_total", {"kind": "enter"}),
    "decisions to send": ("geoservice_decisions_total", {"outcome": "send", "reason": "none"}),
    "decisions to be silent, by reason": ("geoservice_decisions_total", {"reason": "context_not_met"}),
    "calls that were accepted": ("geoservice_pushes_total", {"outcome": "Accepted"}),
    "calls that found a dead token": ("geoservice_pushes_total", {"outcome": "TokenDead"}),
    "the time of calls": ("geoservice_push_seconds_count", {}),
    "messages that ended well": ("geoservice_messages_ended_total", {"state": "accepted", "reason": "none"}),
    "messages that failed, by reason": (
        "geoservice_messages_ended_total",
        {"state": "failed", "reason": "unregistered"},
    ),
    "looks at the event loop": ("geoservice_event_loop_lag_seconds_count", {}),
}


async def test_what_happens_is_counted(service):
    """A message, a silence, a dead token, a repeated ping and one without consent each move their metric."""
    before = await scrape(service)
    await service.set_up_store()
    await service.set_up_campaign()
    for person in ("ada", "ben", "cleo"):
        await service.opt_in(person)
    for person in ("ada", "ben"):
        await service.browse(person)
    service.fcm.script(Answer("unregistered"), token="token-ben-phone")
    for person in ("ada", "ben", "cleo"):
        await service.walk_in(person)
        await service.settled()  # the next walk moves the clock, and what still waits would expire
    again = {"type": "location", "recorded_at": service.now, "lat": 53.55, "lon": 10.0, "accuracy_m": 10}
    await service.ping("cleo", again)
    await service.ping("nobody", again)
    unmoved = list(MOVED)
    for _ in range(100):
        now = await scrape(service)
        unmoved = [what for what in unmoved if of(now, *MOVED[what]) <= of(before, *MOVED[what])]
        if not unmoved:
            break
        await asyncio.sleep(0.1)
    assert not unmoved


async def until(service: Client, holds: Callable[[Samples], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds(await scrape(service)):
            await asyncio.sleep(0.1)


async def test_what_waits_is_shown(service):
    """A message that the provider does not take now is seen waiting, and the queue of pings is seen empty."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in("ada")
    await service.browse("ada")
    service.fcm.script(Answer("unavailable", retry_after="60"))
    await service.walk_in("ada")
    await until(service, lambda now: of(now, "geoservice_messages", {"state": "retry_wait"}) == 1)
    samples = await scrape(service)
    assert of(samples, "geoservice_ingest_queue_items", {}) == 0
    assert of(samples, "geoservice_geofences", {}) == 1
    assert ("geoservice_messages", frozenset({("state", "pending")})) in samples


async def test_no_metric_names_anybody(service):
    """No label holds a customer, a phone, a geofence or a place."""
    await service.set_up_store()
    await service.set_up_campaign()
    await service.opt_in("xenia")
    await service.walk_in("xenia")
    told = {value for _, labels in await scrape(service) for _, value in labels}
    assert not [value for value in told for word in ("xenia", "harbour", "token-", "53.5") if word in value]


FIRST_EVENTS = {
    "geoservice_pings_total": ("outcome", ["accepted", "duplicate", "rejected", *Ignored]),
    "geoservice_transitions_total": ("kind", TransitionKind),
    "geoservice_decisions_total": ("reason", ["none", *Reason]),
    "geoservice_pushes_total": ("outcome", [outcome.__name__ for outcome in get_args(Outcome)]),
    "geoservice_push_tokens_retired_total": ("kind", DeadToken),
}


@pytest.mark.parametrize("name", FIRST_EVENTS)
async def test_an_alert_sees_the_very_first_event(service, name):
    """What may be counted is shown before anything was: PromQL's ``increase`` starts from a series' first value."""
    samples = await scrape(service)
    label, values = FIRST_EVENTS[name]
    shown = {value for each, labels in samples if each == name for at, value in labels if at == label}
    assert set(values) <= shown
