-- name: newest
select version, body, actor, published_at from policies order by version desc limit 1;

-- name: versions
select version, body, actor, published_at from policies order by version desc limit :limit;

-- name: add
insert into policies (version, body, actor, published_at)
select coalesce(max(version), 0) + 1, :body, :actor, :at from policies
returning version;
