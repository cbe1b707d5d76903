-- When time alone may change a device's presence: a dwell becomes due, silence ends it. It may be earlier than that, never
-- later: it is not moved with every fix, because an update of an indexed column costs far more.
alter table devices add column due_at timestamptz;
create index devices_due on devices (due_at) where due_at is not null;

-- How far the phone's clock is off, and what its last eight requests said about it.
alter table devices add column clock bytea;
