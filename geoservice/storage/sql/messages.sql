-- name: of_customer
-- What was or is being said to her, newest first; what certainly never left is nobody's business but operations'.
select m.message_id, m.campaign_id, m.topic, m.channel, m.state, m.payload, m.why, m.store_id, m.reserved_at,
       m.accepted_at, m.expires_at, m.finished_at, m.failure, m.tries,
       (select coalesce(jsonb_agg(jsonb_build_object('event', e.event, 'at', e.at)), '[]') from message_events e
        where e.customer_id = m.customer_id and e.message_id = m.message_id) as events
from messages m
where m.customer_id = :customer_id and (m.in_doubt or m.state not in ('failed', 'expired', 'cancelled'))
  and (:message_id::text is null or m.message_id = :message_id)
  and (:before::timestamptz is null or (m.reserved_at, m.message_id) < (:before, :before_id))
order by m.reserved_at desc, m.message_id desc
limit :limit;

-- name: lock
-- L4. One that certainly never reached her is not found: nothing can be said about it.
select message_id, campaign_id, topic, device_id, store_id, visit_id, state, reserved_at, accepted_at
from messages
where customer_id = :customer_id and message_id = :message_id
  and (in_doubt or state not in ('failed', 'expired', 'cancelled'))
for no key update;

-- name: add_event
-- Each fact once: the first report holds.
insert into message_events (customer_id, message_id, event, at, details)
values (:customer_id, :message_id, :event, :at, :details)
on conflict do nothing
returning at;

-- name: event
select at from message_events
where customer_id = :customer_id and message_id = :message_id and event = :event;

-- name: by_id
-- For support and operations: whatever became of it, with the transition that it goes back to.
select m.message_id, m.customer_id, m.decision_id, m.campaign_id, m.topic, m.channel, m.device_id, m.store_id, m.state,
       m.payload, m.why, m.reserved_at, m.not_before, m.expires_at, m.accepted_at, m.finished_at, m.attempts, m.in_doubt,
       m.provider_message_id, m.failure, m.tries, d.transition_id,
       (select coalesce(jsonb_agg(jsonb_build_object('event', e.event, 'at', e.at)), '[]') from message_events e
        where e.customer_id = m.customer_id and e.message_id = m.message_id) as events
from messages m
left join decisions d on d.customer_id = m.customer_id and d.decision_id = m.decision_id
where m.message_id = :message_id;

-- name: newest
-- For operations; of nobody by name.
select message_id, campaign_id, channel, state, failure, attempts, reserved_at, expires_at
from messages
where (:state::text is null or state = :state) and (:campaign_id::text is null or campaign_id = :campaign_id)
order by reserved_at desc, message_id
limit :limit;

-- name: decide_again
-- The campaign looks again at the same transition, with the facts of now.
insert into deferred (customer_id, transition_id, campaign_id, due_at)
values (:customer_id, :transition_id, :campaign_id, :at)
on conflict (customer_id, transition_id, campaign_id) do update set due_at = excluded.due_at;
