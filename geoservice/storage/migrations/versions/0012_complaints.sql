-- A campaign that annoys pauses itself: these find the few complaints, and count what they are a share of.
create index message_complaints on message_events (at) where event in ('creepy', 'stop');
create index messages_accepted_of_campaign on messages (campaign_id, accepted_at) where state = 'accepted';
