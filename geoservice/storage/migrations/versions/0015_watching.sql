-- Decisions by time, with all that is needed to count them: a day of a campaign is counted without reading its decisions.
create index decisions_counted on decisions (at) include (campaign_id, outcome, reason);
