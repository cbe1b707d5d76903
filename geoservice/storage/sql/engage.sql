-- name: lock_customers
-- L2. A customer that somebody else holds is skipped: her transitions stay undecided and a worker takes them up.
select customer_id, timezone, locale, birth_year, loyalty_tier, attributes
from customers
where customer_id = any(:customer_ids::text[])
order by customer_id
for no key update skip locked;

-- name: customers_waiting
-- Whoever has a transition that nobody could decide yet, or campaigns whose wait is over.
select customer_id from transitions where engaged_at is null
union
select customer_id from deferred where due_at <= :at
order by customer_id
limit :limit;

-- name: undecided
-- In the order in which they happened: what was just found and what an earlier batch left behind (waited_for is null),
-- and transitions with campaigns whose wait is over, each with the instant at which it was due.
with looked_at as (
    select customer_id, transition_id, null::jsonb as waited_for
    from transitions
    where customer_id = any(:customer_ids::text[]) and engaged_at is null
    union all
    select customer_id, transition_id, jsonb_object_agg(campaign_id, due_at)
    from deferred
    where customer_id = any(:customer_ids::text[]) and due_at <= :at
    group by customer_id, transition_id
)
select t.customer_id, t.transition_id, t.device_id, t.geofence_id, t.kind, t.at, t.confidence, t.source, t.late,
       t.initial, t.assumed, t.speed_mps, t.fast_at, t.visit_id, t.trace, l.waited_for, d.timezone as device_timezone,
       coalesce(d.os_location_permission, 'unknown') as os_location_permission,
       exists (select from devices any_of_hers where any_of_hers.customer_id = t.customer_id
               and (any_of_hers.push_token is not null or any_of_hers.fid is not null)) as push_reachable,
       d.locale as device_locale,
       case when l.waited_for is not null then d.track end as track
from looked_at l
join transitions t on t.customer_id = l.customer_id and t.transition_id = l.transition_id
left join devices d on d.customer_id = t.customer_id and d.device_id = t.device_id
order by t.customer_id, t.at, t.seq;

-- name: preferences
select customer_id, body from preferences where customer_id = any(:customer_ids::text[]);

-- name: consents
-- The newest record of each purpose is in force.
select distinct on (customer_id, purpose) customer_id, purpose, granted, notice_version, recorded_at
from consents
where customer_id = any(:customer_ids::text[])
order by customer_id, purpose, consent_id desc;

-- name: events
-- Of the categories that campaigns ask about, and at most so many a customer, the newest. An event without a category
-- has its product's. Purchases come whatever their category: a substitute may have another one, or none.
select e.customer_id, e.type, e.occurred_at, e.product_id, e.category, e.store_id, e.variant
from unnest(:customer_ids::text[]) as c (customer_id)
cross join lateral (
    select v.customer_id, v.type, v.occurred_at, v.product_id, coalesce(v.category, p.category) as category, v.store_id,
           v.variant
    from events v left join products p on v.category is null and p.product_id = v.product_id
    where v.customer_id = c.customer_id and v.occurred_at > :since and v.occurred_at <= :at
      and (v.type = 'purchased' or coalesce(v.category, p.category) = any(:categories::text[]))
    order by v.occurred_at desc
    limit :limit
) e
order by e.customer_id, e.occurred_at desc;

-- name: slots
-- Every message of the window, and every one of these visits, in any state: the rows are the cap slots.
select customer_id, message_id, campaign_id, topic, reserved_at, expires_at, accepted_at, store_id, geofence_id,
       visit_id, product_id, channel,
       -- What may have reached her holds its slot, whatever became of later attempts.
       case when in_doubt and state <> 'accepted' then 'unknown' else state end as state
from messages
where customer_id = any(:customer_ids::text[]) and (reserved_at > :since or visit_id = any(:visit_ids::text[]))
union all
-- The ghost of a message that a held-out customer did not get counts as one that she did.
select customer_id, ghost_id, campaign_id, topic, reserved_at, reserved_at, reserved_at, store_id, geofence_id, visit_id,
       product_id, channel, 'accepted'
from ghosts
where customer_id = any(:customer_ids::text[]) and (reserved_at > :since or visit_id = any(:visit_ids::text[]))
order by customer_id, reserved_at desc;

-- name: visits
-- L3. Open visits, and those that ended so recently that a return resumes them.
select customer_id, visit_id, place, store_id, started_at, ended_at, present
from visits
where customer_id = any(:customer_ids::text[]) and (ended_at is null or ended_at >= :since)
order by customer_id, visit_id
for no key update;

-- name: save_visits
-- Ended ones first: a place has one open visit, and a buffer may hold the end of one and the beginning of the next.
insert into visits (customer_id, visit_id, place, store_id, started_at, ended_at, present)
select customer_id, visit_id, place, store_id, started_at, ended_at, present
from jsonb_to_recordset(:rows::jsonb)
    as v (customer_id text, visit_id text, place text, store_id text, started_at timestamptz, ended_at timestamptz,
          present text[])
order by customer_id, ended_at is null, visit_id
on conflict (customer_id, visit_id) do update set ended_at = excluded.ended_at, present = excluded.present;

-- name: mark_engaged
update transitions t
set engaged_at = :at, visit_id = e.visit_id
from unnest(:customer_ids::text[], :transition_ids::text[], :visit_ids::text[])
    as e (customer_id, transition_id, visit_id)
