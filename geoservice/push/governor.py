"""One channel's sender, held to what its provider can take: breaker, pace, window, and the check of our account.

The pure machines decide; this is the place where they meet the clock, the log and the metrics.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, get_args

import structlog

from geoservice.push import outcomes
from geoservice.push.breaker import Breaker, BreakerState, Illness, illness_of
from geoservice.push.pace import TokenBucket, Window
from geoservice.push.port import OutgoingPush, Sender
from geoservice.push.pruning import PruningGuard
from geoservice.telemetry import metrics
from geoservice.vocabulary import Channel

CHECK_AGAIN_S: Final = 5.0
"""While our account is refused, it is tried again this often, without any customer's message."""
CHECK_EVERY_S: Final = 300.0

_BREAKER_VALUES: Final = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}

metrics.from_zero(metrics.PUSHES, [(outcome.__name__,) for outcome in get_args(outcomes.Outcome)])
_log = structlog.get_logger(__name__)


class Governor:
    """Says how many messages may begin now, and learns from what became of them."""

    def __init__(self, sender: Sender, *, rate_per_s: float) -> None:
        self._sender = sender
        self._breaker = Breaker()
        self._bucket = TokenBucket(rate_per_s, time.monotonic())
        self._window = Window()
        self._pruning = PruningGuard()
        self._unchecked: str | None = None
        """Why the account could not be checked."""
        self._show()

    @property
    def channel(self) -> Channel:
        """Which messages it takes."""
        return self._sender.channel

    def take(self, wanted: int) -> int:
        """How many messages may begin now, of those wanted; each must be sent or given back."""
        now_s = time.monotonic()
        placed = self._window.take(wanted)
        paced = self._bucket.take(placed, now_s)
        permitted = self._breaker.permits(paced, now_s)
        self._window.give_back(placed - permitted)
        self._bucket.give_back(paced - permitted)
        self._show()
        return permitted

    def share(self, senders: int) -> None:
        """Leave their part of the pace to the other processes that send."""
        self._bucket.share(senders, time.monotonic())
        self._show()

    def give_back(self, unused: int) -> None:
        """Return what :meth:`take` permitted and nothing was there for."""
        self._window.give_back(unused)
        self._bucket.give_back(unused)
        self._breaker.give_back(unused)
        self._show()

    def is_crowded(self, batch: int) -> bool:
        """Whether it is worth waiting until there are places for more of a batch: many are taken, few are free."""
        return self._window.free < batch // 2 <= self._window.under_way

    def wait_s(self) -> float:
        """In how many seconds an open breaker may let something through; 0 when it does now."""
        if self._breaker.state is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self._breaker.until_s - time.monotonic())

    async def send(self, push: OutgoingPush) -> outcomes.Outcome:
        """Send one message that :meth:`take` permitted."""
        began_s = time.monotonic()
        well: bool | None = None
        try:
            outcome = await self._send(push)
            well = self._learn(outcome)
        finally:
            self._window.done(well=well, now_s=time.monotonic())
        metrics.PUSH_SECONDS.observe(time.monotonic() - began_s)
        metrics.PUSHES.labels(type(outcome).__name__).inc()
        return outcome

    def may_retire(self, outcome: outcomes.Outcome) -> bool:
        """Whether the address that an outcome calls dead may be forgotten; notes every outcome about an address."""
        if not isinstance(outcome, outcomes.Accepted | outcomes.TokenDead):
            return False
        was_stopped = self._pruning.stopped
        retire = self._pruning.observe(dead=isinstance(outcome, outcomes.TokenDead))
        if self._pruning.stopped != was_stopped:
            say = _log.error if self._pruning.stopped else _log.info
            event = "pruning_stopped" if self._pruning.stopped else "pruning_resumed"
            say(event, channel=self.channel.value, dead_share=round(self._pruning.share, 2))
            self._show()
        return retire

    async def keep_checking(self) -> None:
        """Try our account at once, then now and then, until cancelled; what is refused is tried again soon."""
        while True:
            self._note_check(await self._sender.check())
            refused = self._breaker.illness is Illness.MISCONFIGURED
            await asyncio.sleep(CHECK_AGAIN_S if refused else CHECK_EVERY_S)

    def problem(self) -> str | None:
        """What is wrong, in a sentence; None when messages go out."""
        breaker = self._breaker
        if breaker.state is not BreakerState.CLOSED and breaker.illness is not None:
            return f"{self.channel.value}: {_SENTENCES[breaker.illness]}"
        if self._unchecked is not None:
            return f"{self.channel.value}: our account could not be checked yet: {self._unchecked}."
        return None

    @property
    def state(self) -> BreakerState:
        """Whether messages go out."""
        return self._breaker.state

    async def close(self) -> None:
        """Give connections back."""
        await self._sender.close()

    def describe(self) -> str:
        """Where messages go."""
        return self._sender.describe()

    async def _send(self, push: OutgoingPush) -> outcomes.Outcome:
        """Send; a sender that breaks its promise and raises leaves the message in doubt, and the breaker told."""
        try:
            return await self._sender.send(push)
        except Exception as error:  # noqa: BLE001 - whatever it is, the provider may have the message
            _log.error("sender_failed", channel=self.channel.value, message_id=push.message_id, exc_info=error)
            return outcomes.InDoubt("internal_error")

    def _learn(self, outcome: outcomes.Outcome) -> bool | None:
        """Tell breaker and bucket; whether the provider bears the load, None when this says nothing about it."""
        now_s = time.monotonic()
        busy = isinstance(outcome, outcomes.RetryLater) and outcome.reason == "quota_exceeded"
        if busy:
            self._bucket.slow_down(now_s)
        illness = illness_of(outcome)
        if illness is None:
            self._unchecked = None
        if outcome != outcomes.NotSent(outcomes.SENDER_CLOSED):
            self._observe(illness, outcome)
        _alarm(outcome)
        if busy or illness is Illness.DOUBTFUL:
            return False
        return True if illness is None else None

    def _observe(self, illness: Illness | None, outcome: outcomes.Outcome) -> None:
        before = self._breaker.state
        self._breaker.observe(illness, time.monotonic())
        if self._breaker.state is not before:
            self._tell(before, outcome)

    def _note_check(self, outcome: outcomes.Outcome | None) -> None:
        if outcome is None:
            return
        before, illness = self._breaker.state, illness_of(outcome)
        was_unchecked, self._unchecked = self._unchecked, None
        if illness is Illness.MISCONFIGURED:
            # It need not wait for its turn: no message was at stake.
            self._breaker.observe(illness, time.monotonic())
        elif illness is not None:
            self._unchecked = str(getattr(outcome, "reason", type(outcome).__name__))
            if was_unchecked is None:
                _log.warning("account_not_checked", channel=self.channel.value, reason=self._unchecked)
        elif self._breaker.illness is Illness.MISCONFIGURED:
            self._breaker.close()
        self._tell(before, outcome)

    def _tell(self, before: BreakerState, outcome: outcomes.Outcome) -> None:
        """Log when messages stop going out, and when they go out again."""
        now, illness = self._breaker.state, self._breaker.illness
        if now is BreakerState.OPEN and before is BreakerState.CLOSED and illness is not None:
            say = _log.error if illness in _OURS else _log.warning
            reason = getattr(outcome, "reason", None)
            say("channel_paused", channel=self.channel.value, illness=illness.value, reason=reason)
        elif now is BreakerState.CLOSED and before is not BreakerState.CLOSED:
            _log.info("channel_resumed", channel=self.channel.value)
        self._show()

    def _show(self) -> None:
        channel = self.channel.value
        metrics.BREAKER.labels(channel).set(_BREAKER_VALUES[self._breaker.state])
        metrics.PRUNING_STOPPED.labels(channel).set(self._pruning.stopped)
        metrics.WINDOW.labels(channel).set(self._window.limit)
        metrics.IN_FLIGHT.labels(channel).set(self._window.under_way)
        metrics.BUCKET.labels(channel).set(int(self._bucket.tokens(time.monotonic())))


_OURS: Final = frozenset({Illness.THIRD_PARTY, Illness.MISCONFIGURED})

_SENTENCES: Final[dict[Illness, str]] = {
    Illness.REFUSING: "the provider refuses everybody at the moment; messages wait.",
    Illness.DOUBTFUL: "the provider does not answer as it should; messages wait, so that few end in doubt.",
    Illness.THIRD_PARTY: "the APNs key kept at Firebase is refused; messages wait until it is mended there.",
    Illness.MISCONFIGURED: "the provider refuses our credentials or our project; messages wait until it is mended.",
}


def _alarm(outcome: outcomes.Outcome) -> None:
    """Say what somebody has to mend although delivery goes on."""
    match outcome:
        case outcomes.TokenDead(outcomes.DeadToken.SENDER_MISMATCH):
            _log.error("app_of_another_project", detail="A phone registered a token that another Firebase app made.")
        case outcomes.Rejected(reason):
            _log.error("payload_refused", reason=reason)
        case _:
            pass
