"""The composition root: the only place where adapters are chosen, and where things start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Final, Self

import asyncpg
import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from swagger_ui.core import ApplicationDocument

from geoservice.api import (
    browsers,
    campaigns,
    clients,
    customer,
    dry_run,
    geofences,
    keys,
    limits,
    messages,
    mobile,
    officers,
    ops,
    pages,
    preview,
    privacy,
    problems,
    service,
    shop,
    watching,
)
from geoservice.api.auth import ApiKeys, CustomerTokens, jwt_secret
from geoservice.api.jwks import PublishedKeys
from geoservice.api.rates import RateLimit
from geoservice.api.readiness import Readiness
from geoservice.api.routing import Limits, Route, Services, expected, guarded
from geoservice.api.schemas import UPLOAD_BODY
from geoservice.api.server import Requests, Site
from geoservice.api.traced import trace_requests
from geoservice.clock import Clock, SteerableClock, SystemClock
from geoservice.config import Settings
from geoservice.decisions.facts import QuietHours, RetailerDefaults
from geoservice.errors import GeoserviceError, SettingsError
from geoservice.push.fcm import FcmSender
from geoservice.push.governor import Governor
from geoservice.push.inbox import InboxSender
from geoservice.push.port import Sender
from geoservice.push.recorder import RecorderSender
from geoservice.storage.database import UNREACHABLE, Database, open_pool
from geoservice.storage.embedded import EmbeddedPostgres
from geoservice.storage.journal import Journal
from geoservice.storage.migrate import migrate
from geoservice.telemetry import tracing
from geoservice.telemetry.health import watch_loop_lag
from geoservice.timers import Timers
from geoservice.workflows import erasure, retention, upkeep, waking
from geoservice.workflows.deliver import Deliver
from geoservice.workflows.directory import Directory
from geoservice.workflows.ingest import LANES, Ingest
from geoservice.workflows.live import Viewers
from geoservice.workflows.outbox import Outbox
from geoservice.workflows.queue import LocalQueue

REQUESTS_S: Final = 8.0
"""How long a stop waits for requests under way."""
CUT_AFTER_S: Final = 1.0
"""How long it then waits for each connection before it is cut."""
DRAIN_S: Final = 15.0
"""How long it then waits for calls to the push provider; longer than the longest of them."""

_log = structlog.get_logger(__name__)


def all_routes(*, steerable: bool) -> tuple[Route, ...]:
    """List every route; those of the clock only where it can be steered."""
    clock = service.CLOCK_ROUTES if steerable else ()
    return (
        *service.ROUTES,
        *pages.ROUTES,
        *keys.ROUTES,
        *mobile.ROUTES,
        *clients.ROUTES,
        *customer.ROUTES,
        *messages.ROUTES,
        *privacy.ROUTES,
        *watching.ROUTES,
        *officers.ROUTES,
        *ops.ROUTES,
        *geofences.ROUTES,
        *campaigns.ROUTES,
        *shop.ROUTES,
        *limits.ROUTES,
        *dry_run.ROUTES,
        *preview.ROUTES,
        *clock,
    )


class App:
    """A running service: ``async with App(settings) as app`` starts it and stops it in order."""

    def __init__(self, settings: Settings, *, share_port: bool = False, demo: tuple[Route, ...] = ()) -> None:
        """Choose; ``demo`` are the routes of a demo, which no setting adds and no system clock suffers."""
        if demo and settings.clock != "steerable":
            raise SettingsError(["A demo moves the time: GEOSERVICE_CLOCK must be steerable."])
        self.settings = settings
        self._demo = demo
        self._share_port = share_port
        self.clock: Clock = SteerableClock() if settings.clock == "steerable" else SystemClock()
        self.address: tuple[str, int] = (settings.host, settings.port)
        self.failed = asyncio.Event()
        """Set when a background task ended with an error: the process should stop and be started again."""
        self._stopping = False
        self._requests = Requests()
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            self._stopping = True
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await self._stack.aclose()

    async def _start(self) -> None:
        settings = self.settings
        if settings.otlp_endpoint_url is not None:
            self._stack.push_async_callback(_stop_tracing, tracing.start(settings.otlp_endpoint_url))
        governors = [Governor(self._choose_push(), rate_per_s=settings.fcm_rate_per_s)]
        governors.append(Governor(InboxSender(), rate_per_s=settings.fcm_rate_per_s))
        for governor in governors:
            self._stack.push_async_callback(governor.close)
        database = await self._open_database()
        directory = self.directory = Directory(
            database, retailer_of(settings), self.clock, settings.sensitive_jurisdiction
        )
        queues = [LocalQueue(max(1, settings.ingest_queue_items // LANES)) for _ in range(LANES)]
        ingest = Ingest(database, directory, self.clock, queues)
        deliver = Deliver(database, governors, self.clock)
        await _load_if_possible(directory)

        self._stack.push_async_callback(self._end_tasks)
        self._spawn("directory", directory.watch())
        self._spawn("outcomes", deliver.store_outcomes())
        self._spawn("deliver", deliver.run())
        for governor in governors:
            self._spawn(f"{governor.channel.value} account", governor.keep_checking())
        self._spawn("postponed", upkeep.watch_postponed(database, directory, self.clock, ingest.left_undecided))
        self._spawn("ingest", ingest.run())
        self._spawn("lag", watch_loop_lag())
        self._stack.push_async_callback(deliver.drain, DRAIN_S)

        outbox = Outbox(database, self.clock)
        timers = Timers(database)
        timers.every(1, "settle_messages", outbox.settle)
        timers.every(5, "count_messages", outbox.count, in_each=True)
        timers.every(
            5, "wake_devices", lambda: waking.wake_devices(database, directory, self.clock, ingest.left_undecided)
        )
        timers.every(600, "forget_locations", lambda: upkeep.forget_locations(database, self.clock))
        timers.every(60, "brake_campaigns", lambda: upkeep.brake_campaigns(database, self.clock))
        timers.every(3600, "forget_hours", lambda: upkeep.forget_hours(database, self.clock))
        timers.every(
            retention.TICK_S,
            "retention",
            lambda: retention.retain(database, directory, settings, self.clock),
        )
        timers.every(5, "finish_erasures", lambda: erasure.finish_erasures(database, self.clock))
        timers.start()
        self._stack.push_async_callback(timers.stop)

        tokens = self._choose_tokens()
        pushes_leave = settings.fcm_credentials_path is not None
        services = Services(
            settings=settings,
            database=database,
            journal=Journal(settings.journal_dir),
            directory=directory,
            ingest=ingest,
            deliver=deliver,
            clock=self.clock,
            tokens=tokens,
            keys=ApiKeys(database, self.clock, settings.ops_key),
            readiness=Readiness(database, directory, deliver, tokens, pushes_leave=pushes_leave),
            limits=Limits(
                customers=RateLimit(settings.rate_limit_customer_per_s),
                devices=RateLimit(settings.rate_limit_device_per_s),
                keys=RateLimit(settings.rate_limit_key_per_s),
            ),
            viewers=Viewers(),
            routes=(*all_routes(steerable=isinstance(self.clock, SteerableClock)), *self._demo),
            is_demo=bool(self._demo),
        )
        await self._listen(services)

    def _choose_push(self) -> Sender:
        settings = self.settings
        if settings.fcm_credentials_path is None:
            recorder = RecorderSender()
            _log.warning("no_push_provider", detail=recorder.describe())
            return recorder
        sender = FcmSender(settings.fcm_credentials_path, endpoint=settings.fcm_endpoint_url)
        _log.info("push_provider", detail=sender.describe())
        return sender

    def _choose_tokens(self) -> CustomerTokens:
        settings = self.settings
        keys: str | PublishedKeys
        if settings.jwks_url is None:
            keys = jwt_secret(settings.jwt_secret, settings.data_dir)
        else:
            keys = PublishedKeys(settings.jwks_url)
            self._spawn("keys", keys.watch())
            if settings.jwt_issuer is None or settings.jwt_audience is None:
                _log.warning("tokens_for_others_hold", detail="set GEOSERVICE_JWT_ISSUER and GEOSERVICE_JWT_AUDIENCE")
        return CustomerTokens(
            keys,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            lifetime_max_s=settings.jwt_lifetime_max_s,
        )

    async def _open_database(self) -> Database:
        settings = self.settings
        dsn = settings.database_url
        if dsn is None:
            server = EmbeddedPostgres(settings.data_dir)
            self._stack.push_async_callback(server.stop)  # before the start: one that is cancelled leaves a server
            dsn = await server.start()
            self._spawn("embedded_postgres", server.keep())
            await migrate(dsn)
        pool = await open_pool(dsn, size=settings.database_pool_size)
        self._stack.push_async_callback(_close_pool, pool)
        return Database(pool, dsn)

    async def _listen(self, services: Services) -> None:
        application = web.Application(middlewares=self._middlewares(), client_max_size=UPLOAD_BODY)
        for route in services.routes:
            handler = guarded(route, services)
            application.router.add_route(route.method, route.path, handler, expect_handler=expected)
            if route.method == "GET" and route.roles == service.PUBLIC:  # load balancers and monitors ask so
                application.router.add_route("HEAD", route.path, handler)
        _serve_docs(application)
        pages.serve_pages(application, self.settings)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=CUT_AFTER_S, handle_signals=False)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        settings = self.settings
        site = Site(
            runner, settings.host, settings.port, idle_s=settings.connection_idle_s, share_port=self._share_port
        )
        await site.start()
        self._stack.push_async_callback(self._requests.finish, REQUESTS_S)
        self._stack.callback(services.viewers.stop)  # they would not finish by themselves
        self._stack.push_async_callback(site.stop)
        self.address = runner.addresses[0][:2]
        _log.info("serving", url=self.url)

    def _middlewares(self) -> list[Middleware]:
        origins = self.settings.cors_origins
        outer = [browsers.allow_origins(frozenset(origins))] if origins else []
        traced = [trace_requests] if tracing.is_on() else []
        return [self._requests.count, *traced, *outer, browsers.guard_pages, problems.answer_errors]

    @property
    def url(self) -> str:
        """Where the API answers."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._watch)
        self._tasks.append(task)

    def _watch(self, task: asyncio.Task[None]) -> None:
        """No background error is dropped: it is logged, and it ends the process."""
        if not (self._stopping or task.cancelled()):
            _log.critical("background_task_ended", task=task.get_name(), exc_info=task.exception())
            self.failed.set()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _serve_docs(application: web.Application) -> None:
    """Show the OpenAPI document at /docs, with Swagger UI's own files: nothing comes from another host."""
    page = ApplicationDocument(application, config_rel_url="/openapi.json", url_prefix="/docs", title="geoservice")
    page.parameters |= {"url": '"/openapi.json"', "validatorUrl": "null"}  # it would ask below /docs, and elsewhere
    page.match_handler()(page)


async def _load_if_possible(directory: Directory) -> None:
    """Load the catalogue before the first request; without tables, `/readyz` says what is missing."""
    try:
        await directory.reload()
    except (GeoserviceError, asyncpg.PostgresError, *UNREACHABLE) as error:
        _log.warning("catalogue_not_loaded", error=type(error).__name__)


async def _stop_tracing(stop: Callable[[], None]) -> None:
    await asyncio.to_thread(stop)


async def _close_pool(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(5):
            await pool.close()
    except TimeoutError:
        pool.terminate()


def retailer_of(settings: Settings) -> RetailerDefaults:
    """Read from the settings what holds until a policy is published."""
    quiet = settings.default_quiet_hours
    return RetailerDefaults(daily_cap=settings.default_daily_cap, quiet_hours=QuietHours(*quiet) if quiet else None)
