"""A database restored from a backup: nothing of the past is sent, and what was taken back stays taken back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from conftest import CAMPAIGN, NOON, environment, running, walk, with_database

from geoservice.demo.fcm_stand_in import Answer
from geoservice.storage.journal import Erased, Journal
from geoservice.storage.server_programs import postgres_programs
from geoservice.vocabulary import MessageState

OPEN = {"context": {}, "uses": [], "limits": {"cooldown_s": 0, "min_gap_s": 0}}


def run(program: str, *arguments: str) -> None:
    done = subprocess.run([postgres_programs() / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def restore_check(settings: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GEOSERVICE_")}
    command = [sys.executable, "-m", "geoservice", "restore-check", *arguments]
    return subprocess.run(command, env={**clean, **settings}, capture_output=True, text=True, check=False)


@asynccontextmanager
async def restored(postgres: str, backup: Path) -> AsyncIterator[str]:
    """A new database with what is in the backup."""
    connection = await asyncpg.connect(postgres)
    await connection.execute("create database restored")
    url = with_database(postgres, "restored")
    try:
        await asyncio.to_thread(run, "pg_restore", "--exit-on-error", "--dbname", url, str(backup))
        yield url
    finally:
        await connection.execute("drop database restored with (force)")
        await connection.close()


async def test_an_old_backup_sends_nothing_and_grants_nothing(postgres, database_url, fcm, tmp_path):
    """Backup, then people opt out and messages go out; restored and checked, nobody who opted out is written to."""
    backup = tmp_path / "geoservice.dump"
    people = ["ada", "ben", "cleo", "dora", "eve", "fay"]
    settings = environment(database_url, fcm, tmp_path / "data")
    async with running(settings, fcm) as client:
        await client.set_up_store()
        await client.set_up_campaign(**OPEN)
        for person in people:
            await client.opt_in(person)
        fcm.script(Answer("unavailable", retry_after="60", times=2))
        path = walk(client.now, 53.55, 10.0)
        await client.set_clock(path[-1]["recorded_at"])
        for person in ("ada", "ben"):
            await client.ping(person, *path)
        async with asyncio.timeout(60):
            while len(await client.sql("select from messages where state = 'retry_wait'")) < 2:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(run, "pg_dump", "--format=custom", f"--file={backup}", database_url)

        await client.pass_time(minutes=3)
        await client.delivered(2)
        for person, purpose in (("ben", "marketing_push"), ("cleo", "location")):
            body = {"granted": False, "notice_version": "2026-01"}
            await client.ok("PUT", f"/v1/me/consents/{purpose}", body, who=client.customer(person))
        await client.ok("PATCH", "/v1/me/preferences", {"topics": {"sneakers": False}}, who=client.customer("dora"))
        await client.ok("DELETE", "/v1/devices/phone", who=client.customer("fay"))
        await client.ok(
            "PUT",
            "/v1/devices/phone-that-was-adas",
            {"platform": "android", "push_token": "token-ada-phone"},
            who=client.customer("gil"),
        )
        now = client.now

    async with restored(postgres, backup) as url:
        settings = environment(url, fcm, tmp_path / "data")
        done = await asyncio.to_thread(restore_check, settings)
        assert done.returncode == 0, done.stderr
        assert "2 messages expired" in done.stdout
        assert "2 consents withdrawn" in done.stdout
        fcm.reset()
        async with running(settings, fcm) as client:
            await client.set_clock(now + timedelta(hours=1))
            await client.wait_until_matching("harbour-approach")
            answer = await client.ping("cleo", {"type": "location", "recorded_at": client.now, "lat": 53.55,
                                                "lon": 10.0, "accuracy_m": 10})  # fmt: skip
            assert answer["ignored"] == [{"index": 0, "reason": "no_location_consent"}]
            for person in ("ben", "dora", "eve"):
                await client.walk_in(person)
            await client.delivered(1)
            await client.settled()
            assert [push.token for push in fcm.accepted] == ["token-eve-phone"]
            reasons = {p: [d["reason"] for d in await client.decisions(p)][-1] for p in ("ben", "dora")}
            assert reasons == {"ben": "no_push_consent", "dora": "topic_off"}
            assert not await client.sql("select from devices where customer_id in ('ada', 'fay')")
            states = await client.sql(
                "select state, failure, in_doubt from messages where customer_id in ('ada', 'ben')"
            )
            assert [tuple(row) for row in states] == [("expired", "restored", True)] * 2


async def test_nothing_that_was_under_way_goes_on(database_url, tmp_path):
    """Whatever waited in the backup is expired, a call under way is in doubt, and no campaign sends it again."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("insert into customers (customer_id, created_at) values ('ada', $1)", NOON)
    for state in MessageState:
        await connection.execute(
            """insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, purposes,
                                     payload, why, resend, state, reserved_at, not_before, expires_at)
               values ('ada', $1, 'd', 'c', 't', 'push', '{}', '{}', '{}', true, $1, $2, $2, 'infinity')""",
            state.value, NOON,
        )  # fmt: skip
    await connection.execute(
        """insert into transitions (customer_id, transition_id, device_id, geofence_id, kind, at, confidence, source,
                                    late, initial, assumed, recorded_at)
           values ('ada', 't', 'phone', 'f', 'enter', $1, 1, 'fix', false, false, false, $1)""",
        NOON,
    )
    await connection.execute("insert into deferred values ('ada', 't', 'c', $1)", NOON)
    Journal(tmp_path / "journal")
    settings = environment(database_url, None, tmp_path)
    for _ in range(2):  # again is harmless
        done = await asyncio.to_thread(restore_check, settings)
        assert done.returncode == 0, done.stderr
        rows = await connection.fetch("select message_id, state, unwanted from messages")
        moved = {row["message_id"]: row["state"] for row in rows if row["message_id"] != row["state"]}
        assert moved == {"pending": "expired", "claimed": "expired", "retry_wait": "expired", "sending": "unknown"}
        assert all(row["unwanted"] for row in rows if row["state"] == "unknown")
    assert await connection.fetchval("select count(*) from deferred") == 0
    assert await connection.fetchval("select count(*) from transitions where engaged_at is null") == 0
    assert await connection.fetchval("select count(*) from audit_log where action = 'restore-check'") == 2
    await connection.close()


