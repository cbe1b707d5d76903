-- Whoever is erased loses her name and what was said of her, or her place among the test customers of a campaign; nothing
-- else of an entry changes, and what was done stays.
create or replace function keep_audit() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if current_setting('geoservice.retention', true) = 'on' then
            return old;
        end if;
    elsif tg_op = 'UPDATE' and (new.audit_id, new.at, new.actor, new.action, new.key_id)
                               is not distinct from (old.audit_id, old.at, old.actor, old.action, old.key_id) then
        if old.customer_id is not null and new.customer_id like 'erased:%'
           and (new.before, new.after) is not distinct from (old.before, old.after) then
            return new;
        end if;
        if (new.customer_id, new.subject, new.reason) is not distinct from (old.customer_id, old.subject, old.reason)
           and (new.before #- '{body,test_customers}', new.after #- '{body,test_customers}')
               is not distinct from (old.before #- '{body,test_customers}', old.after #- '{body,test_customers}')
           and coalesce(new.before #> '{body,test_customers}' <@ (old.before #> '{body,test_customers}'),
                        new.before #> '{body,test_customers}' is null)
           and coalesce(new.after #> '{body,test_customers}' <@ (old.after #> '{body,test_customers}'),
                        new.after #> '{body,test_customers}' is null) then
            return new;
        end if;
    end if;
    raise exception '% is append-only', tg_table_name;
end $$;

create function without_tester(body jsonb, whom text) returns jsonb language sql immutable as $$
    select case when body -> 'test_customers' ? whom
                then jsonb_set(body, '{test_customers}', (body -> 'test_customers') - whom) else body end
$$;

-- Take an id out of all campaigns, of what they were, and of the record of their changes; true if it was there. A campaign
-- that loses its last test customer is paused. What a campaign ever was stands in its versions, so that the record, which
-- is large, is read only for those who did test one.
create function forget_tester(whom text, at timestamptz) returns boolean language plpgsql as $$
begin
    if not exists (select from campaign_versions v where v.body -> 'test_customers' ? whom) then
        return false;
    end if;
    update directory_revisions set revision = revision + 1 where room = 'campaigns';
    update campaigns c set body = without_tester(c.body, whom), updated_at = forget_tester.at
    where c.body -> 'test_customers' ? whom;
    update campaigns c
    set state = 'paused', body = jsonb_set(c.body, '{state}', '"paused"'), version = c.version + 1,
        updated_at = forget_tester.at, paused_because = 'nobody is left to test it'
    where c.state = 'test' and c.body -> 'test_customers' = '[]';
    update campaign_versions v set body = without_tester(v.body, whom) where v.body -> 'test_customers' ? whom;
    update audit_log l
    set before = jsonb_set(l.before, '{body}', without_tester(l.before -> 'body', whom)),
        after = jsonb_set(l.after, '{body}', without_tester(l.after -> 'body', whom))
    where l.before #> '{body,test_customers}' ? whom or l.after #> '{body,test_customers}' ? whom;
    perform pg_notify('geoservice_directory', 'campaigns');
    return true;
end $$;
