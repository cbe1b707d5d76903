-- Every customer-owned table leads its primary key with customer_id, so that it can be partitioned by customer.
-- Locks are taken in one order, never upwards:
--   L0 timers, L1 devices, L2 customers, L3 visits and consents, L4 messages.

create table customers (
    customer_id   text primary key,
    timezone      text,
    locale        text,
    birth_year    integer,
    loyalty_tier  text,
    attributes    jsonb not null default '{}',
    created_at    timestamptz not null
);

-- One row a phone and customer. `track` holds the last fix and the presence states (the only coordinates that are
-- kept); it is one value so that a batch of pings costs one row update. `location_allowed` repeats the newest consent
-- for location, so that this row's lock is the consent check. `newest_at` outlives the track: it keeps order.
create table devices (
    customer_id             text not null references customers on delete cascade,
    device_id               text not null,
    platform                text,
    push_token              text,
    fid                     text,
    token_set_at            timestamptz,
    app_version             text,
    timezone                text,
    locale                  text,
    os_location_permission  text not null default 'unknown',
    location_allowed        boolean not null default false,
    newest_at               timestamptz,
    recent_keys             bytea not null default '',
    track                   bytea,
    registered_at           timestamptz not null,
    primary key (customer_id, device_id)
) with (fillfactor = 60);

-- A push token belongs to one customer at a time.
create unique index devices_push_token on devices (push_token) where push_token is not null;
create unique index devices_fid on devices (fid) where fid is not null;

-- Identities (8-byte hashes) of the pings of one request, so that a repeated request is recognised. No places.
create table ping_receipts (
    customer_id  text not null,
    device_id    text not null,
    from_at      timestamptz not null,
    through_at   timestamptz not null,
    receipt_id   bigint generated always as identity,
    keys         bytea not null,
    received_at  timestamptz not null,
    primary key (customer_id, device_id, through_at, receipt_id)
);
create index ping_receipts_age on ping_receipts using brin (received_at);

-- One stay of a customer at a store, whatever the number of devices. `present` lists "device geofence" pairs that are
-- still inside; the visit ends when the last one leaves.
create table visits (
    customer_id  text not null references customers on delete cascade,
    visit_id     text not null,
    place        text not null,
    store_id     text,
    started_at   timestamptz not null,
    ended_at     timestamptz,
    present      text[] not null default '{}',
    primary key (customer_id, visit_id)
);
create index visits_by_place on visits (customer_id, place, started_at desc);
create unique index visits_open on visits (customer_id, place) where ended_at is null;

-- `engaged_at` is null until the transition has its visit and its decisions: a batch that could not lock the customer
-- leaves it so, and a worker takes it up. No foreign key: its check would make a batch wait for a held customer. The
-- device's lock guards these rows against an erasure, which deletes them itself.
create table transitions (
    customer_id    text not null,
    transition_id  text not null,
    seq            bigint generated always as identity,
    device_id      text not null,
    geofence_id    text not null,
    kind           text not null,
    at             timestamptz not null,
    confidence     double precision not null,
    source         text not null,
    late           boolean not null,
    initial        boolean not null,
    assumed        boolean not null,
    speed_mps      double precision,
    fast_at        timestamptz,
    visit_id       text,
    recorded_at    timestamptz not null,
    engaged_at     timestamptz,
    primary key (customer_id, transition_id)
);
create index transitions_seq on transitions (seq);
create index transitions_of_customer on transitions (customer_id, seq);
create index transitions_undecided on transitions (customer_id, seq) where engaged_at is null;

create table events (
    customer_id  text not null references customers on delete cascade,
    event_id     text not null,
    type         text not null,
    occurred_at  timestamptz not null,
    product_id   text,
    category     text,
    quantity     integer,
    price        double precision,
    store_id     text,
    order_id     text,
    source       text not null,
    received_at  timestamptz not null,
    primary key (customer_id, event_id)
);
create index events_by_time on events (customer_id, occurred_at desc);

-- Append-only: the newest row of a purpose is in force, the others are evidence.
create table consents (
    customer_id     text not null references customers on delete cascade,
    consent_id      bigint generated always as identity,
    purpose         text not null,
    granted         boolean not null,
    notice_version  text not null,
    language        text,
    source          text,
    os_permission   text,
    recorded_at     timestamptz not null,
    primary key (customer_id, consent_id)
);
create index consents_in_force on consents (customer_id, purpose, consent_id desc);

create function refuse_update() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name;
end $$;
create trigger consents_are_evidence before update on consents
    for each row execute function refuse_update();

create table preferences (
    customer_id  text primary key references customers on delete cascade,
    body         jsonb not null,
    version      integer not null,
    updated_at   timestamptz not null
);

-- Catalogue ---------------------------------------------------------------------------------------------------------

create table stores (
    store_id       text primary key,
    name           text not null,
    lat            double precision not null,
    lon            double precision not null,
    timezone       text not null,
    opening_hours  text,
    address        text,
    updated_at     timestamptz not null
);

-- Every publication of a room of the directory (geofences, stores, campaigns) moves its revision. The row lock makes
-- publications wait for one another; matchers reload the rooms whose revision moved.
create table directory_revisions (
    room      text primary key,
    revision  bigint not null
);
insert into directory_revisions (room, revision) values ('stores', 0), ('geofences', 0), ('campaigns', 0);

