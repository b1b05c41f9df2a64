-- name: known_cameras
-- Cameras with crossings or truths, with the lines of both, and zones that records named.
SELECT coalesce(c.camera_id, l.camera_id) AS camera_id, c.site_id, coalesce(s.time_zone, c.time_zone) AS time_zone,
       s.earlier_zones, s.until, coalesce(l.line_ids, '{}') AS line_ids, coalesce(z.zone_ids, '{}') AS zone_ids
FROM analytics.cameras c
LEFT JOIN analytics.sites s USING (site_id)
FULL JOIN (
    SELECT camera_id, array_agg(DISTINCT line_id ORDER BY line_id) AS line_ids
    FROM (SELECT camera_id, line_id FROM analytics.lines UNION SELECT camera_id, line_id FROM analytics.truth_sets) named
    GROUP BY camera_id
) l USING (camera_id)
LEFT JOIN (
    SELECT camera_id, array_agg(zone_id ORDER BY zone_id) AS zone_ids FROM analytics.zones GROUP BY camera_id
) z ON z.camera_id = c.camera_id

-- name: counts_1m
-- `n` is the number of the bucket, from 1; `edges` are the starts of the buckets.
SELECT camera_id, line_id, direction::text AS direction, class_name,
       width_bucket(bucket, CAST(:edges AS timestamptz[])) AS n,
       sum(count)::integer AS crossings, max(changed_at) AS changed_at
FROM analytics.counts_1m
WHERE camera_id = ANY(:camera_ids) AND (:line_id = '' OR line_id = :line_id) AND bucket >= :start AND bucket < :end
GROUP BY camera_id, line_id, direction, class_name, n

-- name: counts_15m
SELECT camera_id, line_id, direction::text AS direction, class_name,
       width_bucket(bucket, CAST(:edges AS timestamptz[])) AS n,
       sum(count)::integer AS crossings, max(changed_at) AS changed_at
FROM analytics.counts_15m
WHERE camera_id = ANY(:camera_ids) AND (:line_id = '' OR line_id = :line_id) AND bucket >= :start AND bucket < :end
GROUP BY camera_id, line_id, direction, class_name, n

-- name: coverage
-- A span is at most a day long.
SELECT camera_id, epoch, start_t, end_t, covered_until
FROM analytics.coverage
WHERE camera_id = ANY(:camera_ids)
  AND start_t >= CAST(:start AS timestamptz) - INTERVAL '1 day' AND start_t < :end AND covered_until > :start

-- name: hand_overs
SELECT camera_id, epoch, hand_over_at FROM analytics.epochs WHERE camera_id = ANY(:camera_ids)

-- name: list_crossings
-- Newest first, from the place that a page token names; camera by camera, in the order of the index.
SELECT x.*
FROM unnest(CAST(:camera_ids AS text[])) AS given (camera_id)
CROSS JOIN LATERAL (
    SELECT event_id, t, decided_at, c.camera_id, line_id, line_version, direction::text AS direction, class_name, score,
           stitched, fenced, speed_m_per_s, heading_deg
    FROM analytics.crossings c
    WHERE c.camera_id = given.camera_id AND (:line_id = '' OR line_id = :line_id)
      AND t >= :start AND t < :end
      AND (CAST(:after_t AS timestamptz) IS NULL
           OR (t, event_id) < (CAST(:after_t AS timestamptz), CAST(:after_id AS uuid)))
    ORDER BY t DESC, event_id DESC
    LIMIT :limit
) x
ORDER BY x.t DESC, x.event_id DESC
LIMIT :limit

-- name: latest_crossings
-- The newest of each camera, fenced ones left out. `since` limits the partitions to read.
SELECT x.*
FROM unnest(CAST(:camera_ids AS text[])) AS given (camera_id)
CROSS JOIN LATERAL (
    SELECT event_id, t, decided_at, c.camera_id, line_id, line_version, direction::text AS direction, class_name, score,
           stitched, fenced, speed_m_per_s, heading_deg
    FROM analytics.crossings c
    WHERE c.camera_id = given.camera_id AND t >= :since AND NOT fenced
    ORDER BY t DESC, event_id DESC
    LIMIT :limit
) x
ORDER BY x.camera_id, x.t DESC, x.event_id DESC

-- name: list_visits
-- Like `list_crossings`. The time of a visit is its end. Fenced visits are left out.
SELECT x.*
FROM unnest(CAST(:camera_ids AS text[])) AS given (camera_id)
CROSS JOIN LATERAL (
    SELECT event_id, t, entered_at, dwell_s, v.camera_id, zone_id, zone_version, class_name,
           born_inside, lost_inside, queue
    FROM analytics.visits v
    WHERE v.camera_id = given.camera_id AND (:zone_id = '' OR zone_id = :zone_id)
      AND t >= :start AND t < :end AND NOT fenced
      AND (CAST(:after_t AS timestamptz) IS NULL
           OR (t, event_id) < (CAST(:after_t AS timestamptz), CAST(:after_id AS uuid)))
    ORDER BY t DESC, event_id DESC
    LIMIT :limit
) x
ORDER BY x.t DESC, x.event_id DESC
LIMIT :limit