async def test_who_was_erased_stays_erased(database_url, tmp_path):
    """An erased customer leaves every table of the restored database; who came back afterwards stays."""
    journal = Journal(tmp_path / "journal")
    async with running(environment(database_url, None, tmp_path), None) as client:
        await client.set_up_store()
        await client.set_up_campaign(**CAMPAIGN)
        for person in ("ada", "ben"):
            await client.opt_in(person)
            await client.browse(person)
            await client.walk_in(person)
        await client.settled()
        tables = [
            row["table_name"]
            for row in await client.sql(
                """select c.table_name from information_schema.columns c
                   join information_schema.tables t on t.table_name = c.table_name and t.table_type = 'BASE TABLE'
                   where c.column_name = 'customer_id' and c.table_schema = 'public'"""
            )
        ]

        async def has(person: str) -> set[str]:
            return {t for t in tables if await client.sql(f"select from {t} where customer_id = $1 limit 1", person)}

        before = await has("ada")
        assert {"customers", "devices", "transitions", "ping_receipts", "messages", "visits", "events"} <= before
        now = client.now
    await journal.add(Erased(now + timedelta(hours=1), journal.pseudonym("ada")))
    await journal.add(Erased(NOON - timedelta(hours=1), journal.pseudonym("ben")))
    done = await asyncio.to_thread(restore_check, environment(database_url, None, tmp_path))
    assert done.returncode == 0, done.stderr
    assert "1 customers erased" in done.stdout
    async with running(environment(database_url, None, tmp_path), None) as client:
        assert await has("ada") <= {"audit_log"}
        assert {"customers", "devices", "transitions"} <= await has("ben")


async def test_a_consent_that_is_newer_than_its_withdrawal_stays(database_url, tmp_path):
    """Withdrawn, given again, and both are in the backup: the consent holds."""
    settings = environment(database_url, None, tmp_path)
    async with running(settings, None) as client:
        who = client.customer("ada")
        for granted in (True, False, True):
            await client.pass_time(minutes=1)
            body = {"granted": granted, "notice_version": "1"}
            await client.ok("PUT", "/v1/me/consents/location", body, who=who)
    assert (await asyncio.to_thread(restore_check, settings)).returncode == 0
    async with running(settings, None) as client:
        items = (await client.ok("GET", "/v1/me/consents", who=client.customer("ada")))["items"]
        assert {item["purpose"]: item["granted"] for item in items}["location"] is True


