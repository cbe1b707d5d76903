-- Facts about a message after it left: each at most once. They are no states; a message that was accepted stays so.
create table message_events (
    customer_id  text not null,
    message_id   text not null,
    event        text not null,
    at           timestamptz not null,
    details      jsonb not null default '{}',
    primary key (customer_id, message_id, event),
    foreign key (customer_id, message_id) references messages on delete cascade
);

-- What each try to hand the message over ended with: {at, state, reason}. The first and the newest are kept.
alter table messages add column tries jsonb not null default '[]';
