-- name: add_customer
insert into customers (customer_id, created_at) values (:customer_id, :at) on conflict do nothing;

-- name: add_device
-- A device starts without permission; whoever adds it locks the customer and copies the consent in force.
insert into devices (customer_id, device_id, registered_at) values (:customer_id, :device_id, :at)
on conflict do nothing;

-- name: count_devices
select count(*) from devices where customer_id = :customer_id;

-- name: copy_location_consent
-- L1 and L2 are held: the newest consent cannot change under us.
update devices set location_allowed = coalesce((
    select granted from consents
    where customer_id = :customer_id and purpose = 'location'
    order by consent_id desc limit 1), false)
where customer_id = :customer_id and device_id = :device_id;

-- name: lock_devices_of
-- L1.
select customer_id, device_id from devices where customer_id = :customer_id
order by customer_id, device_id for no key update;

-- name: lock_address
-- L0. One sign-in at a time for each push token and installation id: otherwise a second phone could take the address
-- after the rows that hold it were locked, and be locked against the order.
select pg_advisory_xact_lock(hashtextextended(name, 0)) from unnest(:names::text[]) with ordinality as a (name, place)
order by place;

-- name: lock_devices_for_sign_in
-- L1. This phone, and whichever rows hold its push token or installation id now.
select customer_id, device_id, push_token, fid from devices
where (customer_id = :customer_id and device_id = :device_id)
   or push_token = :push_token or fid = :fid
order by customer_id, device_id
for no key update;

-- name: lock_customers
-- L2.
select customer_id from customers where customer_id = any(:customer_ids::text[])
order by customer_id for no key update;

-- name: device_ids
select device_id from devices where customer_id = :customer_id order by device_id;

-- name: release_token
-- The phone changed hands: whoever had this token before is not reachable by it any more.
update devices set push_token = null, fid = null
where (push_token = :push_token or fid = :fid) and not (customer_id = :customer_id and device_id = :device_id);

-- name: register_device
update devices
set platform = :platform, push_token = :push_token, fid = :fid, app_version = :app_version, timezone = :timezone,
    locale = :locale, os_location_permission = :os_location_permission, token_set_at = :at
where customer_id = :customer_id and device_id = :device_id;

-- name: delete_device
delete from devices where customer_id = :customer_id and device_id = :device_id;

-- name: cancel_of_device
-- L4. What waits for a phone that is no longer hers.
update messages set state = 'cancelled', failure = :failure, finished_at = :at, claim_id = null, lease_until = null
where (customer_id, message_id) in (
    select customer_id, message_id from messages
    where customer_id = :customer_id and device_id = :device_id and state in ('pending', 'claimed', 'retry_wait')
    order by customer_id, message_id for no key update);

-- name: leave_visits_with_device
-- L3. A phone that signed out, or was in a sensitive place, is in no store but where it was seen since.
update visits v
set present = stays.present, ended_at = case when stays.present = '{}' then :at else v.ended_at end
from (
    select visit_id, array(select p from unnest(present) as p
                           where split_part(p, ' ', 1) <> :device_id or p = any(:still_in::text[])) as present
    from visits
    where customer_id = :customer_id and ended_at is null
    order by visit_id
    for no key update
) stays
where v.customer_id = :customer_id and v.visit_id = stays.visit_id and v.ended_at is null;

-- name: add_consent
-- With what the notice says of itself, if it was published here.
insert into consents (customer_id, purpose, granted, notice_version, language, source, os_permission, jurisdiction,
                      controller, data_used, recorded_at)
select :customer_id, :purpose, :granted, answered.version, :language, :source, :os_permission, n.jurisdiction,
       n.controller, n.data_used, :at
from (values (:notice_version)) as answered (version)
left join notices n using (version);

-- name: allow_location
update devices set location_allowed = true where customer_id = :customer_id;

-- name: forget_location
-- The last fix, every presence and the receipts of pings go: their hashes are of places, too, and who knows a time and a
-- town can try them out. The order mark stays, it is a time without a place.
with receipts as (delete from ping_receipts where customer_id = :customer_id)
update devices set location_allowed = false, track = null where customer_id = :customer_id;

