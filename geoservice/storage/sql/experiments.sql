-- name: arms
-- What these customers drew before, and the salt for what they draw now.
select c.customer_id, s.salt,
       (select coalesce(jsonb_object_agg(a.experiment_id, a.arm), '{}') from assignments a
        where a.customer_id = c.customer_id) as arms
from unnest(:customer_ids::text[]) as c (customer_id) cross join experiment_salt s;

-- name: assign
-- The first draw stays.
insert into assignments (customer_id, experiment_id, arm, lot, assigned_at)
select customer_id, experiment_id, arm, lot, :at
from jsonb_to_recordset(:rows::jsonb) as d (customer_id text, experiment_id text, arm text, lot integer)
order by customer_id, experiment_id
on conflict do nothing;

-- name: add_ghosts
insert into ghosts (customer_id, ghost_id, decision_id, campaign_id, topic, channel, store_id, geofence_id, visit_id,
                    product_id, reserved_at)
select customer_id, ghost_id, ghost_id, campaign_id, topic, channel, store_id, geofence_id, visit_id, product_id, :at
from jsonb_to_recordset(:rows::jsonb)
    as g (customer_id text, ghost_id text, campaign_id text, topic text, channel text, store_id text, geofence_id text,
          visit_id text, product_id text)
order by customer_id, ghost_id;

-- name: sizes
select arm, count(*) as customers from assignments where experiment_id = :experiment_id group by arm order by arm;
