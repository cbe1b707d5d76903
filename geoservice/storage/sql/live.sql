-- name: newest_transition
-- Where a viewer begins, and the numbers shortly below it: those that are missing may be on their way still.
select seq from transitions
where seq > (select coalesce(max(seq), 0) from transitions) - :looked_back::bigint
order by seq;

-- name: newest_decision
select seq from decisions
where seq > (select coalesce(max(seq), 0) from decisions) - :looked_back::bigint
order by seq;

-- name: transitions
-- What is new above a number, and what has come to be in the gaps below it; of nobody by name. Beside it the
-- transactions that were under way as this statement saw the table: `oldest` is the first that had not ended, and none
-- from `next` on had begun. There is one row at least, so that both are always told.
select s.oldest, s.next, t.*
from (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest,
             pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next) s
left join lateral (
    select seq, transition_id, geofence_id, kind, source, confidence, late, initial, at
    from (select * from transitions where seq > :top::bigint
          union all
          select late_comer.* from unnest(:lows::bigint[], :highs::bigint[]) as gap (low, high)
          join transitions late_comer on late_comer.seq between gap.low and gap.high) found
    order by seq
    limit :limit
) t on true;

-- name: decisions
select s.oldest, s.next, d.*
from (select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest,
             pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next) s
left join lateral (
    select seq, decision_id, transition_id, campaign_id, campaign_version, geofence_id, store_id, outcome, reason, at
    from (select * from decisions where seq > :top::bigint
          union all
          select late_comer.* from unnest(:lows::bigint[], :highs::bigint[]) as gap (low, high)
          join decisions late_comer on late_comer.seq between gap.low and gap.high) found
    order by seq
    limit :limit
) d on true;

-- name: counts
-- Decisions of a window, counted. The index holds all that is asked, so that no decision itself is read.
select campaign_id, outcome, reason, count(*) as count
from decisions
where at > :since and at <= :until
group by campaign_id, outcome, reason
order by campaign_id, outcome, reason;
