"""Signing in and out on a phone, and where she is believed to be.

A push token belongs to one customer. What waits for a phone that she left is cancelled, and her leaving is written to
the journal before she gets her answer, so that a database restored from a backup does not sign her in again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from geoservice.errors import Conflict, NotFound
from geoservice.storage.database import Database
from geoservice.storage.journal import Journal, SignedOut
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import OsPermission, Platform
from geoservice.workflows.customers import DevicesChanged, lock_customer, run_locked
from geoservice.workflows.standing import refuse_alias, standing, welcome

DEVICES_MAX: Final = 200
"""Phones of one customer: far more than anybody has, and too few to farm push tokens with."""

_sql = Queries("customers")


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


async def presence(database: Database, customer_id: str) -> list[asyncpg.Record]:
    """List her devices with their tracks."""
    async with database.connection() as connection:
        return await _sql.presence.fetch(connection, customer_id=customer_id)
