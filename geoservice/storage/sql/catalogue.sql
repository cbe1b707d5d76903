-- name: geofences
select geofence_id, store_id, name, kind, geometry, radius_m, tags, dwell_s, floor, beacons, jurisdiction, valid_from,
       valid_until, metadata
from geofences order by geofence_id;

-- name: geofences_named
-- Those that an upload names, and those that the same folder manages.
select geofence_id, store_id, name, kind, geometry, radius_m, tags, dwell_s, floor, beacons, jurisdiction, valid_from,
       valid_until, metadata, version
from geofences where geofence_id = any(:geofence_ids::text[]) or managed_by = :managed_by::text
order by geofence_id;

-- name: geofence_version
-- The publication that changed it last.
select version from geofences where geofence_id = :geofence_id;

-- name: sensitive
select geofence_id, store_id, name, kind, geometry, radius_m, tags, dwell_s, floor, beacons, jurisdiction, valid_from,
       valid_until, metadata
from geofences where kind = 'sensitive' and not (geofence_id = any(:but::text[]));

-- name: end_visits_in
-- L3. Who is in a place that is sensitive from now on is in no store because of it.
update visits v
set present = stays.present, ended_at = case when stays.present = '{}' then :at else v.ended_at end
from (
    select customer_id, visit_id, array(select p from unnest(present) as p
                                        where split_part(p, ' ', 2) <> all(:geofence_ids::text[])) as present
    from visits
    where ended_at is null
      and exists (select from unnest(present) as p where split_part(p, ' ', 2) = any(:geofence_ids::text[]))
    order by customer_id, visit_id
    for no key update
) stays
where v.customer_id = stays.customer_id and v.visit_id = stays.visit_id and v.ended_at is null;

-- name: count
select count(*) from geofences where :managed_by::text is null or managed_by = :managed_by::text;

-- name: save_geofences
-- `more` holds the lists: an array of arrays would become one of two dimensions. Who manages a geofence goes on doing so.
insert into geofences (geofence_id, store_id, name, kind, geometry, radius_m, tags, dwell_s, floor, beacons,
                       jurisdiction, valid_from, valid_until, metadata, managed_by, version)
select geofence_id, store_id, name, kind, geometry, radius_m,
       array(select jsonb_array_elements_text(more -> 'tags')), dwell_s, floor, more -> 'beacons', jurisdiction,
       valid_from, valid_until, more -> 'metadata', managed_by, :version
from unnest(:geofence_ids::text[], :store_ids::text[], :names::text[], :kinds::text[], :geometries::bytea[],
            :radii_m::double precision[], :dwells_s::integer[], :floors::integer[], :jurisdictions::text[],
            :valid_froms::timestamptz[], :valid_untils::timestamptz[], :managed_bys::text[], :more::jsonb[])
    as g (geofence_id, store_id, name, kind, geometry, radius_m, dwell_s, floor, jurisdiction, valid_from, valid_until,
          managed_by, more)
on conflict (geofence_id) do update
set store_id = excluded.store_id, name = excluded.name, kind = excluded.kind, geometry = excluded.geometry,
    radius_m = excluded.radius_m, tags = excluded.tags, dwell_s = excluded.dwell_s, floor = excluded.floor,
    beacons = excluded.beacons, jurisdiction = excluded.jurisdiction, valid_from = excluded.valid_from,
    valid_until = excluded.valid_until, metadata = excluded.metadata,
    managed_by = coalesce(excluded.managed_by, geofences.managed_by), version = excluded.version;

-- name: delete_geofences
delete from geofences where geofence_id = any(:geofence_ids::text[]);

-- name: adopt
-- What a folder names is managed by it from now on.
update geofences set managed_by = :managed_by
where geofence_id = any(:geofence_ids::text[]) and managed_by is distinct from :managed_by;

-- name: add_version
insert into catalogue_versions (version, published_at, actor, summary) values (:version, :at, :actor, :summary);

-- name: add_changes
-- Before anything is written: what each geofence was until now. Null is one that was not there.
insert into catalogue_changes (version, geofence_id, before_geometry, before)
select :version, named.geofence_id, g.geometry,
       case when g.geofence_id is not null then to_jsonb(g) - 'geometry' - 'version' end
from unnest(:geofence_ids::text[]) as named (geofence_id)
left join geofences g on g.geofence_id = named.geofence_id;

-- name: versions
select version, published_at, actor, summary from catalogue_versions
where version < :before order by version desc limit :limit;

-- name: version
select version, published_at, actor, summary from catalogue_versions where version = :version;

-- name: changes_of
-- What one version changed: each geofence as it was before, and as it was until the next change, or is now.
select c.geofence_id, c.before, c.before_geometry,
       case when n.version is not null then n.before
            when g.geofence_id is not null then to_jsonb(g) - 'geometry' - 'version' end as after,
       case when n.version is not null then n.before_geometry else g.geometry end as after_geometry
from catalogue_changes c
left join lateral (select version, before, before_geometry from catalogue_changes later
                   where later.geofence_id = c.geofence_id and later.version > c.version
                   order by later.version limit 1) n on true
left join geofences g on g.geofence_id = c.geofence_id
where c.version = :version and c.geofence_id > :after_id
order by c.geofence_id limit :limit;

-- name: forget_changes
-- Those of versions that were forgotten themselves: nothing that is kept is restored by way of them.
delete from catalogue_changes where ctid = any(array(
    select ctid from catalogue_changes where version < (select min(version) from catalogue_versions) limit :limit));

-- name: state_at
-- Every geofence that was changed after a version, as it was in it: before the first of those changes.
select distinct on (geofence_id) geofence_id, before, before_geometry
from catalogue_changes where version > :version order by geofence_id, version;

-- name: is_recorded
-- Whether every change since a version is on record: an older release of this service did not write them down.
select count(*) = :through - :since and coalesce(bool_and(changes = recorded), true)
from (select (v.summary ->> 'created')::bigint + (v.summary ->> 'changed')::bigint
             + (v.summary ->> 'removed')::bigint as changes,
             (select count(*) from catalogue_changes c where c.version = v.version) as recorded
      from catalogue_versions v where v.version > :since and v.version <= :through) as each;

-- name: changed_since
-- The geofences that were touched after a version, as they are now; without a name where they are gone.
select c.geofence_id, g.store_id, g.name, g.kind, g.geometry, g.radius_m, g.tags, g.dwell_s, g.floor, g.beacons,
       g.jurisdiction, g.valid_from, g.valid_until, g.metadata
from (select distinct geofence_id from catalogue_changes where version > :since) c
left join geofences g on g.geofence_id = c.geofence_id;
