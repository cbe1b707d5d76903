-- name: publish_notice
insert into notices (version, texts, controller, jurisdiction, data_used, published_at)
values (:version, :texts, :controller, :jurisdiction, :data_used, :at)
on conflict do nothing;

-- name: notice
select version, texts, controller, jurisdiction, data_used, published_at from notices where version = :version;

-- name: notices
select version, texts, controller, jurisdiction, data_used, published_at from notices
order by published_at desc, version;

-- name: is_notice
-- As long as none was published, any version is taken.
select exists (select from notices where version = :version) or not exists (select from notices);

-- name: consent_history
select purpose, granted, notice_version, language, source, os_permission, jurisdiction, controller, data_used,
       recorded_at
from consents where customer_id = :customer_id and purpose = :purpose
order by consent_id desc;

-- name: standing
-- Whose alias an id is, and whether she had herself erased.
select (select a.customer_id from aliases a where a.alias = :customer_id) as alias_of, s.erased_at, s.returned_at
from (select pseudonym(:customer_id) as customer_hash) p
left join suppressions s using (customer_hash);

-- name: is_customer
select exists (select from customers where customer_id = :customer_id);

-- name: come_back
-- She is back; not while she is being erased.
update suppressions s set returned_at = :at
where customer_hash = pseudonym(:customer_id) and returned_at is null
  and not exists (select from erasures e where e.customer_hash = s.customer_hash and e.finished_at is null)
returning customer_hash;

-- name: lock_devices
-- L1.
select device_id from devices where customer_id = :customer_id order by customer_id, device_id for update;

-- name: lock_customers
-- L2.
select customer_id from customers where customer_id = any(:customer_ids::text[]) order by customer_id for update;

-- name: device_ids
select device_id from devices where customer_id = :customer_id order by device_id;

-- name: erase_devices
-- The last positions, the push tokens, and with them the permission to track.
delete from devices where customer_id = :customer_id;

-- name: suppress
-- Her id, and every id by which other systems know her.
insert into suppressions (customer_hash, erased_at)
select pseudonym(id), :at from (
    select :customer_id::text as id union select alias from aliases where customer_id = :customer_id) as ids
on conflict (customer_hash) do update set erased_at = excluded.erased_at, returned_at = null;

-- name: keep_evidence
with given as (delete from consents where customer_id = :customer_id returning *)
insert into consent_evidence (customer_hash, purpose, granted, notice_version, language, source, os_permission,
                              jurisdiction, controller, data_used, recorded_at, erased_at)
select pseudonym(customer_id), purpose, granted, notice_version, language, source, os_permission, jurisdiction,
       controller, data_used, recorded_at, :at
from given order by consent_id;

-- name: end_messages
-- L4. Nothing of hers is sent from here on; what may be with the provider is named, and not tried again.
with hers as (
    select customer_id, message_id, state from messages
    where customer_id = :customer_id and state in ('pending', 'claimed', 'retry_wait', 'sending', 'unknown')
    order by customer_id, message_id for no key update
)
update messages m
set unwanted = true,
    state = case when m.state in ('pending', 'claimed', 'retry_wait') then 'cancelled' else m.state end,
    failure = case when m.state in ('pending', 'claimed', 'retry_wait') then 'erased' else m.failure end,
    finished_at = case when m.state in ('pending', 'claimed', 'retry_wait') then :at else m.finished_at end
from hers
where m.customer_id = hers.customer_id and m.message_id = hers.message_id
returning m.message_id, m.state;

-- name: begin_erasure
insert into erasures (erasure_id, customer_hash, of_customer, requested_at)
values (:erasure_id, pseudonym(:customer_id), :customer_id, :at);

-- name: customer_tables
select room::text from customer_tables();

-- name: erase_slice
select erase_slice(:room::text::regclass, :customer_id, :limit);

-- name: ids_of
select :customer_id::text as id union select alias from aliases where customer_id = :customer_id;

-- name: erase_name
-- The record of who looked stays, by whichever of her ids; whom it was about does not.
with nobody as (select 'erased:' || encode(pseudonym(:customer_id), 'hex') as name)
update audit_log
set subject = case when customer_id = nobody.name then subject end, reason = replace(reason, :id, '[erased]'),
    customer_id = nobody.name
from nobody
where customer_id in (:customer_id, :id, nobody.name)
  and (customer_id <> nobody.name or position(:id in reason) > 0);

-- name: forget_tester
-- Campaigns may name her among their test customers.
select forget_tester(:id, :at);

-- name: erase_customer
delete from customers where customer_id = :customer_id;

-- name: finish_erasure
update erasures set of_customer = null, finished_at = :at
where erasure_id = :erasure_id and finished_at is null;

-- name: open_erasures
select erasure_id, of_customer from erasures where finished_at is null order by requested_at limit :limit;

-- name: erasure
-- Hers only: whoever knows no more than the number of a receipt learns nothing.
select erasure_id, requested_at, finished_at from erasures
where erasure_id = :erasure_id and customer_hash = pseudonym(:customer_id);

-- name: act_as_retention
-- For this transaction: evidence may go when it is too old.
select set_config('geoservice.retention', 'on', true);

-- name: add_alias
insert into aliases (customer_id, alias, joined_at) values (:customer_id, :alias, :at);

-- name: aliases
select alias, joined_at from aliases where customer_id = :customer_id order by alias;

-- name: owns_something
-- Whether an id stands for somebody with a phone or answers of her own: then it is no other name of somebody else.
select exists (select from devices where customer_id = :customer_id)
    or exists (select from consents where customer_id = :customer_id)
    or exists (select from preferences where customer_id = :customer_id)
    or exists (select from aliases where customer_id = :customer_id);

-- name: move_events
-- Both ways; what is there already under the same event id stays where it is, and is not counted twice.
update events e set customer_id = :to_id, alias = :as_alias
where e.customer_id = :from_id and (:of_alias::text is null or e.alias = :of_alias)
  and not exists (select from events o where o.customer_id = :to_id and o.event_id = e.event_id);

-- name: copy_profile
-- What the shop knew under the other id fills what it does not know yet.
update customers c
set timezone = coalesce(c.timezone, o.timezone), locale = coalesce(c.locale, o.locale),
    birth_year = coalesce(c.birth_year, o.birth_year), loyalty_tier = coalesce(c.loyalty_tier, o.loyalty_tier),
    attributes = o.attributes || c.attributes
from customers o
where c.customer_id = :customer_id and o.customer_id = :alias;

-- name: remove_alias
delete from aliases where customer_id = :customer_id and alias = :alias;
