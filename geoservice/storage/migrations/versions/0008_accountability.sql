-- Changes are recorded by triggers, so that no way to make one goes past the record: not the command line, not older code
-- that runs beside this, not somebody with a database console.
alter table audit_log add column key_id text;
alter table audit_log add column before jsonb;
alter table audit_log add column after jsonb;

-- Who acts is told by the transaction (`geoservice.actor`); what nobody said is the service's own doing, or a console's.
-- Arguments: what it is, the column of its id, and columns that are nobody's decision.
create function audit_change() returns trigger language plpgsql as $$
declare
    unsaid text[] := string_to_array(coalesce(tg_argv[2], ''), ',');
    was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - unsaid end;
    becomes jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - unsaid end;
    verb text := case tg_op when 'INSERT' then 'created ' when 'DELETE' then 'removed ' else 'changed ' end;
begin
    if was is not distinct from becomes then
        return null;
    end if;
    insert into audit_log (at, actor, key_id, action, subject, before, after)
    values (
        coalesce(nullif(current_setting('geoservice.at', true), '')::timestamptz, clock_timestamp()),
        coalesce(nullif(current_setting('geoservice.actor', true), ''),
                 case when current_setting('application_name') like 'geoservice%' then 'the service itself'
                      else 'database user ' || session_user end),
        nullif(current_setting('geoservice.key_id', true), ''),
        verb || tg_argv[0], coalesce(becomes, was) ->> tg_argv[1], was, becomes);
    return null;
end $$;

create trigger campaigns_are_audited after insert or update or delete on campaigns
    for each row execute function audit_change('campaign', 'campaign_id', 'updated_at,live_since');
create trigger stores_are_audited after insert or update or delete on stores
    for each row execute function audit_change('store', 'store_id', 'updated_at');
create trigger keys_are_audited after insert or update or delete on api_keys
    for each row execute function audit_change('key', 'key_id', 'key_hash,last_used_at');
create trigger notices_are_audited after insert on notices
    for each row execute function audit_change('notice', 'version', 'published_at');
-- What each publication of geofences changed stands in catalogue_changes; here stands who published it.
create trigger geofences_are_audited after insert on catalogue_versions
    for each row execute function audit_change('version of geofences', 'version', 'published_at');

-- Added to only, but for a customer who was erased and loses her name, and for retention, which says who it is.
create or replace function keep_audit() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if current_setting('geoservice.retention', true) = 'on' then
            return old;
        end if;
    elsif old.customer_id is not null and new.customer_id like 'erased:%'
       and (new.audit_id, new.at, new.actor, new.action) = (old.audit_id, old.at, old.actor, old.action) then
        return new;
    end if;
    raise exception '% is append-only', tg_table_name;
end $$;
drop trigger audit_is_evidence on audit_log;
create trigger audit_is_evidence before update or delete on audit_log for each row execute function keep_audit();

-- Where rows lie in the order of their age, so that what is too old is found without reading the rest.
create index transitions_age on transitions using brin (recorded_at);
create index visits_age on visits using brin (started_at);
create index events_age on events using brin (occurred_at);
create index decisions_age on decisions using brin (at);
create index messages_age on messages using brin (reserved_at);
create index audit_log_age on audit_log using brin (at);
