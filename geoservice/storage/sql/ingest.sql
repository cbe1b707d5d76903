-- name: lock_devices
-- L1. Take what is free; a device that somebody else holds joins the next batch. The lock is the consent check:
-- a withdrawal holds the same row.
select d.customer_id, d.device_id, d.location_allowed, d.newest_at, d.newest_beacons_at, d.newest_os_at, d.recent_keys,
       d.track, d.clock
from unnest(:customer_ids::text[], :device_ids::text[]) as wanted (customer_id, device_id)
join devices d on d.customer_id = wanted.customer_id and d.device_id = wanted.device_id
order by d.customer_id, d.device_id
for no key update of d skip locked;

-- name: existing_devices
-- Tell a device that is held by somebody from one that was never seen.
select d.customer_id, d.device_id
from unnest(:customer_ids::text[], :device_ids::text[]) as wanted (customer_id, device_id)
join devices d on d.customer_id = wanted.customer_id and d.device_id = wanted.device_id;

-- name: save
-- The last fix, presence and the order mark of every device of a batch; and one row of identities a request and
-- device, whatever the number of its pings. One statement, because it stands on the path of every ping.
with saved as (
    update devices d
    set newest_at = s.newest_at, newest_beacons_at = s.newest_beacons_at, newest_os_at = s.newest_os_at,
        recent_keys = s.recent_keys, track = s.track,
        due_at = case when s.due_at is not null then least(d.due_at, s.due_at) end,
        clock = s.clock
    from unnest(:customer_ids::text[], :device_ids::text[], :newest_ats::timestamptz[],
                :newest_beacons_ats::timestamptz[], :newest_os_ats::timestamptz[], :recent_keys::bytea[],
                :tracks::bytea[], :due_ats::timestamptz[], :clocks::bytea[])
        as s (customer_id, device_id, newest_at, newest_beacons_at, newest_os_at, recent_keys, track, due_at, clock)
    where d.customer_id = s.customer_id and d.device_id = s.device_id
)
insert into ping_receipts (customer_id, device_id, from_at, through_at, keys, received_at)
select customer_id, device_id, from_at, through_at, keys, :at
from unnest(:receipt_customer_ids::text[], :receipt_device_ids::text[], :from_ats::timestamptz[],
            :through_ats::timestamptz[], :keys::bytea[])
    as r (customer_id, device_id, from_at, through_at, keys);

-- name: receipts_covering
-- The identities of what was processed around the given instants; asked only for pings that are not newer than the
-- newest, to tell a repetition from a straggler.
select r.customer_id, r.device_id, r.keys
from unnest(:customer_ids::text[], :device_ids::text[], :from_ats::timestamptz[], :through_ats::timestamptz[])
    as wanted (customer_id, device_id, from_at, through_at)
join ping_receipts r on r.customer_id = wanted.customer_id and r.device_id = wanted.device_id
    and r.through_at >= wanted.from_at and r.from_at <= wanted.through_at;

-- name: add_transitions
insert into transitions (customer_id, transition_id, device_id, geofence_id, kind, at, confidence, source, late,
                         initial, assumed, speed_mps, fast_at, trace, recorded_at)
select t.customer_id, t.transition_id, t.device_id, t.geofence_id, t.kind, t.at, t.confidence, t.source, t.late,
       t.initial, t.assumed, t.speed_mps, t.fast_at, t.trace, :at
from unnest(:customer_ids::text[], :transition_ids::text[], :device_ids::text[], :geofence_ids::text[],
            :kinds::text[], :ats::timestamptz[], :confidences::double precision[], :sources::text[], :lates::boolean[],
            :initials::boolean[], :assumeds::boolean[], :speeds::double precision[], :fast_ats::timestamptz[],
            :traces::text[])
    with ordinality as t (customer_id, transition_id, device_id, geofence_id, kind, at, confidence, source, late,
                          initial, assumed, speed_mps, fast_at, trace, place_in_batch)
order by t.place_in_batch;

-- name: lock_due_devices
-- L1. Devices for which time alone may change something; whoever is held by somebody joins a later tick.
select customer_id, device_id, track, clock
from devices
where due_at <= :at
order by customer_id, device_id
limit :limit
for no key update skip locked;

-- name: save_woken
update devices d
set track = s.track, due_at = s.due_at
from unnest(:customer_ids::text[], :device_ids::text[], :tracks::bytea[], :due_ats::timestamptz[])
    as s (customer_id, device_id, track, due_at)
where d.customer_id = s.customer_id and d.device_id = s.device_id;
