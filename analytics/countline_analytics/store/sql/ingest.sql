-- name: lock_state
-- One writer at a time: sequence numbers become visible in order and without gaps.
SELECT last_sequence FROM analytics.ingest_state FOR UPDATE

-- name: advance_state
UPDATE analytics.ingest_state SET last_sequence = :last_sequence

-- name: announce
-- Announces new crossings to the API processes: the last sequence number, and the earliest time.
SELECT pg_notify('countline_crossings', :payload)

-- name: remember_cameras
INSERT INTO analytics.cameras AS known (camera_id, site_id, time_zone)
SELECT * FROM unnest(CAST(:camera_ids AS text[]), CAST(:site_ids AS text[]), CAST(:time_zones AS text[]))
ON CONFLICT (camera_id) DO UPDATE SET site_id = excluded.site_id, time_zone = excluded.time_zone
WHERE (known.site_id, known.time_zone) IS DISTINCT FROM (excluded.site_id, excluded.time_zone)

-- name: remember_lines
INSERT INTO analytics.lines (camera_id, line_id)
SELECT * FROM unnest(CAST(:camera_ids AS text[]), CAST(:line_ids AS text[]))
ON CONFLICT DO NOTHING

-- name: remember_zones
INSERT INTO analytics.zones (camera_id, zone_id)
SELECT * FROM unnest(CAST(:camera_ids AS text[]), CAST(:zone_ids AS text[]))
ON CONFLICT DO NOTHING

-- name: add_hand_overs
-- The earliest hand-over stays: a repeated or late record changes nothing.
INSERT INTO analytics.epochs AS known (camera_id, epoch, hand_over_at)
SELECT camera_id, epoch, min(hand_over_at)
FROM unnest(CAST(:camera_ids AS text[]), CAST(:epochs AS integer[]), CAST(:times AS timestamptz[]))
     AS given (camera_id, epoch, hand_over_at)
GROUP BY camera_id, epoch
ON CONFLICT (camera_id, epoch) DO UPDATE SET hand_over_at = excluded.hand_over_at
WHERE known.hand_over_at > excluded.hand_over_at
RETURNING camera_id, epoch, hand_over_at

-- name: read_hand_overs
SELECT camera_id, epoch, hand_over_at FROM analytics.epochs WHERE camera_id = ANY(:camera_ids)

-- name: fence_crossings
-- Fences events of older epochs that lie after a hand-over and arrived before it was known. Files (epoch 0) are exempt.
UPDATE analytics.crossings c
SET fenced = true, changed_at = :now
FROM unnest(CAST(:camera_ids AS text[]), CAST(:epochs AS integer[]), CAST(:times AS timestamptz[]))
     AS given (camera_id, epoch, hand_over_at)
WHERE c.camera_id = given.camera_id AND c.t > given.hand_over_at
  AND c.epoch > 0 AND c.epoch < given.epoch AND NOT c.fenced
RETURNING c.camera_id, date_trunc('minute', c.t) AS bucket

-- name: fence_visits
UPDATE analytics.visits v
SET fenced = true
FROM unnest(CAST(:camera_ids AS text[]), CAST(:epochs AS integer[]), CAST(:times AS timestamptz[]))
     AS given (camera_id, epoch, hand_over_at)
WHERE v.camera_id = given.camera_id AND v.t > given.hand_over_at
  AND v.epoch > 0 AND v.epoch < given.epoch AND NOT v.fenced

-- name: fence_occupancy
UPDATE analytics.occupancy o
SET fenced = true
FROM unnest(CAST(:camera_ids AS text[]), CAST(:epochs AS integer[]), CAST(:times AS timestamptz[]))
     AS given (camera_id, epoch, hand_over_at)
WHERE o.camera_id = given.camera_id AND o.t > given.hand_over_at
  AND o.epoch > 0 AND o.epoch < given.epoch AND NOT o.fenced

-- name: known_crossings
SELECT c.event_id, c.t
FROM analytics.crossings c
JOIN unnest(CAST(:event_ids AS uuid[]), CAST(:times AS timestamptz[])) AS given (event_id, t)
  ON c.event_id = given.event_id AND c.t = given.t