-- name: end_visits
update visits set ended_at = :at, present = '{}' where customer_id = :customer_id and ended_at is null;

-- name: drop_undecided
-- A transition that nobody has looked at yet is not looked at any more.
update transitions set engaged_at = :at where customer_id = :customer_id and engaged_at is null;

-- name: drop_deferred
delete from deferred where customer_id = :customer_id;

-- name: cancel_needing
-- L4. Cancel what has not left the house and needs this purpose. What may be with the provider is locked as well, so
-- that it cannot come back for another try before this commits.
with waiting as (
    select customer_id, message_id from messages
    where customer_id = :customer_id and state in ('pending', 'claimed', 'retry_wait', 'sending', 'unknown')
      and purposes @> array[:purpose]
    order by customer_id, message_id for no key update
)
update messages m set state = 'cancelled', failure = 'consent_withdrawn', finished_at = :at, claim_id = null,
                      lease_until = null
from waiting where m.customer_id = waiting.customer_id and m.message_id = waiting.message_id
  and m.state in ('pending', 'claimed', 'retry_wait')
returning m.message_id;

-- name: cancel_unwanted
-- L4. Cancel what has not left the house and the customer's new settings do not want.
with waiting as (
    select customer_id, message_id from messages
    where customer_id = :customer_id and state in ('pending', 'claimed', 'retry_wait', 'sending', 'unknown')
      and (:everything or topic = any(:topics::text[]) or channel = any(:channels::text[]))
    order by customer_id, message_id for no key update
)
update messages m set state = 'cancelled', failure = 'preferences_changed', finished_at = :at, claim_id = null,
                      lease_until = null
from waiting where m.customer_id = waiting.customer_id and m.message_id = waiting.message_id
  and m.state in ('pending', 'claimed', 'retry_wait')
returning m.message_id;

-- name: forbid_resending
-- L4. What the provider may have already cannot be called back, but it is not tried again.
update messages set unwanted = true
where (customer_id, message_id) in (
    select customer_id, message_id from messages
    where customer_id = :customer_id and state in ('sending', 'unknown') and not unwanted
      and (:everything or topic = any(:topics::text[]) or channel = any(:channels::text[])
           or purposes && :purposes::text[])
    order by customer_id, message_id for no key update);

-- name: in_flight
-- What the provider may have already.
select message_id from messages where customer_id = :customer_id and state = 'sending' order by message_id;

-- name: consents_in_force
select distinct on (purpose) purpose, granted, notice_version, language, source, os_permission, jurisdiction,
       controller, data_used, recorded_at
from consents where customer_id = :customer_id
order by purpose, consent_id desc;

-- name: preferences
select body, version from preferences where customer_id = :customer_id;

-- name: save_preferences
insert into preferences (customer_id, body, version, updated_at) values (:customer_id, :body, 1, :at)
on conflict (customer_id) do update
set body = excluded.body, version = preferences.version + 1, updated_at = excluded.updated_at
returning version;

-- name: update_customer
update customers
set timezone = coalesce(:timezone, timezone), locale = coalesce(:locale, locale),
    birth_year = coalesce(:birth_year, birth_year), loyalty_tier = coalesce(:loyalty_tier, loyalty_tier),
    attributes = coalesce(:attributes, attributes)
where customer_id = :customer_id;

-- name: add_events
insert into events (customer_id, event_id, type, occurred_at, product_id, category, quantity, price, store_id,
                    order_id, variant, source, received_at, alias)
select :customer_id, event_id, type, occurred_at, product_id, category, quantity, price, store_id, order_id, variant,
       :source, :at, :alias
from unnest(:event_ids::text[], :types::text[], :occurred_ats::timestamptz[], :product_ids::text[],
            :categories::text[], :quantities::integer[], :prices::double precision[], :store_ids::text[],
            :order_ids::text[], :variants::text[])
    as e (event_id, type, occurred_at, product_id, category, quantity, price, store_id, order_id, variant)
order by event_id
on conflict do nothing
returning event_id;

-- name: presence
select device_id, track from devices where customer_id = :customer_id order by device_id;

-- name: locale
select locale_of(:customer_id);
