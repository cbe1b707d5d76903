-- name: revisions
select room, revision from directory_revisions;

-- name: publish
-- Locks the room's row, so publications wait for one another; the new revision shows at commit.
update directory_revisions set revision = revision + 1 where room = :room returning revision;

-- name: announce
select pg_notify('geoservice_directory', :room);

-- name: stores
select store_id, name, lat, lon, timezone, opening_hours, address, muted_until from stores order by store_id;

-- name: store
select store_id, name, lat, lon, timezone, opening_hours, address, muted_until from stores where store_id = :store_id;

-- name: save_store
insert into stores (store_id, name, lat, lon, timezone, opening_hours, address, updated_at)
values (:store_id, :name, :lat, :lon, :timezone, :opening_hours, :address, :at)
on conflict (store_id) do update
set name = excluded.name, lat = excluded.lat, lon = excluded.lon, timezone = excluded.timezone,
    opening_hours = excluded.opening_hours, address = excluded.address, updated_at = excluded.updated_at;

-- name: mute_store
update stores set muted_until = :until where store_id = :store_id;

-- name: cancel_of_store
-- L4. What waits to be sent about a muted store.
update messages set state = 'cancelled', failure = 'store_muted', finished_at = :at, claim_id = null,
                    lease_until = null
where (customer_id, message_id) in (
    select customer_id, message_id from messages
    where store_id = :store_id and state in ('pending', 'retry_wait', 'claimed')
    order by customer_id, message_id for no key update);

-- name: campaigns
select campaign_id, version, state, body, updated_at, live_since, paused_because from campaigns order by campaign_id;

-- name: stored_campaigns
-- As text: most have not changed since they were read last, and need not be parsed.
select campaign_id, version, live_since, body::text as body from campaigns order by campaign_id;

-- name: campaign
select campaign_id, version, state, body, updated_at, live_since, paused_because from campaigns
where campaign_id = :campaign_id;

-- name: campaign_versions
-- Newest first.
select campaign_id, version, state, body, at from campaign_versions
where campaign_id = :campaign_id and version < :before::bigint
order by version desc
limit :limit;

-- name: complaints
-- Of the live campaigns that somebody complained about lately: what was taken for delivery since they went live, and of
-- how many of those somebody said "creepy" or "stop".
with accused as (
    select distinct m.campaign_id from message_events e
    join messages m using (customer_id, message_id)
    where e.event in ('creepy', 'stop') and e.at > :since
)
select c.campaign_id, count(*) as delivered, count(*) filter (where exists (
           select from message_events e
           where e.customer_id = m.customer_id and e.message_id = m.message_id and e.event in ('creepy', 'stop')))
       as complaints
from accused
join campaigns c on c.campaign_id = accused.campaign_id and c.state = 'live'
join messages m on m.campaign_id = c.campaign_id and m.state = 'accepted' and m.accepted_at >= c.live_since
group by c.campaign_id
order by c.campaign_id;

-- name: set_campaign_state
update campaigns
set state = :state::text, body = jsonb_set(body, '{state}', to_jsonb(:state::text)), version = version + 1,
    updated_at = :at, paused_because = :because
where campaign_id = :campaign_id
returning campaign_id, version, state, body, live_since, paused_because;

-- name: cancel_of_campaign
-- L4. A paused campaign falls silent at once, with what waits, too.
update messages set state = 'cancelled', failure = 'campaign_paused', finished_at = :at, claim_id = null,
                    lease_until = null
where (customer_id, message_id) in (
    select customer_id, message_id from messages
    where campaign_id = :campaign_id and state in ('pending', 'retry_wait', 'claimed')
    order by customer_id, message_id for no key update);

-- name: save_campaign
insert into campaigns (campaign_id, version, state, body, updated_at)
values (:campaign_id, 1, :state, :body, :at)
on conflict (campaign_id) do update
set version = campaigns.version + 1, state = excluded.state, body = excluded.body, updated_at = excluded.updated_at
returning campaign_id, version, state, body, live_since, paused_because;