-- name: crossing_times
-- Counted crossings, for the comparison with the truth.
SELECT camera_id, line_id, direction::text AS direction, t
FROM analytics.crossings
WHERE camera_id = ANY(:camera_ids) AND t >= :start AND t < :end AND NOT fenced
ORDER BY t
LIMIT :limit

-- name: truth_sets
SELECT s.truth_set_id, s.camera_id, s.line_id, s.start_t, s.duration_s, s.repeats, s.source, s.created_at,
       coalesce(x.times_s, '{}') AS times_s, coalesce(x.directions, '{}') AS directions,
       coalesce(x.class_names, '{}') AS class_names
FROM analytics.truth_sets s
LEFT JOIN LATERAL (
    SELECT array_agg(t_s ORDER BY ordinal) AS times_s, array_agg(direction::text ORDER BY ordinal) AS directions,
           array_agg(class_name ORDER BY ordinal) AS class_names
    FROM analytics.truth_crossings WHERE truth_set_id = s.truth_set_id
) x ON true
WHERE :camera_id = '' OR s.camera_id = :camera_id
ORDER BY s.camera_id, s.line_id, s.created_at

-- name: lock_truth
-- Two transactions cannot add sets for the same time at once.
SELECT pg_advisory_xact_lock(hashtextextended('countline truth ' || :camera_id, 0))

-- name: overlapping_truth
SELECT truth_set_id FROM analytics.truth_sets
WHERE camera_id = :camera_id AND line_id = :line_id
  AND (repeats OR :repeats OR (
      start_t < CAST(:start AS timestamptz) + make_interval(secs => :duration_s)
      AND start_t + make_interval(secs => duration_s) > CAST(:start AS timestamptz)))
LIMIT 1

-- name: add_truth_set
INSERT INTO analytics.truth_sets (truth_set_id, camera_id, line_id, start_t, duration_s, repeats, source, created_at)
VALUES (:truth_set_id, :camera_id, :line_id, :start, :duration_s, :repeats, :source, :created_at)

-- name: add_truth_crossings
INSERT INTO analytics.truth_crossings (truth_set_id, ordinal, t_s, direction, class_name)
SELECT CAST(:truth_set_id AS uuid), ordinal, t_s, direction::analytics.direction, class_name
FROM unnest(CAST(:times_s AS double precision[]), CAST(:directions AS text[]), CAST(:class_names AS text[]))
     WITH ORDINALITY AS given (t_s, direction, class_name, ordinal)

-- name: drop_truth_set
DELETE FROM analytics.truth_sets WHERE truth_set_id = :truth_set_id AND camera_id = :camera_id

-- name: list_trajectories
-- Trajectories that overlap [start, end), oldest first, from the place that a page token names. A part of a track lasts
-- up to ten minutes, or longer if the stream stalled. Trajectories of a stale epoch that began after the hand-over are
-- fenced, and so are those of a run over a file that a later one supersedes.
SELECT x.*
FROM unnest(CAST(:camera_ids AS text[])) AS given (camera_id)
CROSS JOIN LATERAL (
    SELECT tr.trajectory_id AS event_id, tr.start_t AS t, tr.end_t, tr.camera_id, tr.epoch, tr.run, tr.payload,
           fence.hand_over_at
    FROM analytics.trajectories tr
    LEFT JOIN LATERAL (
        SELECT min(e.hand_over_at) AS hand_over_at FROM analytics.epochs e
        WHERE e.camera_id = tr.camera_id AND tr.epoch > 0 AND e.epoch > tr.epoch
    ) fence ON true
    WHERE tr.camera_id = given.camera_id
      AND tr.start_t >= CAST(:start AS timestamptz) - INTERVAL '1 day' AND tr.start_t < :end AND tr.end_t >= :start
      AND (fence.hand_over_at IS NULL OR tr.start_t <= fence.hand_over_at)
      AND NOT EXISTS (SELECT 1 FROM analytics.file_runs old
                      WHERE old.camera_id = tr.camera_id AND old.run = tr.run AND old.superseded AND tr.epoch = 0)
      AND (CAST(:after_t AS timestamptz) IS NULL
           OR (tr.start_t, tr.trajectory_id) > (CAST(:after_t AS timestamptz), CAST(:after_id AS uuid)))
    ORDER BY tr.start_t, tr.trajectory_id
    LIMIT :limit
) x
ORDER BY x.t, x.event_id
LIMIT :limit
