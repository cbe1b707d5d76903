"""What is kept, why, and for how long: one row for each table of the database.

The timers delete by it, a customer's export is introduced with it, the page on privacy is made from it, and a test
holds it to the tables that the database has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kept:
    """One table. ``days`` names the setting that says how long, counted from the instant in the column ``age``."""

    table: str
    why: str
    until: str
    """How it ends, in words; ``{days}`` is the setting's value."""
    age: str | None = None
    days: str | None = None
    spared: str = ""
    """SQL about the row ``t``: what is still needed stays, however old it is."""
    fixed_days: int | None = None
    """Days that no setting changes; a timer of its own keeps them."""


WITH_HER: Final = "as long as she is a customer"

CUSTOMERS: Final = (
    Kept("customers", "her clock, her language, no offers below 16, what the shop wants to note", WITH_HER),
    Kept("aliases", "her ids in the web shop and at the till", "until she is parted from them"),
    Kept(
        "devices",
        "to reach the phone, and to see it enter and leave; `track` is the last position and the geofences it is in",
        "`track` 24 hours; the rest until she signs out",
        fixed_days=1,
    ),
    Kept(
        "ping_receipts",
        "to recognise a repeated ping: short hashes, of guessable places too",
        "24 hours",
        fixed_days=1,
    ),
    Kept(
        "transitions",
        "entering and leaving a geofence: what starts a campaign",
        "{days} days",
        age="recorded_at",
        days="keep_visits_days",
        spared="t.engaged_at is null or exists (select from deferred d where d.customer_id = t.customer_id "
        "and d.transition_id = t.transition_id)",
    ),
    Kept(
        "visits",
        "one message a visit",
        "{days} days",
        age="started_at",
        days="keep_visits_days",
        spared="t.ended_at is null",
    ),
    Kept(
        "events",
        "what she looked at and bought: relevance, and silence after a purchase",
        "{days} days",
        age="occurred_at",
        days="keep_events_days",
    ),
    Kept("consents", "evidence of every answer; cannot be changed, only added to", WITH_HER),
    Kept("preferences", "her settings", WITH_HER),
    Kept(
        "preference_versions",
        "her settings as they were, to replay a campaign with what held then",
        "{days} days",
        age="at",
        days="keep_visits_days",
    ),
    Kept(
        "decisions",
        "why she got a message or did not, with the facts used",
        "{days} days",
        age="at",
        days="keep_decisions_days",
    ),
    Kept("assignments", "the arm that she drew in an experiment, so that she stays in it", WITH_HER),
    Kept(
        "ghosts",
        "messages that she did not get because she is held out; they count as if she had",
        "{days} days",
        age="reserved_at",
        days="keep_messages_days",
    ),
    Kept("deferred", "campaigns that wait", "until due, 90 days at most"),
    Kept(
        "messages",
        "delivery, the caps, and her list of messages with their why",
        "{days} days, and at least as long as a limit counts them",
        age="reserved_at",
        days="keep_messages_days",
        spared="t.finished_at is null",
    ),
    Kept("message_events", "what the phone and she said about a message", "as long as the message"),
)
"""Tables that hold something of a customer under her id; an erasure empties all of them, listed here or not."""

EVIDENCE: Final = (
    Kept(
        "audit_log",
        "who looked at one customer's records and why; who changed what, from what to what; added to only. After an "
        "erasure without her name",
        "{days} days",
        age="at",
        days="keep_evidence_days",
    ),
    Kept(
        "consent_evidence",
        "what a customer who was erased had answered, under a keyed hash: proof that each message was allowed",
        "{days} days after the erasure",
        age="erased_at",
        days="keep_evidence_days",
    ),
    Kept(
        "erasures",
        "receipts of erasures, under a keyed hash; `of_customer` only while the work is under way",
        "{days} days",
        age="finished_at",
        days="keep_evidence_days",
    ),
    Kept("suppressions", "keyed hashes of erased ids, so that nobody stores anything about them again", "for ever"),
    Kept("notices", "the words that customers agreed to; cannot be changed", "for ever"),
)
"""What outlives an erasure; no id, no place, no address of the customer is in it."""

SHOP: Final = (
    Kept("stores", "names, opening hours, time zones", "until replaced"),
    Kept("geofences", "the areas", "until removed"),
    Kept(
        "catalogue_versions",
        "who changed the geofences, when",
        "{days} days, and the one that was in force then",
        age="published_at",
        days="keep_versions_days",
        spared="t.version >= (select max(v.version) from catalogue_versions v where v.published_at < $1)",
    ),
    Kept("catalogue_changes", "what each version changed, to show and restore it", "as long as the version"),
    Kept("directory_revisions", "tells processes to load again", "one row a kind"),
    Kept(
        "campaigns", "the newest version of each; it may name test customers, until they are erased", "until replaced"
    ),
    Kept("stops", "what may not be sent at the moment, who said so and why", "until released"),
    Kept("campaign_versions", "what each campaign said when; test customers as above", "for ever"),
    Kept(
        "campaign_hours",
        "how many messages a campaign with a ceiling sent in an hour, to nobody by name",
        "2 days",
        fixed_days=2,
    ),
    Kept("policies", "the retailer's rules in every version, and who published them", "for ever"),
    Kept("products", "what is sold, what does as well, what goes with it", "until forgotten"),
    Kept("stock", "what a store has", "until replaced"),
    Kept("feeds", "when a till, the web shop or a stock system last spoke", "until forgotten"),
    Kept("message_moves", "the moves that a message may make", "fixed"),
    Kept("timers", "which process ticks", "one row a timer"),
    Kept("api_keys", "keys as SHA-256, never themselves", "for ever"),
    Kept("experiment_salt", "makes the lots of experiments unpredictable", "for ever"),
    Kept("pseudonym_key", "the key of the keyed hashes", "for ever"),
)
"""No personal data, except for the names that you give to API keys, and the ids of customers who test a campaign."""

RECORDS: Final = {kept.table: kept for kept in (*CUSTOMERS, *EVIDENCE, *SHOP)}