where t.customer_id = e.customer_id and t.transition_id = e.transition_id;

-- name: add_decisions
-- By column, the checks as text: a JSON document with all of it would be read twice.
insert into decisions (customer_id, decision_id, transition_id, campaign_id, campaign_version, geofence_id, store_id,
                       visit_id, outcome, reason, checks, message_id, at)
select customer_id, decision_id, transition_id, campaign_id, campaign_version, geofence_id, store_id, visit_id,
       outcome, reason, checks::jsonb, message_id, :at
from unnest(:customer_ids::text[], :decision_ids::text[], :transition_ids::text[], :campaign_ids::text[],
            :campaign_versions::integer[], :geofence_ids::text[], :store_ids::text[], :visit_ids::text[],
            :outcomes::text[], :reasons::text[], :checks::text[], :message_ids::text[])
    with ordinality as d (customer_id, decision_id, transition_id, campaign_id, campaign_version, geofence_id,
                          store_id, visit_id, outcome, reason, checks, message_id, place_in_batch)
order by place_in_batch;

-- name: add_messages
-- L4, inserted sorted by key. The row is the cap slot from here on.
insert into messages (customer_id, message_id, decision_id, campaign_id, topic, channel, device_id, store_id,
                      geofence_id, visit_id, product_id, purposes, payload, why, resend, until_left, reserved_at,
                      not_before, expires_at, trace)
select customer_id, message_id, decision_id, campaign_id, topic, channel, device_id, store_id, geofence_id, visit_id,
       product_id, purposes, payload, why, resend, until_left, :at, :at, expires_at, trace
from jsonb_to_recordset(:rows::jsonb)
    as m (customer_id text, message_id text, decision_id text, campaign_id text, topic text, channel text,
          device_id text, store_id text, geofence_id text, visit_id text, product_id text, purposes text[],
          payload jsonb, why jsonb, resend boolean, until_left boolean, expires_at timestamptz, trace text)
order by customer_id, message_id;

-- name: cancel_left
-- L4. She has left: what was about being there is worth nothing any more. Her phone that came must go: the message may
-- have moved to another one meanwhile. What the provider may have already cannot be called back, but is not tried again.
with left_behind as (
    select m.customer_id, m.message_id, m.state in ('sending', 'unknown') as begun
    from unnest(:customer_ids::text[], :device_ids::text[], :geofence_ids::text[])
        as l (customer_id, device_id, geofence_id)
    join messages m using (customer_id, geofence_id)
    join decisions d using (customer_id, decision_id)
    join transitions t on t.customer_id = d.customer_id and t.transition_id = d.transition_id
                      and t.device_id = l.device_id
    where m.until_left and not m.unwanted and m.state in ('pending', 'claimed', 'retry_wait', 'sending', 'unknown')
    order by m.customer_id, m.message_id for no key update of m
)
update messages m
set unwanted = true, state = case when begun then m.state else 'cancelled' end,
    failure = case when begun then m.failure else 'left' end,
    finished_at = case when begun then m.finished_at else :at::timestamptz end,
    claim_id = case when begun then m.claim_id end, lease_until = case when begun then m.lease_until end
from left_behind l
where m.customer_id = l.customer_id and m.message_id = l.message_id;

-- name: sent_this_hour
select campaign_id, reserved from campaign_hours
where campaign_id = any(:campaign_ids::text[]) and hour = :hour;

-- name: reserve_hour
-- After L3, by campaign. Another process may have filled the hour since it was looked at: then a campaign is missing in
-- what this returns, and the batch has to decide again.
insert into campaign_hours as h (campaign_id, hour, reserved)
select campaign_id, :hour, reserved
from unnest(:campaign_ids::text[], :reserved::integer[], :ceilings::integer[]) as n (campaign_id, reserved, ceiling)
order by campaign_id
on conflict (campaign_id, hour) do update set reserved = h.reserved + excluded.reserved
where h.reserved + excluded.reserved <= (
    select ceiling from unnest(:campaign_ids::text[], :ceilings::integer[]) as c (campaign_id, ceiling)
    where c.campaign_id = h.campaign_id)
returning campaign_id;

-- name: forget_hours
delete from campaign_hours where hour < :before;

-- name: recent_visits
-- Her visits of the longest window that a campaign asks for.
select customer_id, visit_id, store_id, started_at from visits
where customer_id = any(:customer_ids::text[]) and started_at > :since
order by customer_id, started_at desc;

-- name: doings
-- When she did anything lately; the newest, and only the instants.
select e.customer_id, e.occurred_at
from unnest(:customer_ids::text[]) as c (customer_id)
cross join lateral (
    select customer_id, occurred_at from events
    where customer_id = c.customer_id and occurred_at > :since and occurred_at <= :at
    order by occurred_at desc
    limit :limit
) e;

-- name: wake_senders
select pg_notify('geoservice_outbox', '');

-- name: defer
insert into deferred (customer_id, transition_id, campaign_id, due_at)
select customer_id, transition_id, campaign_id, due_at
from jsonb_to_recordset(:rows::jsonb)
    as d (customer_id text, transition_id text, campaign_id text, due_at timestamptz)
order by customer_id, transition_id, campaign_id
on conflict (customer_id, transition_id, campaign_id) do update set due_at = excluded.due_at;

-- name: close_deferred
delete from deferred
where customer_id = any(:customer_ids::text[]) and due_at <= :at;
