"""Why a message was sent, or not; its life; another try."""

from __future__ import annotations

import argparse
from typing import Any

from geoservice.clock import SystemClock
from geoservice.commands.command_line import FAILED, a_line, a_number, an_id, command, err, group, out
from geoservice.commands.database import with_database
from geoservice.storage.database import Database
from geoservice.telemetry.explain import print_decision, print_message, print_messages
from geoservice.vocabulary import MessageState, Role
from geoservice.workflows import messages, operating
from geoservice.workflows.languages import language_of


def add_to(commands: Any) -> None:
    """Add the commands of this file."""
    explain = command(commands, "explain", _explain, "print why a message was sent, or not")
    explain.add_argument("decision_id", metavar="DECISION_ID")
    explain.add_argument(
        "--reason", type=a_line, default="geoservice explain", help="put on record as the reason for looking"
    )

    outbox = group(commands, "messages", "look at messages, try one again")
    newest = command(outbox, "list", _list_messages, "list messages, newest first, of nobody by name")
    newest.add_argument("--state", choices=[state.value for state in MessageState], help="only those in this state")
    newest.add_argument("--campaign", type=an_id, metavar="ID", help="only those of this campaign")
    newest.add_argument(
        "--limit", type=a_number(1, 10_000), default=50, metavar="N", help="at most so many (default 50)"
    )
    show = command(outbox, "show", _show_message, "print a message's life, as one timeline")
    show.add_argument("message_id", metavar="MESSAGE_ID")
    show.add_argument(
        "--reason", type=a_line, default="geoservice messages show", help="put on record as the reason for looking"
    )
    again = command(outbox, "requeue", _requeue_message, "decide anew about a message that certainly did not go out")
    again.add_argument("message_id", metavar="MESSAGE_ID")


def _explain(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> int:
        row = await operating.decision(database, arguments.decision_id)
        if row is None:
            err.print("[red]✗[/] There is no such decision.")
            return FAILED
        actor = operating.Actor("cli", frozenset(Role))
        await operating.audit(
            database,
            actor,
            "read decision",
            SystemClock().now(),
            customer_id=row["customer_id"],
            subject=arguments.decision_id,
            reason=arguments.reason,
        )
        print_decision(out, row, language_of(row["locale"]).sentences.reasons.get(row["reason"]))
        return 0

    return with_database(work)


def _list_messages(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        state = MessageState(arguments.state) if arguments.state else None
        rows = await messages.newest(database, state=state, campaign_id=arguments.campaign, limit=arguments.limit)
        print_messages(out, rows)

    return with_database(work)


def _show_message(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        row = await messages.by_id(database, arguments.message_id)
        await operating.audit(
            database,
            operating.Actor("cli", frozenset(Role)),
            "read message",
            SystemClock().now(),
            customer_id=row["customer_id"],
            subject=arguments.message_id,
            reason=arguments.reason,
        )
        print_message(out, row, messages.timeline(row))

    return with_database(work)


def _requeue_message(arguments: argparse.Namespace) -> int:
    async def work(database: Database) -> None:
        at = SystemClock().now()
        await messages.requeue(database, arguments.message_id, at)
        actor = operating.Actor("cli", frozenset(Role))
        await operating.audit(database, actor, "requeue message", at, subject=arguments.message_id)
        out.print("[green]✓[/] its campaign decides again now; this message stays as it is, a new one may follow")

    return with_database(work)
