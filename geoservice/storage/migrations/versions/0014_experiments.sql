-- The arm that a customer drew first; it stays, whatever becomes of the shares.
create table assignments (
    customer_id    text not null references customers on delete cascade,
    experiment_id  text not null,
    arm            text not null,
    lot            integer not null,
    assigned_at    timestamptz not null,
    primary key (customer_id, experiment_id)
);
create index assignments_of_experiment on assignments (experiment_id, arm);

-- The message that a held-out customer did not get. It holds a slot as if she had.
create table ghosts (
    customer_id  text not null references customers on delete cascade,
    ghost_id     text not null,
    decision_id  text not null,
    campaign_id  text not null,
    topic        text not null,
    channel      text not null,
    store_id     text,
    geofence_id  text,
    visit_id     text,
    product_id   text,
    reserved_at  timestamptz not null,
    primary key (customer_id, ghost_id)
);
create index ghosts_of_customer on ghosts (customer_id, reserved_at desc);

-- What makes lots unpredictable; one row, made here.
create table experiment_salt (
    only_one  boolean primary key default true check (only_one),
    salt      text not null
);
insert into experiment_salt (salt) values (gen_random_uuid()::text || gen_random_uuid()::text);