-- What each publication of geofences changed.
create table catalogue_versions (
    version       bigint primary key,
    published_at  timestamptz not null,
    actor         text not null,
    summary       jsonb not null
);

create table geofences (
    geofence_id  text primary key,
    store_id     text,
    name         text not null,
    kind         text not null,
    geometry     bytea not null,
    radius_m     double precision,
    tags         text[] not null default '{}',
    dwell_s      integer,
    floor        integer,
    beacons      jsonb not null default '[]',
    valid_from   timestamptz,
    valid_until  timestamptz,
    metadata     jsonb not null default '{}',
    version      bigint not null
);

create table campaigns (
    campaign_id  text primary key,
    version      integer not null,
    state        text not null,
    body         jsonb not null,
    updated_at   timestamptz not null
);

-- Decisions and messages ----------------------------------------------------------------------------------------------

create table decisions (
    customer_id       text not null references customers on delete cascade,
    decision_id       text not null,
    seq               bigint generated always as identity,
    transition_id     text not null,
    campaign_id       text not null,
    campaign_version  integer not null,
    geofence_id       text not null,
    store_id          text,
    visit_id          text,
    outcome           text not null,
    reason            text,
    checks            jsonb not null,
    message_id        text,
    at                timestamptz not null,
    primary key (customer_id, decision_id)
);
create unique index decisions_by_id on decisions (decision_id);
create index decisions_seq on decisions (seq);
create index decisions_of_customer on decisions (customer_id, seq);

-- Campaigns that wait: looked at again, with the facts of then, when they are due.
create table deferred (
    customer_id    text not null references customers on delete cascade,
    transition_id  text not null,
    campaign_id    text not null,
    due_at         timestamptz not null,
    primary key (customer_id, transition_id, campaign_id)
);
create index deferred_due on deferred (due_at);

-- A message row is its own cap slot: it counts from its reservation until 24 hours after acceptance. `in_doubt` says
-- that the provider may have taken it once: its slot is never given back. `unwanted` says that she opted out while a
-- call was under way: it is not begun again.
create table messages (
    customer_id          text not null references customers on delete cascade,
    message_id           text not null,
    decision_id          text not null,
    campaign_id          text not null,
    topic                text not null,
    channel              text not null,
    device_id            text,
    store_id             text,
    geofence_id          text,
    visit_id             text,
    purposes             text[] not null,
    payload              jsonb not null,
    why                  jsonb not null,
    resend               boolean not null default false,
    in_doubt             boolean not null default false,
    unwanted             boolean not null default false,
    state                text not null default 'pending',
    reserved_at          timestamptz not null,
    not_before           timestamptz not null,
    expires_at           timestamptz not null,
    attempts             integer not null default 0,
    claim_id             text,
    lease_until          timestamptz,
    sending_at           timestamptz,
    accepted_at          timestamptz,
    finished_at          timestamptz,
    provider_message_id  text,
    failure              text,
    primary key (customer_id, message_id)
);
-- One visit and one campaign give at most one message; one that definitely did not go out does not count.
create unique index messages_one_a_visit on messages (customer_id, campaign_id, visit_id)
    where visit_id is not null and (in_doubt or state not in ('failed', 'expired', 'cancelled'));
create index messages_of_customer on messages (customer_id, reserved_at desc);
create index messages_open on messages (campaign_id) where state in ('pending', 'claimed', 'retry_wait');
create index messages_due on messages (not_before) where state in ('pending', 'retry_wait');
create index messages_unknown on messages (not_before) where state = 'unknown' and resend;
create index messages_claimed on messages (claim_id) where claim_id is not null;
create index messages_leased on messages (lease_until) where state in ('claimed', 'sending');

create table message_moves (
    from_state  text not null,
    to_state    text not null,
    primary key (from_state, to_state)
);
insert into message_moves (from_state, to_state) values
    ('pending', 'claimed'), ('pending', 'expired'), ('pending', 'cancelled'),
    ('claimed', 'sending'), ('claimed', 'pending'), ('claimed', 'expired'), ('claimed', 'cancelled'),
    ('sending', 'accepted'), ('sending', 'retry_wait'), ('sending', 'failed'), ('sending', 'unknown'),
    ('retry_wait', 'claimed'), ('retry_wait', 'expired'), ('retry_wait', 'cancelled'),
    ('unknown', 'claimed');

create function check_message_move() returns trigger language plpgsql as $$
begin
    if new.state <> old.state and not exists (
        select from message_moves where from_state = old.state and to_state = new.state
    ) then
        raise exception 'a message cannot move from % to %', old.state, new.state;
    end if;
    return new;
end $$;
create trigger messages_move_by_the_table before update of state on messages
    for each row execute function check_message_move();

-- Operations ----------------------------------------------------------------------------------------------------------

-- A tick claims its slot here, so any number of processes may tick.
create table timers (
    name       text primary key,
    last_slot  timestamptz not null
);

create table api_keys (
    key_id        text primary key,
    name          text not null,
    role          text not null,
    key_hash      bytea not null unique,
    created_at    timestamptz not null,
    last_used_at  timestamptz,
    revoked_at    timestamptz
);

create table audit_log (
    audit_id     bigint generated always as identity primary key,
    at           timestamptz not null,
    actor        text not null,
    action       text not null,
    customer_id  text,
    subject      text,
    reason       text
);
create trigger audit_is_evidence before update on audit_log
    for each row execute function refuse_update();
