-- Statements that lock rows and then change them find each again by its place (`ctid`), which costs no look into an index
-- and leaves the planner no choice: with few rows on record it would rather read everybody's leases once for each row.
-- A place is good as long as the lock holds. A row that somebody changed right before is locked at a place that this
-- statement cannot see yet: it is left for the next time.

-- name: claim
-- Take due messages of a channel under a lease, in turns between campaigns. Nothing has left the house yet.
with recursive waiting (campaign_id) as (
    (select campaign_id from messages
     where channel = :channel and state in ('pending', 'retry_wait')
     order by campaign_id limit 1)
    union all
    select (select m.campaign_id from messages m
            where m.channel = :channel and m.state in ('pending', 'retry_wait') and m.campaign_id > w.campaign_id
            order by m.campaign_id limit 1)
    from waiting w where w.campaign_id is not null
), due as (
    select m.place, m.not_before, row_number() over (partition by w.campaign_id order by m.not_before) as turn
    from waiting w
    cross join lateral (
        select ctid as place, not_before from messages
        where channel = :channel and campaign_id = w.campaign_id and state in ('pending', 'retry_wait')
          and not_before <= :at and expires_at > :at
        order by not_before limit :limit
    ) m
    where not exists (select from stops where scope in ('all', 'channel:' || :channel, 'campaign:' || w.campaign_id))
), mine as (
    select m.ctid as place from messages m
    where m.ctid = any(array(select place from due order by turn, not_before limit :limit))
      and m.state in ('pending', 'retry_wait')
    for no key update skip locked
)
update messages m
set state = 'claimed', claim_id = :claim_id, lease_until = clock_timestamp() + make_interval(secs => :lease_s)
from mine
where m.ctid = mine.place
returning m.customer_id, m.message_id;

-- name: resend_unknown
-- Only campaigns that said `resend`: the phone replaces the first copy, if there is one, by tag and collapse id. One
-- that her phone has reported is in no doubt any more. Tries that were refused do not count: they reached nobody.
update messages set state = 'claimed', claim_id = :claim_id,
                    lease_until = clock_timestamp() + make_interval(secs => :lease_s)
where (customer_id, message_id) in (
    select customer_id, message_id from messages
    where state = 'unknown' and resend and channel = :channel and not unwanted and not_before <= :at
      and expires_at > :at
      and (select count(*) from jsonb_array_elements(tries) as try where try ->> 'state' = 'unknown') <= :resends_max
      and not exists (select from message_events e where e.customer_id = messages.customer_id
                      and e.message_id = messages.message_id)
      and not exists (select from stops
                      where scope in ('all', 'channel:' || :channel, 'campaign:' || messages.campaign_id))
    order by not_before limit :limit for no key update skip locked)
returning customer_id, message_id;

-- name: share_the_gate
-- A stop takes this lock alone: once it has answered, whoever comes through here sees it. A statement of its own, so
-- that the next one looks at the tables afterwards.
select pg_advisory_xact_lock_shared(:gate);

-- name: begin_sending
-- The last look before the provider may have it: still claimed by us, in time, not stopped, neither its campaign nor its
-- store silenced since, consented to, and a phone to reach. An opt-out that committed first has already moved the row to
-- cancelled, so the state says it all; the consents are asked once more because it costs little. Rows that somebody
-- else holds must not make the others wait: they are left, and put back.
with mine as (
    select m.ctid as place, m.customer_id, m.device_id from messages m where claim_id = :claim_id and state = 'claimed'
    order by customer_id, message_id for no key update skip locked
)
update messages m
set state = 'sending', sending_at = :at, attempts = m.attempts + 1,
    lease_until = clock_timestamp() + make_interval(secs => :lease_s)
from mine left join devices d on d.customer_id = mine.customer_id and d.device_id = mine.device_id
where m.ctid = mine.place and m.claim_id = :claim_id and m.state = 'claimed' and m.expires_at > :at and not m.unwanted
  and (m.channel <> 'push' or d.push_token is not null or d.fid is not null)
  and not exists (select from stops where scope in ('all', 'channel:' || m.channel, 'campaign:' || m.campaign_id))
  and not exists (
      select from unnest(m.purposes) as needed (purpose)
      where not coalesce((
          select c.granted from consents c
          where c.customer_id = m.customer_id and c.purpose = needed.purpose
          order by c.consent_id desc limit 1), false))
  and not exists (select from campaigns p where p.campaign_id = m.campaign_id and p.state in ('draft', 'paused'))
  and not exists (select from stores s where s.store_id = m.store_id and s.muted_until > :at)
returning m.customer_id, m.message_id, m.campaign_id, m.payload, m.expires_at, m.resend, m.attempts, d.platform,
          d.push_token, d.fid, d.token_set_at, m.device_id, m.trace;

