-- What the shop sells. `variants` are sizes, colours or both, as the shop names them.
create table products (
    product_id   text primary key,
    name         text not null,
    category     text not null,
    line         text,
    variants     text[] not null default '{}',
    substitutes  text[] not null default '{}',
    complements  text[] not null default '{}',
    updated_at   timestamptz not null
);

-- Pieces of a product in a store; the empty variant is the product as a whole.
create table stock (
    store_id    text not null,
    product_id  text not null,
    variant     text not null default '',
    quantity    integer not null,
    as_of       timestamptz not null,
    primary key (store_id, product_id, variant)
);

-- When the shop's other systems were last heard of, by store; the empty store is the web shop's.
create table feeds (
    feed      text not null,
    store_id  text not null default '',
    heard_at  timestamptz not null,
    primary key (feed, store_id)
);

-- The size or colour that she looked at, and the product that a message is about.
alter table events add column variant text;
alter table messages add column product_id text;
