"""What a customer decides and does: devices, consents, preferences, events.

Everything here starts at L1 (her devices) and goes down: customer, visits and consents, messages. An opt-out cancels
in its own transaction what has not left the house, and names what may have. What she takes back is also written to the
journal before she gets her answer, so that a database restored from a backup does not give it again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import asyncpg
import msgspec

from geoservice.decisions.facts import Preferences
from geoservice.errors import Conflict, ErrorDetail, Invalid, NotFound, PreconditionFailed
from geoservice.storage.database import Database
from geoservice.storage.journal import ConsentWithdrawn, Journal, PreferencesChanged, SignedOut
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Channel, EventType, OsPermission, Platform, Purpose, to_jsonable
from geoservice.workflows.attention import note_purchases
from geoservice.workflows.standing import Standing, refuse_alias, standing, welcome

TOPICS_MAX: Final = 200
INTERESTS_MAX: Final = 200
_ATTEMPTS: Final = 5

DEVICES_MAX: Final = 200
"""Phones of one customer: far more than anybody has, and too few to farm push tokens with."""

_sql = Queries("customers")
_privacy = Queries("privacy")


class DevicesChanged(Exception):
    """A device appeared between the two looks; its lock belongs before the customer's."""


async def lock_customer(connection: Connection, customer_id: str) -> None:
    """Take L1 and L2 of one customer, and make sure that no device slipped in between."""
    locked = [row["device_id"] for row in await _sql.lock_devices_of.fetch(connection, customer_id=customer_id)]
    await _sql.lock_customers.fetch(connection, customer_ids=[customer_id])
    now = [row["device_id"] for row in await _sql.device_ids.fetch(connection, customer_id=customer_id)]
    if now != locked:
        raise DevicesChanged


async def run_locked(database: Database, work: Any) -> Any:
    """Run a transaction that starts with :func:`lock_customer`, again if a device appeared."""
    for _ in range(_ATTEMPTS):
        try:
            return await database.run(work)
        except (DevicesChanged, asyncpg.UniqueViolationError):
            continue
    raise Conflict("The customer's devices keep changing; try again.")


async def add_customer(database: Database, customer_id: str, at: datetime) -> None:
    """Create the customer if this is the first that is heard of her."""
    async with database.connection() as connection:
        await _sql.add_customer.run(connection, customer_id=customer_id, at=at)


# Devices ----------------------------------------------------------------------------------------------------


