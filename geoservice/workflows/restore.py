"""After a restore from a backup: nothing of the past is sent now, and what was taken back since stays taken back.

First everything that was under way when the backup was made is ended. Then the journals' entries are applied again,
each if the database knows nothing newer: a consent that was given again after it, and is in the backup, stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from geoservice.decisions.facts import Preferences
from geoservice.errors import Conflict
from geoservice.storage.database import Database
from geoservice.storage.journal import (
    ConsentWithdrawn,
    Entry,
    Erased,
    Journal,
    KeyRevoked,
    PreferencesChanged,
    SignedOut,
)
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Purpose
from geoservice.workflows import consents, devices, erasure, operating

SOURCE: Final = "restore-check"
"""Where a consent record says it came from when the journal gave it."""

_sql = Queries("restore")
_customers = Queries("customers")
_ops = Queries("ops")


@dataclass(slots=True)
class Report:
    """What was done, in numbers; all zero when there was nothing to do."""

    messages_expired: int = 0
    messages_in_doubt: int = 0
    transitions_dropped: int = 0
    waits_dropped: int = 0
    positions_forgotten: int = 0
    visits_ended: int = 0
    consents_withdrawn: int = 0
    preferences_restored: int = 0
    phones_signed_out: int = 0
    customers_erased: int = 0
    keys_revoked: int = 0
    lines_unreadable: int = 0


@dataclass(slots=True)
class _Wishes:
    """The newest entries about one customer, by what they are about."""

    erased: Erased | None = None
    withdrawn: dict[str, ConsentWithdrawn] = field(default_factory=dict)
    preferences: PreferencesChanged | None = None
    signed_out: dict[str, SignedOut] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        match entry:
            case Erased():
                self.erased = entry
            case ConsentWithdrawn():
                self.withdrawn[entry.purpose] = entry
            case PreferencesChanged():
                self.preferences = entry
            case SignedOut():
                self.signed_out[entry.device] = entry
            case KeyRevoked():
                raise TypeError("a key is no customer's")


async def restore_check(database: Database, journals: Sequence[Journal], at: datetime) -> Report:
    """Make a restored database fit to be served; harmless when run again. Raises Conflict while a service uses it."""
    async with database.connection() as connection:
        if await _sql.services.value(connection):
            raise Conflict("A service is running on this database: stop it first, and start it after this.")
    report = Report()
    await database.run(lambda connection: _end_what_was_under_way(connection, report, at))
    for journal in journals:
        await _apply(database, journal, report, at)
    done = ", ".join(f"{name} {count}" for name, count in asdict(report).items() if count)
    actor = operating.Actor(SOURCE, frozenset())
    await operating.audit(database, actor, "restore-check", at, subject=done or "nothing to do")
    return report


async def _end_what_was_under_way(connection: Connection, report: Report, at: datetime) -> None:
    await _sql.lock_devices.fetch(connection)
    report.positions_forgotten = await _sql.forget_tracks.run(connection)
    report.visits_ended = await _sql.end_visits.run(connection)
    report.transitions_dropped = await _sql.drop_undecided.run(connection, at=at)
    report.waits_dropped = await _sql.drop_deferred.run(connection)
    report.messages_expired = await _sql.expire_waiting.run(connection, at=at)
    report.messages_in_doubt = await _sql.doubt_sending.run(connection, at=at)
    await _sql.forbid_resending.run(connection)


async def _apply(database: Database, journal: Journal, report: Report, at: datetime) -> None:
    wishes: dict[str, _Wishes] = {}
    revoked: list[KeyRevoked] = []
    for entry in journal.entries():
        if entry is None:
            report.lines_unreadable += 1
        elif isinstance(entry, KeyRevoked):
            revoked.append(entry)
        else:
            wishes.setdefault(entry.who, _Wishes()).add(entry)
    report.keys_revoked += await _revoke(database, revoked)
    async with database.connection() as connection:
        rows = await _sql.customers.fetch(connection)
    for row in rows:
        hers = wishes.get(journal.pseudonym(row["customer_id"]))
        if hers is not None:
            await _apply_to(database, journal, row, hers, report, at)


async def _revoke(database: Database, entries: Iterable[KeyRevoked]) -> int:
    async with database.connection() as connection:
        names = [await _ops.revoke_key.value(connection, key_id=entry.key_id, at=entry.at) for entry in entries]
    return sum(name is not None for name in names)


async def _apply_to(
    database: Database, journal: Journal, row: Any, hers: _Wishes, report: Report, at: datetime
) -> None:
    customer_id = row["customer_id"]
    if hers.erased is not None and row["created_at"] < hers.erased.at:
        await erasure.erase_again(database, customer_id, at)
        report.customers_erased += 1
        return
    for entry in hers.withdrawn.values():
        report.consents_withdrawn += await _withdraw(database, customer_id, entry)
    if hers.preferences is not None:
        try:
            report.preferences_restored += await _restore_preferences(database, customer_id, hers.preferences)
        except msgspec.ValidationError:
            report.lines_unreadable += 1
    if hers.signed_out:
        report.phones_signed_out += await _sign_out(database, journal, customer_id, hers.signed_out, at)


async def _withdraw(database: Database, customer_id: str, entry: ConsentWithdrawn) -> bool:
    async with database.connection() as connection:
        last = await _sql.last_answer.row(connection, customer_id=customer_id, purpose=entry.purpose)
    if last is None or not last["granted"] or last["recorded_at"] > entry.at:
        return False
    change = consents.ConsentChange(granted=False, notice_version=entry.notice_version, source=SOURCE)
    await consents.apply_consent(database, customer_id, Purpose(entry.purpose), change, entry.at)
    return True


async def _restore_preferences(database: Database, customer_id: str, entry: PreferencesChanged) -> bool:
    msgspec.convert(entry.preferences, Preferences)  # another version may have written what this one cannot read

    async def work(connection: Connection) -> bool:
        row = await _sql.preferences_of.row(connection, customer_id=customer_id)
        if row is not None and row["updated_at"] >= entry.at:
            return False
        await _customers.save_preferences.value(
            connection, customer_id=customer_id, body=entry.preferences, at=entry.at
        )
        return True

    return await database.run(work)


async def _sign_out(
    database: Database, journal: Journal, customer_id: str, entries: dict[str, SignedOut], at: datetime
) -> int:
    async with database.connection() as connection:
        phones = await _sql.devices_of.fetch(connection, customer_id=customer_id)
    gone = 0
    for phone in phones:
        entry = entries.get(journal.pseudonym(customer_id, phone["device_id"]))
        if entry is not None and phone["signed_in_at"] <= entry.at:
            await devices.forget_device(database, (customer_id, phone["device_id"]), at)
            gone += 1
    return gone
