"""Running the service, its demo and its benchmarks."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import signal
import sys
from typing import Any, Final

import uvloop

from geoservice import __version__
from geoservice.commands.command_line import FAILED, a_number, command, out, settings_in_force
from geoservice.config import Settings, load_settings
from geoservice.telemetry.logs import configure_logs, log_lost_error, log_what_nobody_catches

GC_AFTER: Final = 20_000
"""New objects between two looks of the garbage collector; a large batch makes some ten thousand at once."""

SWITCH_S: Final = 0.0005

OPEN_FILES: Final = 65_536
"""Each connection is an open file, and many systems start programs with 1,024 of them unless they ask for more."""


def add_to(commands: Any) -> None:
    """Add the commands of this file."""
    serve = command(commands, "serve", _serve, "run the service: API, ingest, timers and delivery in one process")
    serve.add_argument("--host", help="address to listen on (default: GEOSERVICE_HOST)")
    serve.add_argument("--port", type=int, help="port to listen on; 0 takes a free one (default: GEOSERVICE_PORT)")
    serve.add_argument(
        "--processes", type=a_number(1, 64), default=1, metavar="N", help="run N processes on the same port"
    )
    serve.add_argument("--share-port", action="store_true", help=argparse.SUPPRESS)

    demo = command(commands, "demo", _demo, "play the shoe story against a fresh service, then keep serving")
    demo.add_argument("--once", action="store_true", help="end after the story")
    demo.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")

    bench = command(commands, "bench", _bench, "measure, each figure as a ratio within one run")
    bench.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help="ingest, decide, delivery, latency, live, presence, match, overlap, publish, trust (these if none is "
        "named), memory, soak, console",
    )
    bench.add_argument("--minutes", type=float, metavar="N", help="how long memory (5) and soak (10) take")
    bench.add_argument("--json", action="store_true", help="print one JSON object")


def _serve(arguments: argparse.Namespace) -> int:
    settings = settings_in_force()
    if arguments.host is not None or arguments.port is not None:
        # Through the same checks as the environment's values.
        overrides = {"GEOSERVICE_HOST": arguments.host, "GEOSERVICE_PORT": arguments.port}
        given = {name: str(value) for name, value in overrides.items() if value is not None}
        settings = load_settings({**os.environ, **given})
    configure_logs(settings.log_format, level=settings.log_level)
    log_what_nobody_catches()
    _allow_connections()
    if arguments.processes > 1:
        return uvloop.run(_run_fleet(settings, arguments.processes))
    return uvloop.run(run_until_told(settings, share_port=arguments.share_port))


def _allow_connections() -> None:
    """Take as many open files as are needed and allowed; the processes of a fleet inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _told(*, by_parent: bool = False) -> asyncio.Event:
    """Set by SIGTERM and SIGINT; in a fleet, also when the parent is gone, of which the closed standard input tells."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()

    def parent_gone() -> None:
        loop.remove_reader(sys.stdin)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if by_parent:
        loop.add_reader(sys.stdin, parent_gone)
    return told


async def _run_fleet(settings: Settings, count: int) -> int:
    from geoservice.fleet import Fleet  # noqa: PLC0415 - brings the migrations with it

    told = _told()
    async with Fleet(settings, count) as fleet:
        out.print(f"geoservice {__version__} serves {fleet.url} with {count} processes", soft_wrap=True)
        return await _until(told, fleet.failed)


def spare_the_collector() -> None:
    """Let what is loaded by now stay: the collector need not look at it again and again while pings come and go."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_AFTER, 20, 50)


async def run_until_told(settings: Settings, *, share_port: bool = False) -> int:
    """Serve until SIGTERM or SIGINT, or until something broke that a new start may mend.

    ``share_port``: as one of a fleet.
    """
    from geoservice.app import App  # noqa: PLC0415 - the other commands start three times as fast without it

    told = _told(by_parent=share_port)
    asyncio.get_running_loop().set_exception_handler(log_lost_error)
    async with App(settings, share_port=share_port) as app:
        spare_the_collector()
        # A thread that indexes geofences lets the event loop in this often, not every 5 ms.
        sys.setswitchinterval(SWITCH_S)
        out.print(f"geoservice {__version__} serves {app.url}", soft_wrap=True)
        return await _until(told, app.failed)


async def _until(told: asyncio.Event, failed: asyncio.Event) -> int:
    """Wait for either; returns the exit code."""
    waits = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(failed.wait())]
    _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in pending:
        wait.cancel()
    return FAILED if failed.is_set() else 0


def _demo(arguments: argparse.Namespace) -> int:
    from geoservice.demo.run import run_demo  # noqa: PLC0415 - the story is not needed to serve

    return run_demo(once=arguments.once, as_json=arguments.json)


def _bench(arguments: argparse.Namespace) -> int:
    from geoservice.bench.run import BY_DEFAULT, run_benchmarks  # noqa: PLC0415 - neither are the benchmarks

    return run_benchmarks(arguments.what or BY_DEFAULT, minutes=arguments.minutes, as_json=arguments.json)