-- name: settle_unsendable
-- What the last look refused: too late, stopped, silenced, no phone, or no consent any more. Put back is what a stop
-- holds, what was merely held by somebody else, and what a phone without an address leaves to another one of hers.
with mine as (
    select m.ctid as place,
           exists (select from stops
                   where scope in ('all', 'channel:' || m.channel, 'campaign:' || m.campaign_id)) as stopped,
           case when exists (select from campaigns p
                             where p.campaign_id = m.campaign_id and p.state in ('draft', 'paused'))
                then 'campaign_paused'
                when exists (select from stores s where s.store_id = m.store_id and s.muted_until > :at)
                then 'store_muted' end as silenced,
           m.channel = 'push' and not exists (
               select from devices d where d.customer_id = m.customer_id and d.device_id = m.device_id
                 and (d.push_token is not null or d.fid is not null)) as unreachable,
           (select d.device_id from devices d
            where d.customer_id = m.customer_id and (d.push_token is not null or d.fid is not null)
            order by d.token_set_at desc nulls last, d.device_id limit 1) as elsewhere,
           exists (select from unnest(m.purposes) as needed (purpose)
                   where not coalesce((
                       select c.granted from consents c
                       where c.customer_id = m.customer_id and c.purpose = needed.purpose
                       order by c.consent_id desc limit 1), false)) as withdrawn
    from messages m where m.claim_id = :claim_id and m.state = 'claimed'
    order by m.customer_id, m.message_id for no key update skip locked
), settled as (
    select place, elsewhere, unreachable, silenced, withdrawn,
           silenced is null and not withdrawn and (stopped or not unreachable or elsewhere is not null) as waits
    from mine
)
update messages m
set state = case when m.expires_at <= :at then 'expired' when m.unwanted then 'cancelled'
                 when s.waits then 'pending' else 'cancelled' end,
    failure = case when m.expires_at <= :at then 'expired'
                   when m.unwanted then 'opted_out'
                   when s.silenced is not null then s.silenced
                   when s.waits then null
                   when s.withdrawn then 'consent_withdrawn'
                   else 'no_push_token' end,
    finished_at = case when s.waits and m.expires_at > :at and not m.unwanted then null else :at::timestamptz end,
    device_id = case when s.unreachable and s.elsewhere is not null then s.elsewhere else m.device_id end,
    claim_id = null, lease_until = null
from settled s
where m.ctid = s.place and m.state = 'claimed'
returning m.state, m.failure;

-- name: complete
-- Many at once, each fenced by its own claim: a sender whose lease was lost finds nothing to complete. Rows that somebody
-- else holds are left for the next time; `held` says which of the others.
with given as (
    select * from unnest(:customer_ids::text[], :message_ids::text[], :claim_ids::text[], :states::text[],
                         :accepted_ats::timestamptz[], :finished_ats::timestamptz[], :not_befores::timestamptz[],
                         :provider_message_ids::text[], :failures::text[], :device_ids::text[])
        as g (customer_id, message_id, claim_id, state, accepted_at, finished_at, not_before, provider_message_id,
              failure, device_id)
), mine as (
    select m.ctid as place, g.* from messages m join given g using (customer_id, message_id)
    where m.claim_id = g.claim_id and m.state = 'sending'
    order by m.customer_id, m.message_id
    for no key update of m skip locked
)
update messages m
set state = g.state, accepted_at = g.accepted_at, finished_at = g.finished_at, not_before = g.not_before,
    provider_message_id = g.provider_message_id, failure = g.failure, device_id = g.device_id,
    in_doubt = m.in_doubt or g.state = 'unknown',
    tries = (case when jsonb_array_length(m.tries) < 20 then m.tries else m.tries - 1 end)
        || jsonb_build_object('at', :at::timestamptz, 'state', g.state, 'reason', g.failure),
    claim_id = null, lease_until = null
from mine g
where m.ctid = g.place
returning m.message_id;

-- name: still_ours
-- Of what could not be completed, that which somebody else merely holds.
select m.message_id from messages m
join unnest(:customer_ids::text[], :message_ids::text[], :claim_ids::text[]) as g (customer_id, message_id, claim_id)
    using (customer_id, message_id)
where m.claim_id = g.claim_id and m.state = 'sending';

-- name: release_claims
-- A sender that shuts down gives back what it has not begun to send.
update messages set state = 'pending', claim_id = null, lease_until = null
where state = 'claimed' and (customer_id, message_id) in (
    select customer_id, message_id from messages where claim_id = any(:claim_ids::text[]) and state = 'claimed'
    order by customer_id, message_id for no key update);

-- name: retire_token
-- The provider says that this token is dead; leave it alone when the phone registered a new one since the claim.
update devices set push_token = null, fid = null
where customer_id = :customer_id and device_id = :device_id and token_set_at is not distinct from :token_set_at
  and (push_token is not null or fid is not null);

-- name: elsewhere
-- Another phone of hers that can be reached, the one that registered last.
select device_id from devices
where customer_id = :customer_id and device_id <> :device_id and (push_token is not null or fid is not null)
order by token_set_at desc nulls last, device_id limit 1;

-- name: expire
with late as (
    select ctid as place from messages
    where state in ('pending', 'retry_wait') and expires_at <= :at
    order by customer_id, message_id limit :limit
    for no key update skip locked
)
update messages m set state = 'expired', failure = 'expired', finished_at = :at
from late where m.ctid = late.place;

-- name: recover_leases
-- A lease that ran out: claimed goes back to pending, sending is in doubt. Leases use the database's own clock.
with lost as (
    select ctid as place from messages
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
from lost where m.ctid = lost.place;

-- name: open_states
-- How many messages are under way; what has ended is not counted, it only grows.
select state, count(*) as messages, min(not_before) filter (where not_before <= :at) as oldest_due from messages
where state in ('pending', 'retry_wait', 'claimed', 'sending')
group by state;

-- name: senders
-- How many processes send: each keeps one connection of this name, which ends with it.
select count(*) from pg_stat_activity where datname = current_database() and application_name = :application;

-- name: stops
select scope, at, actor, reason from stops order by scope;

-- name: take_the_gate
-- Waits for the begins under way; those that come later wait for us.
select pg_advisory_xact_lock(:gate);

-- name: add_stop
insert into stops (scope, at, actor, reason) values (:scope, :at, :actor, :reason) on conflict do nothing;

-- name: stop
select scope, at, actor, reason,
       (select count(*) from messages m
        where m.state = 'sending' and s.scope in ('all', 'channel:' || m.channel, 'campaign:' || m.campaign_id))
           as in_flight
from stops s where scope = :scope;

-- name: remove_stop
delete from stops where scope = :scope;

-- name: wake_senders
select pg_notify('geoservice_outbox', '');
