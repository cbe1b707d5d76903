-- name: told
-- What her phone has shown in the last year, with what she did: the newest of each customer.
select m.customer_id, m.message_id, m.events, m.ats
from unnest(:customer_ids::text[]) as c (customer_id)
cross join lateral (
    select e.customer_id, e.message_id, array_agg(e.event order by e.event) as events,
           array_agg(e.at order by e.event) as ats
    from message_events e
    where e.customer_id = c.customer_id and e.at > :since and e.at <= :at
    group by e.customer_id, e.message_id
    order by min(e.at) desc
    limit :limit
) m;

-- name: note_visits
-- She stepped into the store within a day after its message.
insert into message_events (customer_id, message_id, event, at)
select m.customer_id, m.message_id, 'visited', min(a.at)
from unnest(:customer_ids::text[], :store_ids::text[], :ats::timestamptz[]) as a (customer_id, store_id, at)
join messages m on m.customer_id = a.customer_id and m.store_id = a.store_id and m.state = 'accepted'
               and m.accepted_at <= a.at and m.accepted_at > a.at - interval '24 hours'
group by m.customer_id, m.message_id
order by m.customer_id, m.message_id
on conflict do nothing;

-- name: note_purchases
-- She bought the product, or in the store, within a day after the message, however late the till tells of it.
insert into message_events (customer_id, message_id, event, at)
select m.customer_id, m.message_id, 'converted', min(p.at)
from unnest(:product_ids::text[], :store_ids::text[], :ats::timestamptz[]) as p (product_id, store_id, at)
join messages m on m.customer_id = :customer_id and m.state = 'accepted'
               and (m.store_id = p.store_id or m.product_id = p.product_id)
               and m.accepted_at <= p.at and m.accepted_at > p.at - interval '24 hours'
group by m.customer_id, m.message_id
order by m.message_id
on conflict do nothing;
