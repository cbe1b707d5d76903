"""The story on a terminal: days, steps, pushes as on a phone, silences with their reason. Also without colour."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, Final, NamedTuple, TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from geoservice.demo.city import RETAILER
from geoservice.demo.facts import told_by
from geoservice.demo.result import Push, Result, Step

WIDEST: Final = 100
"""Longer lines are hard to read, however wide the terminal is."""
PHONE_WIDTH: Final = 62


class Marks(NamedTuple):
    """The signs used; terminals without Unicode get letters."""

    sent: str
    silent: str
    passed: str
    failed: str
    dot: str


_ADDRESSES: Final = (
    ("phone", "/phone/", "the customer's side"),
    ("console", "/console/", "sign in with OPS_KEY, below"),
    ("API", "/docs", ""),
    ("metrics", "/metrics", ""),
)

UNICODE: Final = Marks("●", "∅", "✓", "✗", "·")
ASCII: Final = Marks("*", "-", "+", "x", "-")


class Timeline:
    """Prints each step as it happens."""

    def __init__(self, stream: TextIO) -> None:
        console = Console(file=stream, highlight=False)
        self._console = Console(file=stream, highlight=False, width=min(console.width, WIDEST))
        self._marks = UNICODE if self._console.encoding.startswith("utf") else ASCII
        self._day: date | None = None

    def say(self, *lines: RenderableType) -> None:
        """Print without the blanks that fill up lines: they spoil what is piped into a file."""
        with self._console.capture() as captured:
            for line in lines:
                self._console.print(line)
        text = "\n".join(line.rstrip() for line in captured.get().split("\n"))
        self._console.file.write(text)
        self._console.file.flush()

    def opening(self, stores: int, geofences: int, campaigns: int) -> None:
        """Say what is on stage."""
        self.say(
            Text("The shoe story", style="bold"),
            Text(f"{RETAILER}, Hamburg: {stores} stores, {geofences} geofences, {campaigns} campaigns."),
            Text("Everything goes over HTTP. Every reason and every why is the service's own.", style="dim"),
        )

    def step(self, step: Step) -> None:
        """Print one step, under its day."""
        if step.at.date() != self._day:
            self._day = step.at.date()
            self.say("", Rule(Text(long_day(step.at), style="bold cyan"), align="left", style="cyan"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=5, no_wrap=True, style="cyan")
        grid.add_column(ratio=1)
        grid.add_row(f"{step.at:%H:%M}", Group(*self._told(step)))
        self.say("", grid)

    def _told(self, step: Step) -> Iterator[RenderableType]:
        yield Text(step.title, style="bold")
        yield Text(step.text)
        if step.push is not None:
            yield self._phone(step.push)
            yield self._checked(step)
        elif step.reason is not None:
            yield self._silence(step)
        elif step.outcome != "noted":
            yield Text("The service decided nothing.", style="bold red")
        if step.others:
            yield Text(self._others(step), style="dim")

    # A push, and a silence ----------------------------------------------------------------------------------

    def _phone(self, push: Push) -> Panel:
        consents = ", ".join(f"{each['purpose'].replace('_', ' ')}" for each in push.why["consents"])
        lines: list[RenderableType] = [
            Text(push.title, style="bold"),
            Text(push.body),
            Text(),
            Text("Why you got this", style="bold green"),
            Text(push.why["summary"]),
            Text(f"Used: {'; '.join(push.why['data_used'])}.", style="dim"),
            Text(f"Allowed by you: {consents}.", style="dim"),
            Text(push.why["how_to_change"], style="dim"),
        ]
        return Panel(
            Group(*lines),
            box=box.ROUNDED,
            title=Text(f"{RETAILER} {self._marks.dot} {push.at:%H:%M}", style="green"),
            title_align="left",
            border_style="green",
            width=min(PHONE_WIDTH, self._console.width - 8),
            padding=(0, 2),
        )

    def _silence(self, step: Step) -> RenderableType:
        line = Text.assemble(
            (f"{self._marks.silent} Silence. ", "bold yellow"), step.sentence or "", " ", (f"({step.reason})", "yellow")
        )
        details: list[RenderableType] = []
        if step.outcome == "ignored":
            details.append(
                f"{step.pings} pings sent, {step.pings_ignored} ignored at the door. Nothing was stored: no place, "
                "no visit, no decision."
            )
        if proof := told_by(step.checks):
            details.append(proof)
        if step.checks:
            details.append(self._checked(step))
        return Group(line, *(Padding(Text(d) if isinstance(d, str) else d, (0, 0, 0, 2)) for d in details))

    def _checked(self, step: Step) -> Text:
        passed = [check for check in step.checks if check["passed"]]
        failed = [check for check in step.checks if not check["passed"]]
        text = Text(style="dim")
        if failed:
            text.append(f"{self._marks.failed} ", "red").append(_gates(failed), "not dim bold").append("   ")
        return text.append(f"{self._marks.passed} ", "green").append(_gates(passed))

    def _others(self, step: Step) -> str:
        said = ", ".join(f"{other.campaign_id} ({other.reason or other.outcome})" for other in step.others)
        return f"Also silent: {said}"

    # The end ------------------------------------------------------------------------------------------------

    def ending(self, result: Result) -> None:
        """Sum the story up."""
        pushes = Table.grid(padding=(0, 2))
        for push in result.pushes:
            pushes.add_row(f"{push.at:%a %d %b %H:%M}", push.customer.capitalize(), push.title)
        silences = Table.grid(padding=(0, 2))
        for reason, times in result.silences.items():
            silences.add_row(Text(str(times), justify="right"), reason, _sentence(result, reason))
        walks = sum(step.pings > 0 for step in result.steps)
        self.say(
            "",
            Rule(Text("In short", style="bold cyan"), align="left", style="cyan"),
            "",
            Text(f"{len(result.pushes)} pushes on {walks} occasions:", style="bold green"),
            Padding(pushes, (0, 0, 0, 2)),
            Text(f"{sum(result.silences.values())} silences, each with its reason:", style="bold yellow"),
            Padding(silences, (0, 0, 0, 2)),
            "",
            *self._provider(result),
            *self._verdict(result),
        )

    def _provider(self, result: Result) -> Iterator[RenderableType]:
        yield Text("The push provider (a stand-in for Firebase Cloud Messaging) took:", style="bold")
        for push in result.pushes:
            yield Text(f"  {push.provider_message_id or 'nothing'}")

    def _verdict(self, result: Result) -> Iterator[RenderableType]:
        for difference in result.differences:
            yield Text(f"{self._marks.failed} {difference}", style="red")
        ending = "as told" if result.ok else "not as told"
        yield Text(
            f"{self._marks.passed if result.ok else self._marks.failed} {ending}, in {result.seconds:.1f} s; "
            f"{result.decisions} decisions on record.",
            style="green" if result.ok else "bold red",
        )

    def serving(self, result: Result, commands: dict[str, list[str]], now: datetime) -> None:
        """Name the addresses, and lines to paste into another terminal."""
        addresses = Table.grid(padding=(0, 2))
        for name, path, about in _ADDRESSES:
            addresses.add_row(name, Text(f"{result.url}{path}"), Text(about, style="dim"))
        self.say(
            "",
            Rule(Text("Your turn", style="bold cyan"), align="left", style="cyan"),
            "",
            Text("Open the phone in a browser and live the story by hand: that takes two minutes.", style="bold"),
            Text(f"The service keeps running; for it, it is {long_day(now)}, {now:%H:%M}, and time goes on."),
            "",
            Padding(addresses, (0, 0, 0, 2)),
            "",
            Text("Paste into another terminal:"),
        )
        # Never wrapped: a broken line cannot be pasted.
        for purpose, lines in commands.items():
            self._console.print(f"\n  [dim]# {purpose}[/]", soft_wrap=True)
            for line in lines:
                self._console.print(Text(f"  {line}"), soft_wrap=True)
        self.say("", Text("Ctrl-C ends it, and removes its database."))


def long_day(at: datetime) -> str:
    """A day as people say it: Monday, 2 March 2026."""
    return f"{at:%A}, {at.day} {at:%B %Y}"


def _gates(checks: list[dict[str, Any]]) -> str:
    return ", ".join(check["gate"].replace("_", " ") for check in checks)


def _sentence(result: Result, reason: str) -> str:
    return next(step.sentence or "" for step in result.steps if step.reason == reason)
