-- name: customers
-- Whoever was seen at one of these geofences in the window, in pages.
select c.customer_id, c.timezone, c.locale, c.birth_year, c.loyalty_tier, c.attributes
from customers c
where c.customer_id > :after and exists (
    select from transitions t where t.customer_id = c.customer_id and t.engaged_at > :since and t.engaged_at <= :until
      and t.geofence_id = any(:geofence_ids::text[]))
order by c.customer_id
limit :limit;

-- name: transitions
select t.customer_id, t.transition_id, t.device_id, t.geofence_id, t.kind, t.at, t.confidence, t.source, t.late,
       t.initial, t.assumed, t.speed_mps, t.fast_at, t.visit_id, t.recorded_at, t.engaged_at,
       d.timezone as device_timezone, coalesce(d.os_location_permission, 'unknown') as os_location_permission,
       exists (select from devices any_of_hers where any_of_hers.customer_id = t.customer_id
               and (any_of_hers.push_token is not null or any_of_hers.fid is not null)) as push_reachable,
       d.locale as device_locale
from transitions t
left join devices d on d.customer_id = t.customer_id and d.device_id = t.device_id
where t.customer_id = any(:customer_ids::text[]) and t.engaged_at > :since and t.engaged_at <= :until
order by t.customer_id, t.engaged_at, t.at, t.seq;

-- name: decisions
select customer_id, transition_id, campaign_id, outcome, reason, at from decisions
where customer_id = any(:customer_ids::text[]) and at > :since and at <= :until
order by customer_id, seq;

-- name: preferences
select customer_id, body, at from preference_versions
where customer_id = any(:customer_ids::text[])
order by customer_id, version;

-- name: consents
select customer_id, purpose, granted, notice_version, recorded_at from consents
where customer_id = any(:customer_ids::text[])
order by customer_id, consent_id;

-- name: events
select e.customer_id, e.type, e.occurred_at, e.product_id, coalesce(e.category, p.category) as category, e.store_id,
       e.variant, e.received_at
from events e left join products p on e.category is null and p.product_id = e.product_id
where e.customer_id = any(:customer_ids::text[]) and e.occurred_at > :since and e.occurred_at <= :until
order by e.customer_id, e.occurred_at desc;

-- name: messages
select m.customer_id, m.message_id, m.campaign_id, m.topic, m.reserved_at, m.expires_at, m.accepted_at, m.store_id,
       m.geofence_id, m.visit_id, m.product_id, m.channel, m.finished_at, d.transition_id,
       case when m.in_doubt and m.state <> 'accepted' then 'unknown' else m.state end as state
from messages m left join decisions d on d.customer_id = m.customer_id and d.decision_id = m.decision_id
where m.customer_id = any(:customer_ids::text[]) and m.reserved_at > :since and m.reserved_at <= :until
union all
-- The ghosts of held-out customers held slots as messages do.
select g.customer_id, g.ghost_id, g.campaign_id, g.topic, g.reserved_at, g.reserved_at, g.reserved_at, g.store_id,
       g.geofence_id, g.visit_id, g.product_id, g.channel, g.reserved_at, d.transition_id, 'accepted'
from ghosts g left join decisions d on d.customer_id = g.customer_id and d.decision_id = g.decision_id
where g.customer_id = any(:customer_ids::text[]) and g.reserved_at > :since and g.reserved_at <= :until
order by customer_id, reserved_at desc;

-- name: answers
select customer_id, message_id, event, at from message_events
where customer_id = any(:customer_ids::text[]) and at > :since and at <= :until
order by customer_id, message_id, event;

-- name: visits
select customer_id, visit_id, store_id, started_at from visits
where customer_id = any(:customer_ids::text[]) and started_at > :since
order by customer_id, started_at desc;

-- name: policies
select version, body, published_at from policies order by version;
