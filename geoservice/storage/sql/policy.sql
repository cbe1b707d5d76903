-- name: newest
select version, body, actor, published_at from policies order by version desc limit 1;

-- name: versions
select version, body, actor, published_at from policies order by version desc limit :limit;

-- name: add
insert into policies (version, body, actor, published_at)
select coalesce(max(version), 0) + 1, :body, :actor, :at from policies
returning version;

-- name: cancel_waiting
-- L4. What was decided under a laxer policy and still waits. What the provider may have already is not tried again.
with waiting as (
    select ctid as place, state in ('sending', 'unknown') as begun from messages
    where state in ('pending', 'claimed', 'retry_wait', 'sending') or (state = 'unknown' and resend)
    order by customer_id, message_id for no key update
)
update messages m
set unwanted = true, state = case when begun then m.state else 'cancelled' end,
    failure = case when begun then m.failure else 'policy_changed' end,
    finished_at = case when begun then m.finished_at else :at::timestamptz end,
    claim_id = case when begun then m.claim_id end, lease_until = case when begun then m.lease_until end
from waiting w
where m.ctid = w.place;
