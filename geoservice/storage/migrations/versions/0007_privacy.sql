-- What customers were told when they were asked. A published version never changes, since consents name it.
create table notices (
    version       text primary key,
    texts         jsonb not null,
    controller    text,
    jurisdiction  text,
    data_used     text[] not null default '{}',
    published_at  timestamptz not null
);
create trigger notices_are_evidence before update or delete on notices
    for each row execute function refuse_update();

-- Copied from the notice at the moment of the answer, so that a consent record is complete by itself.
alter table consents add column jurisdiction text;
alter table consents add column controller text;
alter table consents add column data_used text[];

-- The same customer by the ids of other systems. `events.alias` says under which of them an event came in, so that she
-- can be parted from it again.
create table aliases (
    customer_id  text not null references customers on delete cascade,
    alias        text not null,
    joined_at    timestamptz not null,
    primary key (customer_id, alias)
);
create unique index aliases_alias on aliases (alias);
alter table events add column alias text;

-- Customers who were erased are recognised by a keyed hash: without this key nobody can try ids against it.
create table pseudonym_key (
    only_one  boolean primary key default true check (only_one),
    key       bytea not null
);
insert into pseudonym_key (key)
values (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

create function pseudonym(customer_id text) returns bytea language sql stable as $$
    select sha256(key || convert_to(customer_id, 'UTF8')) from pseudonym_key
$$;

-- Who asked to be forgotten: what servers still send about her is not stored, until she comes back of her own accord.
create table suppressions (
    customer_hash  bytea primary key,
    erased_at      timestamptz not null,
    returned_at    timestamptz
);

-- One request to be erased, and how far it is. `of_customer` goes when the work is done.
create table erasures (
    erasure_id     text primary key,
    customer_hash  bytea not null,
    of_customer    text,
    requested_at   timestamptz not null,
    finished_at    timestamptz
);
create index erasures_open on erasures (requested_at) where finished_at is null;

-- What she had answered, without her name: proof that each message was allowed.
create table consent_evidence (
    customer_hash   bytea not null,
    evidence_id     bigint generated always as identity,
    purpose         text not null,
    granted         boolean not null,
    notice_version  text not null,
    language        text,
    source          text,
    os_permission   text,
    jurisdiction    text,
    controller      text,
    data_used       text[],
    recorded_at     timestamptz not null,
    erased_at       timestamptz not null,
    primary key (customer_hash, evidence_id)
);
create trigger consent_evidence_is_evidence before update on consent_evidence
    for each row execute function refuse_update();

-- The audit log is added to only. One change is allowed, and goes with an erasure: a customer loses her name.
create function keep_audit() returns trigger language plpgsql as $$
begin
    if old.customer_id is not null and new.customer_id like 'erased:%'
       and (new.audit_id, new.at, new.actor, new.action) = (old.audit_id, old.at, old.actor, old.action) then
        return new;
    end if;
    raise exception '% is append-only', tg_table_name;
end $$;
drop trigger audit_is_evidence on audit_log;
create trigger audit_is_evidence before update on audit_log for each row execute function keep_audit();
create index audit_log_of_customer on audit_log (customer_id) where customer_id is not null;

-- Every table that holds something of customers, by its column; one that is added later needs no word here.
create function customer_tables() returns table (room regclass) language sql stable as $$
    select c.oid::regclass
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'customer_id' and not a.attisdropped
    where c.relkind in ('r', 'p') and not c.relispartition and c.relnamespace = current_schema()::regnamespace
      and c.relname not in ('customers', 'audit_log')
    order by c.relname
$$;

create function erase_slice(room regclass, whom text, most integer) returns bigint language plpgsql as $$
declare
    gone bigint;
begin
    execute format('delete from %1$s where ctid = any(array(select ctid from %1$s where customer_id = $1 limit $2))', room)
        using whom, most;
    get diagnostics gone = row_count;
    return gone;
end $$;
