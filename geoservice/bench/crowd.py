"""Many customers at once: copies of one who registered and consented over HTTP, made inside the database."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

_TABLES = """
select table_name from information_schema.columns join information_schema.tables using (table_schema, table_name)
where column_name = 'customer_id' and table_type = 'BASE TABLE' and table_schema = 'public'
  and table_name <> 'audit_log'
order by table_name <> 'customers', table_name
"""
"""Hers first, since the other tables refer to it."""

_COPY = """
insert into {table} overriding user value
select (jsonb_populate_record(
            original, jsonb_build_object('customer_id', name) || case when '{table}' = 'devices'
                then jsonb_build_object('push_token', 'token-' || name) else '{{}}' end)).*
from {table} original, unnest($1::text[]) as name
where original.customer_id = $2
"""

_COPY_MESSAGE = """
insert into messages overriding user value
select (jsonb_populate_record(
            original, jsonb_build_object(
                'customer_id', name, 'message_id', gen_random_uuid(), 'decision_id', gen_random_uuid(),
                'state', 'pending', 'attempts', 0, 'tries', '[]'::jsonb, 'claim_id', null, 'lease_until', null,
                'sending_at', null, 'accepted_at', null, 'finished_at', null, 'provider_message_id', null,
                'failure', null, 'in_doubt', false, 'reserved_at', now(), 'not_before', now(),
                'expires_at', now() + interval '10 minutes'))).*
from messages original, unnest($1::text[]) as name
where original.customer_id = $2
"""


async def multiply(connection: asyncpg.Connection, original: str, names: Sequence[str]) -> None:
    """Make customers with these names, each with one phone, who did and allowed what ``original`` did and allowed."""
    async with connection.transaction():
        for row in await connection.fetch(_TABLES):
            await connection.execute(_COPY.format(table=row["table_name"]), names, original)


async def address(connection: asyncpg.Connection, original: str, names: Sequence[str]) -> None:
    """Give each of these customers the message that ``original`` got, as if it had just been decided."""
    async with connection.transaction():
        await connection.execute(_COPY_MESSAGE, names, original)
