-- The retailer's rules for all campaigns, as operations published them; the newest version is in force.
create table policies (
    version       integer primary key,
    body          jsonb not null,
    actor         text not null,
    published_at  timestamptz not null
);
create trigger policies_are_evidence before update on policies
    for each row execute function refuse_update();
insert into directory_revisions (room, revision) values ('policy', 0);

-- Her settings as they were at any time, so that a campaign can be replayed with what held then. A trigger keeps it,
-- whoever writes: older code that runs beside this, too.
create table preference_versions (
    customer_id  text not null references customers on delete cascade,
    version      integer not null,
    body         jsonb not null,
    at           timestamptz not null,
    primary key (customer_id, version)
);
insert into preference_versions (customer_id, version, body, at)
select customer_id, version, body, updated_at from preferences;

create function keep_preference_version() returns trigger language plpgsql as $$
begin
    insert into preference_versions (customer_id, version, body, at)
    values (new.customer_id, new.version, new.body, new.updated_at)
    on conflict do nothing;
    return null;
end $$;
create trigger preferences_keep_their_versions after insert or update on preferences
    for each row execute function keep_preference_version();
