-- name: services
-- Who serves from this database at the moment.
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'geoservice' and pid <> pg_backend_pid();

-- name: lock_devices
-- L1.
select customer_id, device_id from devices order by customer_id, device_id for no key update;

-- name: forget_tracks
-- Where phones were when the backup was made says nothing about now, and may have been erased since.
update devices set track = null where track is not null;

-- name: end_visits
update visits set ended_at = started_at, present = '{}' where ended_at is null;

-- name: drop_undecided
update transitions set engaged_at = :at where engaged_at is null;

-- name: drop_deferred
delete from deferred;

-- name: expire_waiting
-- L4. They waited when the backup was made, so most of them have gone out since: none goes out again, and each keeps its
-- place under the caps.
update messages set state = 'expired', failure = 'restored', in_doubt = true, finished_at = :at, claim_id = null,
                    lease_until = null
where (customer_id, message_id) in (
    select customer_id, message_id from messages where state in ('pending', 'claimed', 'retry_wait')
    order by customer_id, message_id for no key update);

-- name: doubt_sending
-- L4. The call was under way when the backup was made: nobody can know how it ended.
update messages set state = 'unknown', failure = 'restored', in_doubt = true, finished_at = :at, claim_id = null,
                    lease_until = null
where (customer_id, message_id) in (
    select customer_id, message_id from messages where state = 'sending'
    order by customer_id, message_id for no key update);

-- name: forbid_resending
-- L4. Whatever their campaigns say: they may have been sent again already.
update messages set unwanted = true
where (customer_id, message_id) in (
    select customer_id, message_id from messages where state = 'unknown' and not unwanted
    order by customer_id, message_id for no key update);

-- name: customers
select customer_id, created_at from customers;

-- name: devices_of
select device_id, greatest(registered_at, token_set_at) as signed_in_at from devices where customer_id = :customer_id;

-- name: last_answer
-- The record of a purpose that is in force.
select granted, recorded_at from consents
where customer_id = :customer_id and purpose = :purpose
order by consent_id desc limit 1;

-- name: preferences_of
select updated_at from preferences where customer_id = :customer_id;
