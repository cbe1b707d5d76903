-- Senders take turns between campaigns, so that a large one does not make the others wait.
create index messages_queue on messages (channel, campaign_id, not_before) where state in ('pending', 'retry_wait');
drop index messages_due;

-- Support asks by the message's id alone.
create unique index messages_by_id on messages (message_id);

-- While a row is here nothing of its scope is sent: `all`, `channel:push`, `campaign:shoes`.
create table stops (
    scope   text primary key,
    at      timestamptz not null,
    actor   text not null,
    reason  text
);
