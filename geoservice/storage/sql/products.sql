-- name: save_products
-- All of one upload; `more` holds the lists, because an array of arrays would become one of two dimensions.
insert into products (product_id, name, category, line, variants, substitutes, complements, updated_at)
select product_id, name, category, line, array(select jsonb_array_elements_text(more -> 'variants')),
       array(select jsonb_array_elements_text(more -> 'substitutes')),
       array(select jsonb_array_elements_text(more -> 'complements')), :at
from unnest(:product_ids::text[], :names::text[], :categories::text[], :lines::text[], :more::jsonb[])
    as p (product_id, name, category, line, more)
order by product_id
on conflict (product_id) do update
set name = excluded.name, category = excluded.category, line = excluded.line, variants = excluded.variants,
    substitutes = excluded.substitutes, complements = excluded.complements, updated_at = excluded.updated_at;

-- name: product
select product_id, name, category, line, variants, substitutes, complements from products
where product_id = :product_id;

-- name: products
select product_id, name, category, line, variants, substitutes, complements from products
where product_id > :after order by product_id limit :limit;

-- name: delete_product
delete from products where product_id = :product_id;

-- name: products_of
-- What the customers of a batch had to do with.
select product_id, name, category, line, variants, substitutes, complements from products
where product_id = any(:product_ids::text[]);

-- name: store_exists
select true from stores where store_id = :store_id;

-- name: clear_stock
delete from stock where store_id = :store_id;

-- name: save_stock
-- A count that is older than the one on record changes nothing: feeds come late and out of order.
insert into stock (store_id, product_id, variant, quantity, as_of)
select :store_id, product_id, variant, quantity, :as_of
from unnest(:product_ids::text[], :variants::text[], :quantities::integer[]) as s (product_id, variant, quantity)
order by product_id, variant
on conflict (store_id, product_id, variant) do update
set quantity = excluded.quantity, as_of = excluded.as_of
where stock.as_of <= excluded.as_of;

-- name: note_stock_report
-- Stock is counted by machines, all day: on record is who reports for a store, once a day, not every count.
insert into audit_log (at, actor, key_id, action, subject, after)
select a.at, a.actor, a.key_id, 'reported stock', :store_id, jsonb_build_object('counts', :counts::bigint)
from acting() a
where not exists (
    select from audit_log l
    where l.action = 'reported stock' and l.subject = :store_id and l.actor = a.actor
      and l.at >= date_trunc('day', a.at, 'UTC'));

-- name: stock
select product_id, variant, quantity, as_of from stock
where store_id = :store_id and (product_id, variant) > (:after_product, :after_variant)
  and (:product_id::text is null or product_id = :product_id)
order by product_id, variant limit :limit;

-- name: stock_of
select store_id, product_id, variant, quantity from stock
where store_id = any(:store_ids::text[]) and product_id = any(:product_ids::text[]) and quantity > 0;

-- name: note_feed
-- Only of feeds that were connected, and at most one change a minute: every sale of a store would otherwise wait for
-- this row.
update feeds set heard_at = :heard_at
where (feed, store_id) in (
    select feed, store_id from feeds
    where feed = :feed and store_id = any(:store_ids::text[]) and heard_at < :heard_at::timestamptz - interval '1 minute'
    order by feed, store_id for no key update skip locked);

-- name: set_feed
insert into feeds (feed, store_id, heard_at) values (:feed, :store_id, :heard_at)
on conflict (feed, store_id) do update set heard_at = greatest(feeds.heard_at, excluded.heard_at);

-- name: forget_feed
delete from feeds where feed = :feed and store_id = :store_id;

-- name: feeds
select feed, store_id, heard_at from feeds order by feed, store_id;

-- name: feeds_of
select feed, store_id, heard_at from feeds where store_id = '' or store_id = any(:store_ids::text[]);