-- name: known_visits
SELECT v.event_id, v.t
FROM analytics.visits v
JOIN unnest(CAST(:event_ids AS uuid[]), CAST(:times AS timestamptz[])) AS given (event_id, t)
  ON v.event_id = given.event_id AND v.t = given.t

-- name: add_occupancy
-- Of two samples with the same time the lower one stays, in any order: all objects leave a removed zone at the time of
-- the last frame that had the zone.
INSERT INTO analytics.occupancy AS known (camera_id, zone_id, t, zone_version, epoch, run, count, fenced)
SELECT camera_id, zone_id, t, max(zone_version), epoch, run, min(count), bool_or(fenced)
FROM unnest(
    CAST(:camera_ids AS text[]), CAST(:zone_ids AS text[]), CAST(:times AS timestamptz[]), CAST(:zone_versions AS integer[]),
    CAST(:epochs AS integer[]), CAST(:runs AS text[]), CAST(:counts AS integer[]), CAST(:fenced AS boolean[]))
    AS given (camera_id, zone_id, t, zone_version, epoch, run, count, fenced)
GROUP BY camera_id, zone_id, t, epoch, run
ON CONFLICT (camera_id, zone_id, t, epoch, run) DO UPDATE SET count = excluded.count WHERE excluded.count < known.count

-- name: touching_coverage
-- Spans of the same runs that touch the new ones.
SELECT DISTINCT c.camera_id, c.epoch, c.run, c.start_t, c.end_t, c.covered_until
FROM analytics.coverage c
JOIN unnest(
    CAST(:camera_ids AS text[]), CAST(:epochs AS integer[]), CAST(:runs AS text[]), CAST(:starts AS timestamptz[]),
    CAST(:covered_untils AS timestamptz[])) AS given (camera_id, epoch, run, start_t, covered_until)
  ON c.camera_id = given.camera_id AND c.epoch = given.epoch AND c.run = given.run
 AND c.start_t <= given.covered_until AND c.covered_until >= given.start_t
 -- A span is at most a day long.
 AND c.start_t >= given.start_t - INTERVAL '1 day'

-- name: drop_coverage
DELETE FROM analytics.coverage c
USING unnest(CAST(:camera_ids AS text[]), CAST(:epochs AS integer[]), CAST(:runs AS text[]), CAST(:starts AS timestamptz[]))
      AS given (camera_id, epoch, run, start_t)
WHERE c.camera_id = given.camera_id AND c.epoch = given.epoch AND c.run = given.run AND c.start_t = given.start_t

-- name: put_coverage
INSERT INTO analytics.coverage AS known (camera_id, epoch, run, start_t, end_t, covered_until)
SELECT * FROM unnest(
    CAST(:camera_ids AS text[]), CAST(:epochs AS integer[]), CAST(:runs AS text[]), CAST(:starts AS timestamptz[]),
    CAST(:ends AS timestamptz[]), CAST(:covered_untils AS timestamptz[]))
ON CONFLICT (camera_id, epoch, run, start_t)
DO UPDATE SET end_t = excluded.end_t, covered_until = excluded.covered_until

-- name: mark_changed
INSERT INTO analytics.changed_buckets (camera_id, bucket)
SELECT * FROM unnest(CAST(:camera_ids AS text[]), CAST(:buckets AS timestamptz[]))

-- name: add_trajectories
INSERT INTO analytics.trajectories (trajectory_id, start_t, end_t, camera_id, epoch, run, track, part, class_name,
                                    min_x, min_y, max_x, max_y, payload)
SELECT * FROM unnest(
    CAST(:trajectory_ids AS uuid[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]),
    CAST(:camera_ids AS text[]), CAST(:epochs AS integer[]), CAST(:runs AS text[]), CAST(:tracks AS bigint[]),
    CAST(:parts AS integer[]), CAST(:class_names AS text[]), CAST(:min_x AS real[]), CAST(:min_y AS real[]),
    CAST(:max_x AS real[]), CAST(:max_y AS real[]), CAST(:payloads AS bytea[]))
ON CONFLICT DO NOTHING