async def test_a_revoked_key_stays_revoked(database_url, tmp_path):
    """A key that was revoked after the backup does not open anything again."""
    settings = environment(database_url, None, tmp_path)
    async with running(settings, None) as client:
        key = await client.key("ops")
        (row,) = await client.sql("select key_id from api_keys")
        command = [sys.executable, "-m", "geoservice", "keys", "revoke", row["key_id"]]
        done = await asyncio.to_thread(subprocess.run, command, env={**os.environ, **settings}, capture_output=True)
        assert done.returncode == 0, done.stderr
        await client.sql("update api_keys set revoked_at = null")  # as the backup has it
    assert (await asyncio.to_thread(restore_check, settings)).returncode == 0
    async with running(settings, None) as client:
        assert (await client.call("GET", "/v1/stores", who=key)).status == 401


async def test_it_is_refused_while_a_service_runs(service, tmp_path):
    """On a database that is being served it changes nothing, and says what to do."""
    settings = environment(service.app.settings.database_url, None, tmp_path)
    done = await asyncio.to_thread(restore_check, settings)
    assert done.returncode == 1
    assert "stop it first" in done.stderr


async def test_a_wrong_journal_folder_is_no_empty_journal(database_url, tmp_path):
    """A folder without a journal, or one whose key is lost, ends the check instead of applying nothing."""
    settings = environment(database_url, None, tmp_path)
    done = await asyncio.to_thread(restore_check, settings, "--journal", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "There is no journal in" in done.stderr
    journal = Journal(tmp_path / "old")
    await journal.add(Erased(NOON, journal.pseudonym("ada")))
    (tmp_path / "old" / "key").unlink()
    done = await asyncio.to_thread(restore_check, settings, "--journal", str(tmp_path / "old"))
    assert done.returncode == 2
    assert "lost its key" in done.stderr


async def test_a_withdrawal_that_cannot_be_put_on_record_is_not_confirmed(service):
    """With a journal that cannot be written she is told to send it again; it holds all the same."""
    await service.opt_in("ada")
    folder = service.app.settings.journal_dir
    (folder / "entries.jsonl").rename(folder / "moved.jsonl")
    (folder / "entries.jsonl").mkdir()
    body = {"granted": False, "notice_version": "1"}
    who = service.customer("ada")
    answer = await service.call("PUT", "/v1/me/consents/location", body, who=who)
    assert (answer.status, answer.body["code"]) == (503, "not_ready")
    items = (await service.ok("GET", "/v1/me/consents", who=who))["items"]
    assert {item["purpose"]: item["granted"] for item in items}["location"] is False
    (folder / "entries.jsonl").rmdir()
    assert (await service.call("PUT", "/v1/me/consents/location", body, who=who)).status == 200
    assert (folder / "entries.jsonl").read_bytes().count(b"consent_withdrawn") == 1


async def test_the_journal_names_nobody(service):
    """No customer id, phone, push token or coordinate stands in the journal, and only its owner can read it."""
    await service.opt_in("zoe@example.org")
    who = service.customer("zoe@example.org")
    await service.ok("PUT", "/v1/me/consents/location", {"granted": False, "notice_version": "1"}, who=who)
    await service.ok("DELETE", "/v1/devices/phone", who=who)
    path = service.app.settings.journal_dir / "entries.jsonl"
    text = path.read_text()
    assert text.count("\n") == 3
    assert not [word for word in ("zoe", "phone", "token", "53.5", "lat") if word in text]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_torn_line_costs_no_other(tmp_path):
    """What a power cut left half-written is skipped; the entries before and after it are read."""
    journal = Journal(tmp_path)
    await journal.add(Erased(NOON, "first"))
    with (tmp_path / "entries.jsonl").open("ab") as file:
        file.write(b'{"kind":"erased","at":"2026-0')
    await Journal(tmp_path).add(Erased(NOON, "second"))
    assert list(journal.entries()) == [Erased(NOON, "first"), None, Erased(NOON, "second")]


@pytest.mark.parametrize("many", [50])
async def test_entries_of_many_writers_do_not_mix(tmp_path, many):
    """Processes that share a journal write whole lines."""
    journals = [Journal(tmp_path) for _ in range(5)]
    await asyncio.gather(*(j.add(Erased(NOON, f"{i}" * 200)) for j in journals for i in range(many)))
    entries = list(journals[0].entries())
    assert len(entries) == 5 * many
    assert None not in entries
