"""Check 11: who is held out, and who gets which wording. Drawn by lot, once, and kept. Pure.

The lot is SHA-256 over a salt, the customer's pseudonym and the experiment, modulo 10,000: the same for ever, another
in each experiment, and telling nothing about anybody. The first draw is stored: changing the shares moves nobody.
Only the winner of a moment draws: a held-out customer's ghost takes the slot and blocks the runners-up, so that both
groups live alike but for the message.
"""

from __future__ import annotations

import hashlib
from typing import Final

from msgspec import Struct

from geoservice.decisions.campaigns import Campaign, Experiment
from geoservice.decisions.facts import Facts

LOTS: Final = 10_000
HELD_OUT: Final = "holdout"
BASE: Final = "base"
"""The arm that gets the campaign's own content."""


class Draw(Struct, frozen=True):
    """Which experiment, which arm, and whether it was drawn just now."""

    experiment_id: str
    arm: str
    lot: int
    is_new: bool


def pseudonym(salt: str, customer_id: str) -> str:
    """A name for the lot that cannot be turned back without the salt."""
    return hashlib.sha256(f"{salt}\n{customer_id}".encode()).hexdigest()


def lot_of(salt: str, name: str, experiment_id: str) -> int:
    """The lot of a pseudonym in an experiment, 0 to 9,999."""
    return int.from_bytes(hashlib.sha256(f"{salt}\n{name}\n{experiment_id}".encode()).digest()) % LOTS


def arm_of(experiment: Experiment, lot: int) -> str:
    """The arm of a lot: the held-out first, the others by their weights."""
    held_out = round(experiment.holdout_percent * LOTS / 100)
    if lot < held_out:
        return HELD_OUT
    arms = [(BASE, experiment.base_weight), *((name, v.weight) for name, v in sorted(experiment.variants.items()))]
    total = sum(weight for _, weight in arms)
    upto = 0
    for name, weight in arms:
        upto += weight
        if (lot - held_out) * total < upto * (LOTS - held_out):
            return name
    return arms[-1][0]


def draw(campaign: Campaign, facts: Facts) -> Draw | None:
    """The customer's arm in this campaign's experiment; None when it has none."""
    experiment = campaign.spec.experiment
    if experiment is None:
        return None
    experiment_id = experiment.id or campaign.campaign_id
    name = pseudonym(facts.salt, facts.customer.customer_id)
    lot = lot_of(facts.salt, name, experiment_id)
    kept = facts.arms.get(experiment_id)
    if kept is not None and (kept in {HELD_OUT, BASE} or kept in experiment.variants):
        return Draw(experiment_id, kept, lot, is_new=False)
    return Draw(experiment_id, arm_of(experiment, lot), lot, is_new=kept is None)
