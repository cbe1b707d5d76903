"""What she wants: topics, channels, quiet hours, how many, how personal.

A change cancels what it makes unwanted in its own transaction, and is written to the journal before she gets her
answer, so that a database restored from a backup does not bring back what she wanted before.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from geoservice.decisions.facts import Preferences
from geoservice.errors import Invalid
from geoservice.storage.database import Database
from geoservice.storage.journal import Journal, PreferencesChanged
from geoservice.storage.queries import Connection, Queries
from geoservice.vocabulary import Channel, to_jsonable
from geoservice.workflows.customers import Withdrawn, cancel_messages, lock_customer, run_locked
from geoservice.workflows.preconditions import ANYTHING, Expected
from geoservice.workflows.standing import welcome

TOPICS_MAX: Final = 200

INTERESTS_MAX: Final = 200

_sql = Queries("customers")


async def load_preferences(database: Database, customer_id: str) -> tuple[Preferences, int]:
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
    expected: Expected = ANYTHING,
) -> tuple[Preferences, int, Withdrawn]:
    """Merge a checked patch (RFC 7396) into her settings; messages that they no longer want are cancelled.

    Raises PreconditionFailed when they are not what is ``expected``: somebody else was faster.
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
    expected: Expected = ANYTHING,
) -> tuple[Preferences, int, Withdrawn]:
    """Merge a patch in a transaction that holds her lock; :func:`write_down` comes after it."""
    row = await _sql.preferences.row(connection, customer_id=customer_id)
    before, known = _decode_preferences(row)
    expected.check(known)
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
    withdrawn = await cancel_messages(
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
    if not (await load_preferences(database, customer_id))[0].privacy_signal:
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
        or not before.interests.keys() <= after.interests.keys()
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
