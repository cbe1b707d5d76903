-- The W3C traceparent of the ping, for whoever decides or sends later; null while traces are off. It names a trace, not
-- a person or a place.
alter table transitions add column trace text;
alter table messages add column trace text;
