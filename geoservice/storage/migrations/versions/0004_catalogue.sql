-- What each publication changed: the geofence as it was before, so that any version can be shown and restored exactly.
-- Both columns are null where the publication created it.
create table catalogue_changes (
    version          bigint not null,
    geofence_id      text not null,
    before_geometry  bytea,
    before           jsonb,
    primary key (version, geofence_id)
);
create index catalogue_changes_of_geofence on catalogue_changes (geofence_id, version);

-- The folder that a geofence is kept in step with, and the law that its buffer follows.
alter table geofences add column managed_by text;
alter table geofences add column jurisdiction text;
