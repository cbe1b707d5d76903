"""What she allows: each answer is a record, and holds at once.

A withdrawal cancels in its own transaction what has not left the house, names what may have, and is written to the
journal before she gets her answer, so that a database restored from a backup does not give the consent again.
"""

from __future__ import annotations

from datetime import datetime

import asyncpg
import msgspec

from geoservice.errors import ErrorDetail, Invalid
from geoservice.storage.database import Database
from geoservice.storage.journal import ConsentWithdrawn, Journal
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import OsPermission, Purpose
from geoservice.workflows.customers import Withdrawn, cancel_messages, lock_customer, run_locked
from geoservice.workflows.standing import welcome

_sql = Queries("customers")

_privacy = Queries("privacy")


class ConsentChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One answer of the customer to one question, as evidence."""

    granted: bool
    notice_version: str
    language: str | None = None
    source: str | None = None
    os_permission: OsPermission | None = None


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
        return await cancel_messages(connection, _sql.cancel_needing, customer_id, at, purpose=purpose.value)

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


async def consents(database: Database, customer_id: str) -> list[asyncpg.Record]:
    """List the record in force of each purpose that she was ever asked about."""
    async with database.connection() as connection:
        return await _sql.consents_in_force.fetch(connection, customer_id=customer_id)
