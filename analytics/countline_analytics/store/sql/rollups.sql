-- name: kind_of_rollup
-- `r` if rollups are tables that analytics refreshes, `v` if they are continuous aggregates.
SELECT relkind::text FROM pg_class WHERE oid = CAST('analytics.rollup_1m' AS regclass)

-- name: lock_refresh
-- One refresh at a time; false while another process refreshes.
SELECT pg_try_advisory_xact_lock(hashtext('countline analytics rollups'))

-- name: take_changed
-- Takes changed minutes off the list. Later changes are listed again.
WITH oldest AS (
    SELECT change_id FROM analytics.changed_buckets WHERE bucket < :before ORDER BY change_id LIMIT :limit
),
taken AS (
    DELETE FROM analytics.changed_buckets c USING oldest WHERE c.change_id = oldest.change_id
    RETURNING c.camera_id, c.bucket
)
SELECT DISTINCT camera_id, bucket FROM taken

-- name: roll_up_minutes
INSERT INTO analytics.rollup_1m AS r (camera_id, line_id, direction, class_name, bucket, count, changed_at)
SELECT given.camera_id, fresh.line_id, fresh.direction, fresh.class_name, given.bucket, fresh.count, fresh.changed_at
FROM unnest(CAST(:camera_ids AS text[]), CAST(:buckets AS timestamptz[])) AS given (camera_id, bucket)
CROSS JOIN LATERAL (
    SELECT x.line_id, x.direction, x.class_name,
           count(*) FILTER (WHERE NOT x.fenced) AS count, max(x.changed_at) AS changed_at
    FROM analytics.crossings x
    WHERE x.camera_id = given.camera_id AND x.t >= given.bucket AND x.t < given.bucket + INTERVAL '1 minute'
    GROUP BY x.line_id, x.direction, x.class_name
) fresh
ON CONFLICT (camera_id, bucket, line_id, direction, class_name)
DO UPDATE SET count = excluded.count, changed_at = excluded.changed_at

-- name: roll_up_quarters
INSERT INTO analytics.rollup_15m AS r (camera_id, line_id, direction, class_name, bucket, count, changed_at)
SELECT given.camera_id, fresh.line_id, fresh.direction, fresh.class_name, given.bucket, fresh.count, fresh.changed_at
FROM (
    SELECT DISTINCT camera_id, date_bin(INTERVAL '15 minutes', bucket, TIMESTAMPTZ '2000-01-01 00:00:00Z') AS bucket
    FROM unnest(CAST(:camera_ids AS text[]), CAST(:buckets AS timestamptz[])) AS minutes (camera_id, bucket)
) given
CROSS JOIN LATERAL (
    SELECT m.line_id, m.direction, m.class_name, sum(m.count)::bigint AS count, max(m.changed_at) AS changed_at
    FROM analytics.rollup_1m m
    WHERE m.camera_id = given.camera_id AND m.bucket >= given.bucket AND m.bucket < given.bucket + INTERVAL '15 minutes'
    GROUP BY m.line_id, m.direction, m.class_name
) fresh
ON CONFLICT (camera_id, bucket, line_id, direction, class_name)
DO UPDATE SET count = excluded.count, changed_at = excluded.changed_at

-- name: list_changed
SELECT change_id, bucket FROM analytics.changed_buckets WHERE bucket < :before ORDER BY change_id LIMIT :limit

-- name: refresh_minutes
CALL refresh_continuous_aggregate('analytics.rollup_1m', CAST(:start AS timestamptz), CAST(:end AS timestamptz))

-- name: refresh_quarters
CALL refresh_continuous_aggregate('analytics.rollup_15m', CAST(:start AS timestamptz), CAST(:end AS timestamptz))

-- name: drop_changed
DELETE FROM analytics.changed_buckets WHERE change_id = ANY(:change_ids)

-- name: list_cameras
SELECT camera_id FROM analytics.cameras ORDER BY camera_id

-- name: forget_crossings
-- Their counts stay in the rollups.
DELETE FROM analytics.crossings WHERE camera_id = :camera_id AND t < :before

-- name: forget_ids
DELETE FROM analytics.event_ids WHERE kind::text = ANY(:kinds) AND t < :before

-- name: forget_visits
DELETE FROM analytics.visits WHERE camera_id = :camera_id AND t < :before

-- name: forget_occupancy
DELETE FROM analytics.occupancy WHERE camera_id = :camera_id AND t < :before

-- name: forget_chunks_of_crossings
SELECT drop_chunks('analytics.crossings', CAST(:before AS timestamptz))

-- name: forget_chunks_of_visits
SELECT drop_chunks('analytics.visits', CAST(:before AS timestamptz))

-- name: forget_chunks_of_occupancy
SELECT drop_chunks('analytics.occupancy', CAST(:before AS timestamptz))

-- name: forget_trajectories
DELETE FROM analytics.trajectories WHERE camera_id = :camera_id AND start_t < :before

-- name: forget_chunks_of_trajectories
SELECT drop_chunks('analytics.trajectories', CAST(:before AS timestamptz))
