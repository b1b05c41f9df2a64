-- name: last_sequence
SELECT last_sequence FROM analytics.ingest_state

-- name: cameras
SELECT c.camera_id, coalesce(s.time_zone, c.time_zone) AS time_zone, s.earlier_zones, s.until,
       coalesce(array_agg(l.line_id ORDER BY l.line_id) FILTER (WHERE l.line_id IS NOT NULL), '{}') AS line_ids
FROM analytics.cameras c
LEFT JOIN analytics.sites s USING (site_id)
LEFT JOIN analytics.lines l USING (camera_id)
GROUP BY c.camera_id, c.time_zone, s.site_id
ORDER BY c.camera_id

-- name: totals
-- Counts of the current day of each camera.
SELECT x.camera_id, x.line_id, x.direction::text AS direction, count(*)::integer AS crossings
FROM unnest(CAST(:camera_ids AS text[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))
     AS given (camera_id, start_t, end_t)
JOIN analytics.crossings x ON x.camera_id = given.camera_id AND x.t >= given.start_t AND x.t < given.end_t
WHERE NOT x.fenced
GROUP BY x.camera_id, x.line_id, x.direction

-- name: crossings_after
-- In the order in which they were counted. `since` limits the partitions to read; it may be -infinity.
SELECT ingest_sequence, event_id, camera_id, line_id, direction::text AS direction, class_name, t, decided_at
FROM analytics.crossings
WHERE ingest_sequence > :after AND ingest_sequence <= :last AND t >= :since AND NOT fenced
ORDER BY ingest_sequence
LIMIT :limit
