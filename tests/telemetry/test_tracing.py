"""Traces, sent to a collector that is real HTTP and reads the real protocol."""
# ruff: noqa: D102 - the names of helpers say what they do

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from conftest import CAMPAIGN, STORE, environment, free_port, running, walk
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from geoservice.demo.fcm_stand_in import Answer

OPEN = {"context": {}, "uses": []}


class Collector:
    """What an OpenTelemetry collector got: spans by id."""

    def __init__(self) -> None:
        self.spans: dict[bytes, object] = {}
        self.names: set[str] = set()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            self.names |= {a.value.string_value for a in resource.resource.attributes if a.key == "service.name"}
            self.spans |= {span.span_id: span for scope in resource.scope_spans for span in scope.spans}
        return web.Response(content_type="application/x-protobuf")

    def named(self, name: str) -> list:
        return [span for span in self.spans.values() if span.name == name]

    def path_of(self, span) -> list[str]:
        """The names from the root down to this span."""
        parent = self.spans.get(span.parent_span_id)
        return [*(self.path_of(parent) if parent is not None else []), span.name]


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    taker = Collector()
    application = web.Application()
    application.router.add_post("/v1/traces", taker.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taker.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield taker
    await runner.cleanup()


def attributes(span) -> dict[str, object]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


async def test_one_trace_leads_from_the_ping_to_the_push(database_url, fcm, tmp_path, collector):
    """The request that brought her to the store, matching, the decision and the push are one trace."""
    settings = environment(database_url, fcm, tmp_path, GEOSERVICE_OTLP_ENDPOINT=collector.url)
    async with running(settings, fcm) as client:
        await client.set_up_store()
        await client.set_up_campaign(**OPEN)
        await client.opt_in("ada@example.org")
        await client.walk_in("ada@example.org")
        await client.delivered(1)
        await client.settled()
    (push,) = collector.named("push")
    assert collector.path_of(push) == ["POST /v1/pings", "ingest", "decide", "push"]
    together = [span for span in collector.spans.values() if span.trace_id == push.trace_id]
    assert {"POST /v1/pings", "ingest", "match", "decide", "push"} == {span.name for span in together}
    assert attributes(push)["geoservice.outcome"] == "Accepted"
    (decide,) = collector.named("decide")
    assert attributes(decide).items() >= {"geoservice.campaign_id": "shoes", "geoservice.outcome": "send"}.items()
    assert collector.names == {"geoservice"}


async def test_traces_tell_nothing_of_a_person_or_a_place(database_url, fcm, tmp_path, collector):
    """No customer id, phone, push token, geofence or coordinate stands in any span."""
    settings = environment(database_url, fcm, tmp_path, GEOSERVICE_OTLP_ENDPOINT=collector.url)
    async with running(settings, fcm) as client:
        await client.set_up_store()
        await client.set_up_campaign(**OPEN)
        await client.opt_in("ada@example.org")
        await client.walk_in("ada@example.org")
        await client.delivered(1)
        await client.ok("GET", "/v1/decisions?customer_id=ada@example.org", who=client.ops)
        await client.ok("PUT", "/v1/customers/ada@example.org", {"locale": "de"}, who=client.ops)
        await client.call("GET", "/v1/nowhere/ada@example.org", who=client.ops)
    assert len(collector.spans) > 15
    for span in collector.spans.values():
        assert not span.events
        told = f"{span.name} {attributes(span)} {span.status.message}"
        assert not [word for word in ("ada@", "example", "token", "53.5", "harbour") if word in told], told


async def test_a_trace_goes_on_in_the_process_that_sends_later(database_url, fcm, tmp_path, collector):
    """A message that one process decided and another one sends after a restart keeps its trace."""
    more = {"GEOSERVICE_CLOCK": "system", "GEOSERVICE_DEFAULT_QUIET_HOURS": "none"}
    settings = environment(database_url, fcm, tmp_path, GEOSERVICE_OTLP_ENDPOINT=collector.url, **more)
    fcm.script(Answer("unavailable", retry_after="3"))
    async with running(settings, fcm) as client:
        await client.set_up_store()
        always_open = {key: value for key, value in STORE.items() if key != "opening_hours"}
        await client.ok("PUT", "/v1/stores/harbour", always_open, who=client.ops)
        await client.set_up_campaign(**OPEN)
        await client.opt_in("ada")
        await client.ping("ada", *walk(datetime.now(UTC) - timedelta(minutes=8), 53.55, 10.0))
        async with asyncio.timeout(60):
            while not await client.sql("select from messages where state = 'retry_wait'"):
                await asyncio.sleep(0.02)
    async with running(settings, fcm) as client:
        await client.delivered(1, timeout_s=60)
        await client.settled()
    assert [collector.path_of(span) for span in collector.named("push")] == [
        ["POST /v1/pings", "ingest", "decide", "push"]
    ] * 2


async def test_a_trace_that_is_not_sampled_costs_no_row(database_url, fcm, tmp_path, collector, monkeypatch):
    """OpenTelemetry's own variables hold: with the sampler off nothing is sent, and nothing is kept."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    settings = environment(database_url, fcm, tmp_path, GEOSERVICE_OTLP_ENDPOINT=collector.url)
    async with running(settings, fcm) as client:
        await client.set_up_store()
        await client.set_up_campaign(**OPEN)
        await client.opt_in("ada")
        await client.walk_in("ada")
        await client.delivered(1)
        assert not await client.sql("select from messages where trace is not null")
        assert not await client.sql("select from transitions where trace is not null")
    assert not collector.spans


async def test_a_collector_that_is_away_disturbs_nobody(database_url, fcm, tmp_path):
    """Without the collector pings are stored, messages go out, and the service stops in order."""
    settings = environment(database_url, fcm, tmp_path, GEOSERVICE_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    async with running(settings, fcm) as client:
        await client.set_up_store()
        await client.set_up_campaign(**CAMPAIGN | OPEN)
        await client.opt_in("ada")
        await client.walk_in("ada")
        await client.delivered(1)


def test_without_traces_nothing_of_them_is_loaded():
    """A service that sends no traces does not even import OpenTelemetry's SDK."""
    look = "import sys, geoservice.app; print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_traces_without_their_extra_are_refused(tmp_path):
    """A collector is set and the extra is not installed: the start says what to install."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry.sdk.trace'] = None\n")
    settings = {
        "PYTHONPATH": str(tmp_path),
        "GEOSERVICE_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "GEOSERVICE_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "geoservice", "serve"]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'geoservice[tracing]'" in done.stderr
