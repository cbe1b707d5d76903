-- name: transitions
select seq, customer_id, transition_id, device_id, geofence_id, kind, at, confidence, source, late, initial, assumed,
       visit_id, engaged_at is null as undecided
from transitions
where (:customer_id::text is null or customer_id = :customer_id)
  and (:device_id::text is null or device_id = :device_id)
  and (:since::timestamptz is null or at >= :since)
  and seq > :after
order by seq
limit :limit;

-- name: decisions
select seq, decision_id, customer_id, transition_id, campaign_id, campaign_version, geofence_id, store_id, visit_id,
       outcome, reason, checks, message_id, at, locale_of(customer_id) as locale
from decisions
where (:customer_id::text is null or customer_id = :customer_id)
  and (:campaign_id::text is null or campaign_id = :campaign_id)
  and (:outcome::text is null or outcome = :outcome)
  and (:reason::text is null or reason = :reason)
  and (:store::text is null or store_id = :store)
  and (:since::timestamptz is null or at >= :since)
  and (:until::timestamptz is null or at < :until)
  and seq > :after
order by seq
limit :limit;

-- name: newest_decisions
-- The same, from the other end; zero is the end. A statement of its own: an order that a parameter chooses would have
-- to sort what this reads off the index.
select seq, decision_id, customer_id, transition_id, campaign_id, campaign_version, geofence_id, store_id, visit_id,
       outcome, reason, checks, message_id, at, locale_of(customer_id) as locale
from decisions
where (:customer_id::text is null or customer_id = :customer_id)
  and (:campaign_id::text is null or campaign_id = :campaign_id)
  and (:outcome::text is null or outcome = :outcome)
  and (:reason::text is null or reason = :reason)
  and (:store::text is null or store_id = :store)
  and (:since::timestamptz is null or at >= :since)
  and (:until::timestamptz is null or at < :until)
  and seq < coalesce(nullif(:after::bigint, 0), 9223372036854775807)
order by seq desc
limit :limit;

-- name: decision
select d.seq, d.decision_id, d.customer_id, d.transition_id, d.campaign_id, d.campaign_version, d.geofence_id,
       d.store_id, d.visit_id, d.outcome, d.reason, d.checks, d.message_id, d.at, m.state as message_state, m.payload,
       m.why, m.failure, m.provider_message_id, locale_of(d.customer_id) as locale
from decisions d
left join messages m on m.customer_id = d.customer_id and m.message_id = d.message_id
where d.decision_id = :decision_id;

-- name: add_key
insert into api_keys (key_id, name, role, key_hash, created_at) values (:key_id, :name, :role, :key_hash, :at);

-- name: key
select key_id, name, role, last_used_at from api_keys where key_hash = :key_hash and revoked_at is null;

-- name: keys
select key_id, name, role, created_at, last_used_at, revoked_at from api_keys order by created_at, key_id;

-- name: revoke_key
update api_keys set revoked_at = :at where key_id = :key_id and revoked_at is null returning name;

-- name: touch_key
-- At most once a minute a key, so that a busy key costs no write a call.
update api_keys set last_used_at = :at
where key_id = :key_id and (last_used_at is null or last_used_at < :at::timestamptz - interval '1 minute');

-- name: audit
-- About a person: under her own id, whichever was asked for; about somebody who had herself erased, without a name.
insert into audit_log (at, actor, key_id, action, customer_id, subject, reason)
select :at, :actor, :key_id, :action, coalesce(h.alias_of, h.nobody, :customer_id), :subject,
       case when h.nobody is null then :reason else replace(:reason, :customer_id, '[erased]') end
from (select (select a.customer_id from aliases a where a.alias = :customer_id) as alias_of,
             (select 'erased:' || encode(s.customer_hash, 'hex') from suppressions s
              where s.customer_hash = pseudonym(:customer_id) and s.returned_at is null) as nobody) h;

-- name: names_on_record
-- What entries about a person are under: all of her ids, and what an erasure would leave or has left of her own.
select unnest(array[p.own, 'erased:' || encode(pseudonym(p.own), 'hex')]
              || array(select a.alias from aliases a where a.customer_id = p.own)) as name
from (select coalesce((select a.customer_id from aliases a where a.alias = :customer_id), :customer_id) as own) p;

-- name: audit_entries
select audit_id as seq, at, actor, key_id, action, customer_id, subject, reason, before, after
from audit_log
where (:customer_id::text is null or customer_id = any(:names::text[]))
  and (:actor::text is null or actor = :actor)
  and (:action::text is null or action = :action)
  and (:subject::text is null or subject = :subject)
  and (:since::timestamptz is null or at >= :since)
  and audit_id > :after
order by audit_id
limit :limit;

-- name: claim_slot
-- L0, committed alone: the first process to ask runs the slot.
insert into timers (name, last_slot)
values (:name, to_timestamp(floor(extract(epoch from clock_timestamp()) / :seconds::float8) * :seconds::float8))
on conflict (name) do update set last_slot = excluded.last_slot where timers.last_slot < excluded.last_slot
returning name;

-- name: forget_old_tracks
-- L1. No fix is kept longer than this, even of a phone that fell silent.
update devices set track = null
where (customer_id, device_id) in (
    select customer_id, device_id from devices where track is not null
      and greatest(newest_at, newest_beacons_at, newest_os_at) < :before
    order by customer_id, device_id limit 1000 for no key update skip locked)
returning customer_id;

-- name: forget_wrong_clocks
-- L1. What a phone wrote whose clock is an hour ahead of ours and more is as old as our hearing of it. Its order begins
-- anew, too: otherwise nothing that it says once its clock is right would be news for as long as it had been wrong.
update devices set track = null, newest_at = null, newest_beacons_at = null, newest_os_at = null
where (customer_id, device_id) in (
    select customer_id, device_id from devices d
    where greatest(newest_at, newest_beacons_at, newest_os_at) > :before::timestamptz + interval '25 hours'
      and not exists (select from ping_receipts r where r.customer_id = d.customer_id and r.device_id = d.device_id
                                                    and r.received_at >= :before)
    order by customer_id, device_id limit 1000 for no key update skip locked)
returning customer_id;

-- name: end_stale_visits
update visits set ended_at = started_at, present = '{}'
where (customer_id, visit_id) in (
    select customer_id, visit_id from visits where ended_at is null and customer_id = any(:customer_ids::text[])
      and started_at < :before
    order by customer_id, visit_id for no key update skip locked);

-- name: delete_old_receipts
-- A slice at a time: one statement for a long backlog would not end in time.
delete from ping_receipts where ctid = any(array(
    select ctid from ping_receipts where received_at < :before limit :limit));