class Registration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the app says of itself at every start. Times zones are IANA names."""

    platform: Platform
    push_token: str | None = None
    fid: str | None = None
    app_version: str | None = None
    timezone: str | None = None
    locale: str | None = None
    os_location_permission: OsPermission = OsPermission.UNKNOWN


async def add_device(database: Database, key: tuple[str, str], at: datetime) -> bool:
    """Create a device that posts pings before it registered; not for somebody who had herself erased.

    It has no push token yet. Returns whether it is there. Raises Conflict for an alias, and for one device too many.
    """

    async def work(connection: Connection) -> bool:
        hers = await standing(connection, key[0])
        if hers.away:
            return False
        refuse_alias(hers)
        if not await _create_device(connection, key, at):
            return True  # it is there, and whoever made it has done the rest; its lock would come too late now
        await _sql.lock_customers.fetch(connection, customer_ids=[key[0]])
        await _sql.copy_location_consent.run(connection, customer_id=key[0], device_id=key[1])
        return True

    return await database.run(work)


async def _create_device(connection: Connection, key: tuple[str, str], at: datetime) -> bool:
    """Make sure that the device is there; tell whether it is new, and so locked."""
    await _sql.add_customer.run(connection, customer_id=key[0], at=at)
    if not await _sql.add_device.run(connection, customer_id=key[0], device_id=key[1], at=at):
        return False
    if await _sql.count_devices.value(connection, customer_id=key[0]) > DEVICES_MAX:
        raise Conflict(f"At most {DEVICES_MAX} phones; sign out on one of the others.", code="too_many_devices")
    return True


async def register_device(
    database: Database, journal: Journal, key: tuple[str, str], registration: Registration, at: datetime
) -> None:
    """Sign a customer in on a phone. A push token belongs to one customer: the one before is not pushed to here."""
    for before in await _take_address(database, key, registration, at):
        await journal.add(SignedOut(at, journal.pseudonym(before[0]), journal.pseudonym(*before)))


async def _take_address(
    database: Database, key: tuple[str, str], registration: Registration, at: datetime
) -> list[tuple[str, str]]:
    """Do what :func:`register_device` does to the database; returns who had the push token before, and where."""
    customer_id, device_id = key
    address = {"push_token": registration.push_token, "fid": registration.fid}

    async def work(connection: Connection) -> list[tuple[str, str]]:
        names = sorted(f"{kind} {value}" for kind, value in address.items() if value is not None)
        await _sql.lock_address.fetch(connection, names=names)
        await welcome(connection, customer_id, at)
        await _create_device(connection, key, at)
        rows = await _sql.lock_devices_for_sign_in.fetch(
            connection, customer_id=customer_id, device_id=device_id, **address
        )
        others = [row for row in rows if (row["customer_id"], row["device_id"]) != key]
        if len(others) == len(rows):
            raise DevicesChanged  # signed out in between
        owners = sorted({customer_id, *(row["customer_id"] for row in others)})
        await _sql.lock_customers.fetch(connection, customer_ids=owners)
        await _sql.release_token.run(connection, customer_id=customer_id, device_id=device_id, **address)
        for row in others:
            await _sql.cancel_of_device.run(
                connection,
                customer_id=row["customer_id"],
                device_id=row["device_id"],
                failure="signed_out",
                at=at,
            )
        await _sql.register_device.run(
            connection,
            customer_id=customer_id,
            device_id=device_id,
            at=at,
            **msgspec.structs.asdict(registration),
        )
        await _sql.copy_location_consent.run(connection, customer_id=customer_id, device_id=device_id)
        return [(row["customer_id"], row["device_id"]) for row in others]

    before: list[tuple[str, str]] = await run_locked(database, work)
    return before


async def remove_device(database: Database, journal: Journal, key: tuple[str, str], at: datetime) -> None:
    """Sign a customer out on a phone: its position, its token and what waits for it go. Raises NotFound."""
    await forget_device(database, key, at)
    await journal.add(SignedOut(at, journal.pseudonym(key[0]), journal.pseudonym(*key)))


async def forget_device(database: Database, key: tuple[str, str], at: datetime) -> None:
    """Do what :func:`remove_device` does to the database."""
    customer_id, device_id = key

    async def work(connection: Connection) -> None:
        await lock_customer(connection, customer_id)
        await _sql.leave_visits_with_device.run(
            connection, customer_id=customer_id, device_id=device_id, still_in=[], at=at
        )
        await _sql.cancel_of_device.run(
            connection, customer_id=customer_id, device_id=device_id, failure="signed_out", at=at
        )
        if not await _sql.delete_device.run(connection, customer_id=customer_id, device_id=device_id):
            raise NotFound("There is no such device.")

    await run_locked(database, work)


# Consents ---------------------------------------------------------------------------------------------------


class ConsentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer of the customer to one question, as evidence."""

    granted: bool
    notice_version: str
    language: str | None = None
    source: str | None = None
    os_permission: OsPermission | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What an opt-out did to messages: cancelled for good, or possibly with the provider already."""

    cancelled: list[str]
    in_flight: list[str]


async def record_consent(
    database: Database, journal: Journal, customer_id: str, purpose: Purpose, change: ConsentChange, at: datetime
) -> Withdrawn:
    """Append the record and make it hold at once; a withdrawal is in the journal when this returns."""
    withdrawn = await apply_consent(database, customer_id, purpose, change, at)
    if not change.granted:
        await journal.add(ConsentWithdrawn(at, journal.pseudonym(customer_id), purpose.value, change.notice_version))
    return withdrawn


async def apply_consent(
    database: Database, customer_id: str, purpose: Purpose, change: ConsentChange, at: datetime
) -> Withdrawn:
    """Do what :func:`record_consent` does to the database.

    Withdrawing location erases the last fix and presence in the same transaction. Withdrawing anything cancels the
    messages that need it; after this returns none of hers enters `sending` that does.
    """

    async def work(connection: Connection) -> Withdrawn:
        await welcome(connection, customer_id, at)
        if change.granted and not await _privacy.is_notice.value(connection, version=change.notice_version):
            detail = ErrorDetail("notice_version", "unknown_notice", "no notice was published under this version")
            raise Invalid("Nobody can have agreed to this notice.", details=[detail])
        await _sql.add_customer.run(connection, customer_id=customer_id, at=at)
        await lock_customer(connection, customer_id)
        await _sql.add_consent.run(
            connection,
            customer_id=customer_id,
            purpose=purpose.value,
            at=at,
            **msgspec.structs.asdict(change),
        )
        if purpose is Purpose.LOCATION:
            await _apply_location(connection, customer_id, at, granted=change.granted)
        if change.granted:
            return Withdrawn([], [])
        await _sql.forbid_resending.run(
            connection, customer_id=customer_id, everything=False, topics=[], channels=[], purposes=[purpose.value]
        )
        return await _cancel(connection, _sql.cancel_needing, customer_id, at, purpose=purpose.value)

    result: Withdrawn = await run_locked(database, work)
    return result


async def _apply_location(connection: Connection, customer_id: str, at: datetime, *, granted: bool) -> None:
    if granted:
        await _sql.allow_location.run(connection, customer_id=customer_id)
        return
    await _sql.forget_location.run(connection, customer_id=customer_id)
    await _sql.end_visits.run(connection, customer_id=customer_id, at=at)
    await _sql.drop_undecided.run(connection, customer_id=customer_id, at=at)
    await _sql.drop_deferred.run(connection, customer_id=customer_id)


async def _cancel(connection: Connection, query: Any, customer_id: str, at: datetime, **what: Any) -> Withdrawn:
    cancelled = await query.fetch(connection, customer_id=customer_id, at=at, **what)
    in_flight = await _sql.in_flight.fetch(connection, customer_id=customer_id)
    return Withdrawn([row["message_id"] for row in cancelled], [row["message_id"] for row in in_flight])


async def consents(database: Database, customer_id: str) -> list[asyncpg.Record]:
    """List the record in force of each purpose that she was ever asked about."""
    async with database.connection() as connection:
        return await _sql.consents_in_force.fetch(connection, customer_id=customer_id)


# Preferences ------------------------------------------------------------------------------------------------


async def preferences(database: Database, customer_id: str) -> tuple[Preferences, int]:
    """Give her settings and their version; 0 when she never touched them."""
    async with database.connection() as connection:
        row = await _sql.preferences.row(connection, customer_id=customer_id)
    return _decode_preferences(row)


async def preferences_of(connection: Connection, customer_id: str) -> Preferences:
    """Give her settings as a transaction sees them."""
    return _decode_preferences(await _sql.preferences.row(connection, customer_id=customer_id))[0]


def _decode_preferences(row: Any) -> tuple[Preferences, int]:
    if row is None:
        return Preferences(), 0
    return msgspec.convert(row["body"], Preferences), row["version"]


async def change_preferences(
    database: Database,
    journal: Journal,
    customer_id: str,
    patch: dict[str, Any],
    at: datetime,
    *,
    expected: Collection[int] | None = None,
) -> tuple[Preferences, int, Withdrawn]:
    """Merge a checked patch (RFC 7396) into her settings; messages that they no longer want are cancelled.

    Raises PreconditionFailed when their version is not among the ``expected`` ones: somebody else was faster.
    """

    async def work(connection: Connection) -> tuple[Preferences, int, Withdrawn]:
        await welcome(connection, customer_id, at)
        await _sql.add_customer.run(connection, customer_id=customer_id, at=at)
        await lock_customer(connection, customer_id)
        return await merge_preferences(connection, customer_id, patch, at, expected=expected)

    result: tuple[Preferences, int, Withdrawn] = await run_locked(database, work)
    await write_down(journal, customer_id, result[0], at)
    return result


async def write_down(journal: Journal, customer_id: str, settings: Preferences, at: datetime) -> None:
    """Put her settings where a restored backup cannot bring back older ones."""
    body = msgspec.convert(to_jsonable(settings), dict[str, Any])
    await journal.add(PreferencesChanged(at, journal.pseudonym(customer_id), body))


async def merge_preferences(
    connection: Connection,
    customer_id: str,
    patch: dict[str, Any],
    at: datetime,
    *,
    expected: Collection[int] | None = None,
) -> tuple[Preferences, int, Withdrawn]:
    """Merge a patch in a transaction that holds her lock; :func:`write_down` comes after it."""
    row = await _sql.preferences.row(connection, customer_id=customer_id)
    before, known = _decode_preferences(row)
    if expected is not None and known not in expected:
        raise PreconditionFailed("The settings were changed since they were read; read them again.")
    after = msgspec.convert(merge_patch(to_jsonable(before), _dated(patch, before, at)), Preferences)
    if len(after.topics) > TOPICS_MAX:
        raise Invalid(f"At most {TOPICS_MAX} topics.", code="too_many_topics")
    if len(after.interests) > INTERESTS_MAX:
        raise Invalid(f"At most {INTERESTS_MAX} interests.", code="too_many_interests")
    version = await _sql.save_preferences.value(connection, customer_id=customer_id, body=to_jsonable(after), at=at)
    everything = _is_stricter(before, after, at)
    topics = [topic for topic, on in before.topics.items() if on and not after.topics.get(topic)]
    channels = [each.value for each in Channel if not after.channels.get(each, each is Channel.PUSH)]
    await _sql.forbid_resending.run(
        connection, customer_id=customer_id, everything=everything, topics=topics, channels=channels, purposes=[]
    )
    withdrawn = await _cancel(
        connection,
        _sql.cancel_unwanted,
        customer_id,
        at,
        everything=everything,
        topics=topics,
        channels=channels,
    )
    return after, version, withdrawn


def _dated(patch: dict[str, Any], before: Preferences, at: datetime) -> dict[str, Any]:
    """Write down since when she likes what she says she likes; saying it again changes nothing, taking it back does."""
    if "interests" not in patch:
        return patch
    since = {name: before.interests.get(name, at) if on else None for name, on in patch["interests"].items()}
    return patch | {"interests": to_jsonable(since)}


async def heed_privacy_signal(database: Database, journal: Journal, customer_id: str, at: datetime) -> None:
    """Keep what her browser says on her behalf (Global Privacy Control): nothing personal, on any of her devices."""
    if not (await preferences(database, customer_id))[0].privacy_signal:
        await change_preferences(database, journal, customer_id, {"privacy_signal": True}, at)


def _is_stricter(before: Preferences, after: Preferences, at: datetime) -> bool:
    """Whether what waits may not be wanted any more whatever its topic; when in doubt, it is cancelled."""
    return (
        (after.privacy_signal and not before.privacy_signal)
        or (after.daily_cap is not None and (before.daily_cap is None or after.daily_cap < before.daily_cap))
        or (after.snooze_until is not None and after.snooze_until > at)
        or after.comfort_level < before.comfort_level
        or (after.quiet_hours is not None and after.quiet_hours != before.quiet_hours)
        or after.timezone != before.timezone
    )


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396): null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


# Events -----------------------------------------------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something she did; ``price`` is of one piece, in the retailer's currency."""

    type: EventType
    occurred_at: datetime
    id: str | None = None
    product_id: str | None = None
    category: str | None = None
    quantity: int | None = None
    price: float | None = None
    store_id: str | None = None
    order_id: str | None = None
    variant: str | None = None

    @property
    def identity(self) -> str:
        """Its id; without one, the same content at the same instant is the same event."""
        if self.id is not None:
            return self.id
        content = msgspec.structs.asdict(self)
        if self.variant is None:
            del content["variant"]  # fields that came later do not change what was sent before
        return "sha:" + blake2b(msgspec.json.encode(content), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of events: how many are new, and the places of those that may not be stored."""

    new: int
    refused: list[int]


EVENT_TOLERANCE: Final = timedelta(minutes=2)
"""An event this far in the future is a phone's clock that runs ahead; more is rejected."""


async def record_events(
    database: Database, customer_id: str, events: Sequence[Event], source: str, at: datetime
) -> Recorded:
    """Store events once each, by id, also of an alias; what was erased, or came after an erasure, is not stored."""
    if not events:
        return Recorded(0, [])

    async def work(connection: Connection) -> Recorded:
        hers = await standing(connection, customer_id)
        refused = [place for place, event in enumerate(events) if not hers.may_store(event.occurred_at)]
        kept = [event for event in events if hers.may_store(event.occurred_at)]
        return Recorded(await add(connection, hers, kept) if kept else 0, refused)

    async def add(connection: Connection, hers: Standing, events: Sequence[Event]) -> int:
        await _sql.add_customer.run(connection, customer_id=hers.customer_id, at=at)
        rows = await _sql.add_events.fetch(
            connection,
            customer_id=hers.customer_id,
            alias=hers.alias,
            event_ids=[event.identity for event in events],
            types=[event.type.value for event in events],
            # What a fast clock calls the near future has happened.
            occurred_ats=[min(event.occurred_at, at) for event in events],
            product_ids=[event.product_id for event in events],
            categories=[event.category for event in events],
            quantities=[event.quantity for event in events],
            prices=[event.price for event in events],
            store_ids=[event.store_id for event in events],
            order_ids=[event.order_id for event in events],
            variants=[event.variant for event in events],
            source=source,
            at=at,
        )
        new = {row["event_id"] for row in rows}
        bought = [event for event in events if event.type is EventType.PURCHASED and event.identity in new]
        await note_purchases(connection, hers.customer_id, bought)
        return len(rows)

    return await database.run(work)


# Looking up -------------------------------------------------------------------------------------------------


async def presence(database: Database, customer_id: str) -> list[asyncpg.Record]:
    """List her devices with their tracks."""
    async with database.connection() as connection:
        return await _sql.presence.fetch(connection, customer_id=customer_id)


async def update_customer(database: Database, customer_id: str, at: datetime, **known: Any) -> None:
    """Note what the shop knows of her, by her own id or an alias; None leaves a field as it is. Raises Conflict."""

    async def work(connection: Connection) -> None:
        hers = await standing(connection, customer_id)
        if hers.away:
            raise Conflict("She had herself erased: nothing about her is stored.", code="customer_erased")
        await _sql.add_customer.run(connection, customer_id=hers.customer_id, at=at)
        await _sql.update_customer.run(connection, customer_id=hers.customer_id, **known)

    await database.run(work)
