-- Who acts, and when, for whatever writes to the record.
create function acting(out at timestamptz, out actor text, out key_id text) language sql stable as $$
    select coalesce(nullif(current_setting('geoservice.at', true), '')::timestamptz, clock_timestamp()),
           coalesce(nullif(current_setting('geoservice.actor', true), ''),
                    case when current_setting('application_name') like 'geoservice%' then 'the service itself'
                         else 'database user ' || session_user end),
           nullif(current_setting('geoservice.key_id', true), '')
$$;

create or replace function audit_change() returns trigger language plpgsql as $$
declare
    unsaid text[] := string_to_array(coalesce(tg_argv[2], ''), ',');
    was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - unsaid end;
    becomes jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - unsaid end;
    verb text := case tg_op when 'INSERT' then 'created ' when 'DELETE' then 'removed ' else 'changed ' end;
begin
    if was is distinct from becomes then
        insert into audit_log (at, actor, key_id, action, subject, before, after)
        select at, actor, key_id, verb || tg_argv[0], coalesce(becomes, was) ->> tg_argv[1], was, becomes from acting();
    end if;
    return null;
end $$;

create trigger stops_are_audited after insert or update or delete on stops
    for each row execute function audit_change('stop', 'scope', '');
create trigger feeds_are_audited after insert or delete on feeds
    for each row execute function audit_change('feed', 'feed', 'heard_at');

-- The retailer's rules have a row for each version: what held before is the one below.
create function audit_policy() returns trigger language plpgsql as $$
begin
    insert into audit_log (at, actor, key_id, action, subject, before, after)
    select at, actor, key_id, 'changed policy', new.version::text,
           (select body from policies where version < new.version order by version desc limit 1), new.body
    from acting();
    return null;
end $$;
create trigger policies_are_audited after insert on policies for each row execute function audit_policy();

-- Products come by the ten thousand: one statement writes the entries of a whole upload.
create function audit_products() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into audit_log (at, actor, key_id, action, subject, after)
        select at, actor, key_id, 'created product', product_id, to_jsonb(n) - 'updated_at'
        from becoming n, acting() order by product_id;
    elsif tg_op = 'DELETE' then
        insert into audit_log (at, actor, key_id, action, subject, before)
        select at, actor, key_id, 'removed product', product_id, to_jsonb(o) - 'updated_at'
        from was o, acting() order by product_id;
    else
        insert into audit_log (at, actor, key_id, action, subject, before, after)
        select at, actor, key_id, 'changed product', product_id, to_jsonb(o) - 'updated_at', to_jsonb(n) - 'updated_at'
        from was o join becoming n using (product_id), acting()
        where to_jsonb(o) - 'updated_at' <> to_jsonb(n) - 'updated_at' order by product_id;
    end if;
    return null;
end $$;
create trigger new_products_are_audited after insert on products referencing new table as becoming
    for each statement execute function audit_products();
create trigger changed_products_are_audited after update on products referencing old table as was new table as becoming
    for each statement execute function audit_products();
create trigger removed_products_are_audited after delete on products referencing old table as was
    for each statement execute function audit_products();

-- Losing her name changes the name and what was said of her, not what was done.
create or replace function keep_audit() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if current_setting('geoservice.retention', true) = 'on' then
            return old;
        end if;
    elsif tg_op = 'UPDATE' and old.customer_id is not null and new.customer_id like 'erased:%'
       and (new.audit_id, new.at, new.actor, new.action, new.key_id, new.before, new.after)
           is not distinct from (old.audit_id, old.at, old.actor, old.action, old.key_id, old.before, old.after) then
        return new;
    end if;
    raise exception '% is append-only', tg_table_name;
end $$;
create trigger audit_is_not_emptied before truncate on audit_log for each statement execute function keep_audit();
