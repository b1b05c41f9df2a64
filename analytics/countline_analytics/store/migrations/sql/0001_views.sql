-- The views that readers use, the same for tables and for continuous aggregates. They read the rollup where it is up to
-- date, and count the crossings where it is not.

CREATE VIEW analytics.counts_1m AS
SELECT r.camera_id, r.line_id, r.direction, r.class_name, r.bucket, r.count, r.changed_at
FROM analytics.rollup_1m r
WHERE NOT EXISTS (
    SELECT FROM analytics.changed_buckets c WHERE c.camera_id = r.camera_id AND c.bucket = r.bucket
)
UNION ALL
SELECT c.camera_id, fresh.line_id, fresh.direction, fresh.class_name, c.bucket, fresh.count, fresh.changed_at
FROM (SELECT DISTINCT camera_id, bucket FROM analytics.changed_buckets) c
CROSS JOIN LATERAL (
    SELECT x.line_id, x.direction, x.class_name,
           count(*) FILTER (WHERE NOT x.fenced) AS count, max(x.changed_at) AS changed_at
    FROM analytics.crossings x
    WHERE x.camera_id = c.camera_id AND x.t >= c.bucket AND x.t < c.bucket + INTERVAL '1 minute'
    GROUP BY x.line_id, x.direction, x.class_name
) fresh;

CREATE VIEW analytics.counts_15m AS
SELECT r.camera_id, r.line_id, r.direction, r.class_name, r.bucket, r.count, r.changed_at
FROM analytics.rollup_15m r
WHERE NOT EXISTS (
    SELECT FROM analytics.changed_buckets c
    WHERE c.camera_id = r.camera_id
      AND date_bin(INTERVAL '15 minutes', c.bucket, TIMESTAMPTZ '2000-01-01 00:00:00Z') = r.bucket
)
UNION ALL
SELECT c.camera_id, fresh.line_id, fresh.direction, fresh.class_name, c.bucket, fresh.count, fresh.changed_at
FROM (
    SELECT DISTINCT camera_id, date_bin(INTERVAL '15 minutes', bucket, TIMESTAMPTZ '2000-01-01 00:00:00Z') AS bucket
    FROM analytics.changed_buckets
) c
CROSS JOIN LATERAL (
    SELECT m.line_id, m.direction, m.class_name, sum(m.count)::bigint AS count, max(m.changed_at) AS changed_at
    FROM analytics.counts_1m m
    WHERE m.camera_id = c.camera_id AND m.bucket >= c.bucket AND m.bucket < c.bucket + INTERVAL '15 minutes'
    GROUP BY m.line_id, m.direction, m.class_name
) fresh;
