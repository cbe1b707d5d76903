-- What a campaign said in each of its versions. Kept by a trigger, so that older code that runs beside this keeps it, too.
create table campaign_versions (
    campaign_id  text not null,
    version      integer not null,
    state        text not null,
    body         jsonb not null,
    at           timestamptz not null,
    primary key (campaign_id, version)
);
insert into campaign_versions (campaign_id, version, state, body, at)
select campaign_id, version, state, body, updated_at from campaigns;

-- Since when a campaign has been live without a break: its ceiling ramps up from then, its complaints count from then.
alter table campaigns add column live_since timestamptz;
alter table campaigns add column paused_because text;
update campaigns set live_since = updated_at where state = 'live';

create function note_live_since() returns trigger language plpgsql as $$
begin
    if new.state <> 'live' then
        new.live_since := null;
    elsif tg_op = 'INSERT' or old.state <> 'live' then
        new.live_since := new.updated_at;
    end if;
    if new.state <> 'paused' then
        new.paused_because := null;
    end if;
    return new;
end $$;
create trigger campaigns_know_since_when before insert or update on campaigns
    for each row execute function note_live_since();

create function keep_campaign_version() returns trigger language plpgsql as $$
begin
    insert into campaign_versions (campaign_id, version, state, body, at)
    values (new.campaign_id, new.version, new.state, new.body, new.updated_at)
    on conflict do nothing;
    return null;
end $$;
create trigger campaigns_keep_their_versions after insert or update on campaigns
    for each row execute function keep_campaign_version();

-- How many messages of a campaign with a ceiling were reserved in a clock hour.
create table campaign_hours (
    campaign_id  text not null,
    hour         timestamptz not null,
    reserved     integer not null,
    primary key (campaign_id, hour)
);

-- "Not today, please": until the store's local midnight.
alter table stores add column muted_until timestamptz;

-- A message about being somewhere is worth nothing once she has left.
alter table messages add column until_left boolean not null default false;

create index decisions_of_campaign on decisions (campaign_id, seq);
