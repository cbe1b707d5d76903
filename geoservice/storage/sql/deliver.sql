-- name: claim
-- Take due messages under a lease. Nothing has left the house yet.
with due as (
    select customer_id, message_id
    from messages
    where state in ('pending', 'retry_wait') and not_before <= :at and expires_at > :at
    order by not_before
    limit :limit
    for no key update skip locked
)
update messages m
set state = 'claimed', claim_id = :claim_id, lease_until = clock_timestamp() + make_interval(secs => :lease_s)
from due
where m.customer_id = due.customer_id and m.message_id = due.message_id
returning m.customer_id, m.message_id;

-- name: begin_sending
-- The last look before the provider may have it: still claimed by us, in time, consented to, and a phone to reach.
-- An opt-out that committed first has already moved the row to cancelled, so the state says it all; the consents
-- are asked once more because it costs little. Rows are locked in order first, as everywhere.
with mine as (
    select customer_id, message_id from messages where claim_id = :claim_id and state = 'claimed'
    order by customer_id, message_id for no key update
)
update messages m
set state = 'sending', sending_at = :at, attempts = m.attempts + 1,
    lease_until = clock_timestamp() + make_interval(secs => :lease_s)
from mine, devices d
where m.customer_id = mine.customer_id and m.message_id = mine.message_id
  and m.claim_id = :claim_id and m.state = 'claimed' and m.expires_at > :at and not m.unwanted
  and d.customer_id = m.customer_id and d.device_id = m.device_id
  and (d.push_token is not null or d.fid is not null)
  and not exists (
      select from unnest(m.purposes) as needed (purpose)
      where not coalesce((
          select c.granted from consents c
          where c.customer_id = m.customer_id and c.purpose = needed.purpose
          order by c.consent_id desc limit 1), false))
returning m.customer_id, m.message_id, m.campaign_id, m.payload, m.expires_at, m.resend, m.attempts, d.platform,
          d.push_token, d.fid, d.token_set_at, m.device_id, m.trace;

-- name: settle_unsendable
-- What the last look refused: too late, no phone, or no consent any more.
update messages m
set state = case when m.expires_at <= :at then 'expired' else 'cancelled' end,
    failure = case when m.expires_at <= :at then 'expired'
                   when m.unwanted then 'opted_out'
                   when not exists (select from devices d
                                    where d.customer_id = m.customer_id and d.device_id = m.device_id
                                      and (d.push_token is not null or d.fid is not null)) then 'no_push_token'
                   else 'consent_withdrawn' end,
    finished_at = :at, claim_id = null, lease_until = null
where m.state = 'claimed' and (m.customer_id, m.message_id) in (
    select customer_id, message_id from messages where claim_id = :claim_id and state = 'claimed'
    order by customer_id, message_id for no key update);

-- name: complete
-- Fenced: a sender whose lease was lost finds nothing to complete.
update messages
set state = :state::text, accepted_at = :accepted_at, finished_at = :finished_at, not_before = :not_before,
    provider_message_id = :provider_message_id, failure = :failure, in_doubt = in_doubt or :state::text = 'unknown',
    tries = (case when jsonb_array_length(tries) < 20 then tries else tries - 1 end)
        || jsonb_build_object('at', :at::timestamptz, 'state', :state::text, 'reason', :failure::text),
    claim_id = null, lease_until = null
where customer_id = :customer_id and message_id = :message_id and claim_id = :claim_id and state = 'sending'
returning message_id;

-- name: release_claims
-- A sender that shuts down gives back what it has not begun to send.
update messages set state = 'pending', claim_id = null, lease_until = null
where state = 'claimed' and (customer_id, message_id) in (
    select customer_id, message_id from messages where claim_id = any(:claim_ids::text[]) and state = 'claimed'
    order by customer_id, message_id for no key update);

-- name: retire_token
-- The provider says that this token is dead; leave it alone when the phone registered a new one since the claim.
update devices set push_token = null, fid = null
where customer_id = :customer_id and device_id = :device_id and token_set_at is not distinct from :token_set_at;

-- name: expire
with late as (
    select customer_id, message_id from messages
    where state in ('pending', 'retry_wait') and expires_at <= :at
    order by customer_id, message_id
    for no key update skip locked
)
update messages m set state = 'expired', failure = 'expired', finished_at = :at
from late where m.customer_id = late.customer_id and m.message_id = late.message_id;

-- name: recover_leases
-- A lease that ran out: claimed goes back to pending, sending is in doubt. Leases use the database's own clock.
with lost as (
    select customer_id, message_id from messages
    where state in ('claimed', 'sending') and lease_until < clock_timestamp()
    order by customer_id, message_id
    for no key update skip locked
)
update messages m
set state = case when m.state = 'claimed' then 'pending' else 'unknown' end,
    failure = case when m.state = 'claimed' then null else 'lease_lost' end,
    finished_at = case when m.state = 'claimed' then null else :at::timestamptz end,
    in_doubt = m.in_doubt or m.state = 'sending',
    tries = case when m.state = 'claimed' then m.tries else m.tries
        || jsonb_build_object('at', :at::timestamptz, 'state', 'unknown', 'reason', 'lease_lost') end,
    claim_id = null, lease_until = null
from lost where m.customer_id = lost.customer_id and m.message_id = lost.message_id;

-- name: resend_unknown
-- Only campaigns that said `resend`: the phone replaces the first copy, if there is one, by tag and collapse id. One
-- that her phone has reported is in no doubt any more.
update messages set state = 'claimed', claim_id = :claim_id,
                    lease_until = clock_timestamp() + make_interval(secs => :lease_s)
where (customer_id, message_id) in (
    select customer_id, message_id from messages
    where state = 'unknown' and resend and not unwanted and not_before <= :at and expires_at > :at
      and attempts < :max_attempts
      and not exists (select from message_events e where e.customer_id = messages.customer_id
                      and e.message_id = messages.message_id)
    order by not_before limit :limit for no key update skip locked)
returning customer_id, message_id;

-- name: open_states
-- How many messages are under way; what has ended is not counted, it only grows.
select state, count(*) as messages from messages
where state in ('pending', 'retry_wait', 'claimed', 'sending')
group by state;
