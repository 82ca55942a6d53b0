-- A store with shards of three copies each, in SQL that SQLite and PostgreSQL understand alike.
-- Ids sort as they are made; all was verified at the moment "now" and is due "later".
INSERT INTO dataset (id, title, created_at) VALUES ('data', '', :now);

INSERT INTO version (id, dataset_id, label, state, licence, source, source_root, notes,
                     created_at, dirty, reason)
VALUES ('ve-1', 'data', '1', 'published', '', '', '', '[]', :now, false, '');

INSERT INTO rule (id, dataset_id, copies, min_copies, selector, spread_by, priority)
VALUES ('ru-1', 'data', 3, 2, 'kind=node', '["country"]', 0);

INSERT INTO shard (id, version_id, position, size, files, piece_length, name, folder, infohash,
                   dirty)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :shards)
SELECT 'sh-' || substr(cast(100000000 + i AS text), 2), 've-1', i, 1073741824, 1, 4194304, '', '',
       'infohash-' || cast(i AS text), false
FROM n;

INSERT INTO artifact (id, version_id, path, role, origins, state, reason, size, tried, shard_id,
                      "offset")
SELECT 'ar' || id, version_id, id, 'data', '[]', 'known', '', size, '[]', id, 0 FROM shard;

INSERT INTO replica (id, shard_id, site_id, state, faulty, reason, risk, arrived_at, verified_at,
                     look_at)
SELECT 're' || id || cast(copy AS text), id,
       'site-' || substr(cast(100 + (position * 7 + copy * 5) % 12 AS text), 2),
       'available', '[]', 'already holds it', 3, :now, :now, :later
FROM shard, (SELECT 0 AS copy UNION ALL SELECT 1 UNION ALL SELECT 2) c;

INSERT INTO placement (id, rule_id, shard_id, site_id, reason, decided_at)
SELECT 'pl' || id, 'ru-1', shard_id, site_id,
       site_id || ' matches ''kind=node'' and already holds it, differs from the others in country',
       :now
FROM replica;

INSERT INTO transfer (id, kind, version_id, shard_id, target_id, executor_id, state, size,
                      priority, reason, fence, attempts, created_at, ended_at)
SELECT 'tr' || id, 'copy', 've-1', shard_id, site_id, site_id, 'done', 1073741824, 0, '', 1, 1,
       :now, :now
FROM replica;

INSERT INTO attempt (id, transfer_id, site_id, state, fence, announced_at, announcements,
                     bytes_done, bytes_fetched, sources, reason)
SELECT 'at' || id, id, executor_id, 'succeeded', 1, :now, 1, size, size, '[]', '' FROM transfer;

-- what triggers noted of all that: no tick is to add it up
DELETE FROM versionchange;

DELETE FROM siteload;

INSERT INTO siteload (site_id, held, queued)
SELECT site_id, sum(size), 0 FROM replica JOIN shard ON shard.id = shard_id GROUP BY site_id;
