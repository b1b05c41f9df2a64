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

-- name: remember_site
-- A site as the camera service announced it; an older announcement changes nothing.
INSERT INTO analytics.sites AS known (site_id, created_at, revision, time_zone, earlier_zones, until)
VALUES (:site_id, :created_at, :revision, :time_zone, CAST(:earlier_zones AS text[]), CAST(:until AS date[]))
ON CONFLICT (site_id) DO UPDATE
SET created_at = excluded.created_at, revision = excluded.revision, time_zone = excluded.time_zone,
    earlier_zones = excluded.earlier_zones, until = excluded.until
WHERE (known.created_at, known.revision) < (excluded.created_at, excluded.revision)

-- name: remember_lines
INSERT INTO analytics.lines (camera_id, line_id)
SELECT * FROM unnest(CAST(:camera_ids AS text[]), CAST(:line_ids AS text[]))
ON CONFLICT DO NOTHING

-- name: remember_zones
INSERT INTO analytics.zones (camera_id, zone_id)
SELECT * FROM unnest(CAST(:camera_ids AS text[]), CAST(:zone_ids AS text[]))
ON CONFLICT DO NOTHING

-- name: read_hand_overs
SELECT camera_id, epoch, hand_over_at, fault, reported_at, received_at, written_at, assigned_at, before_t, before_written_at,
       first_t
FROM analytics.epochs WHERE camera_id = ANY(:camera_ids)

-- name: crossings_before
-- The newest and the oldest counted crossing of the epochs before one, and when they were written.
(SELECT t AS seen_at, changed_at FROM analytics.crossings
 WHERE camera_id = :camera_id AND epoch > 0 AND epoch < :epoch AND NOT fenced
 ORDER BY t DESC LIMIT 1)
UNION ALL
(SELECT t, changed_at FROM analytics.crossings
 WHERE camera_id = :camera_id AND epoch > 0 AND epoch < :epoch AND NOT fenced
 ORDER BY t LIMIT 1)

-- name: put_hand_over
INSERT INTO analytics.epochs (camera_id, epoch, hand_over_at, fault, reported_at, received_at, written_at, assigned_at,
                              before_t, before_written_at, first_t)
VALUES (:camera_id, :epoch, :hand_over_at, :fault, :reported_at, :received_at, :written_at, :assigned_at,
        :before_t, :before_written_at, :first_t)
ON CONFLICT (camera_id, epoch) DO UPDATE
SET hand_over_at = excluded.hand_over_at, fault = excluded.fault, reported_at = excluded.reported_at,
    received_at = excluded.received_at, written_at = excluded.written_at, assigned_at = excluded.assigned_at,
    before_t = excluded.before_t, before_written_at = excluded.before_written_at,
    first_t = excluded.first_t

-- name: audit_hand_over
INSERT INTO analytics.hand_over_audit (decided_at, camera_id, epoch, reported_at, hand_over_at, fault)
VALUES (:decided_at, :camera_id, :epoch, :reported_at, :hand_over_at, :fault)

-- name: cameras_with_epochs
SELECT DISTINCT camera_id FROM analytics.epochs ORDER BY camera_id

-- name: no_statement_timeout
SET LOCAL statement_timeout = 0

-- name: no_decompression_limit
-- TimescaleDB's; without TimescaleDB the setting has no effect.
SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0

-- name: move_crossings
-- Fences events of older epochs that lie after a fence, and restores those that do not. Files (epoch 0) are exempt.
UPDATE analytics.crossings c
SET fenced = NOT c.fenced, changed_at = :now
FROM unnest(CAST(:camera_ids AS text[]), CAST(:first_epochs AS integer[]), CAST(:last_epochs AS integer[]),
            CAST(:limits AS timestamptz[]), CAST(:sinces AS timestamptz[]))
     AS given (camera_id, first_epoch, last_epoch, limit_t, since)
WHERE c.camera_id = given.camera_id AND c.epoch BETWEEN given.first_epoch AND given.last_epoch
  AND c.t > given.since AND c.fenced <> (c.t > given.limit_t)
RETURNING c.camera_id, date_trunc('minute', c.t) AS bucket, c.fenced

-- name: move_visits
UPDATE analytics.visits v
SET fenced = NOT v.fenced
FROM unnest(CAST(:camera_ids AS text[]), CAST(:first_epochs AS integer[]), CAST(:last_epochs AS integer[]),
            CAST(:limits AS timestamptz[]), CAST(:sinces AS timestamptz[]))
     AS given (camera_id, first_epoch, last_epoch, limit_t, since)
WHERE v.camera_id = given.camera_id AND v.epoch BETWEEN given.first_epoch AND given.last_epoch
  AND v.t > given.since AND v.fenced <> (v.t > given.limit_t)

-- name: move_occupancy
UPDATE analytics.occupancy o
SET fenced = NOT o.fenced
FROM unnest(CAST(:camera_ids AS text[]), CAST(:first_epochs AS integer[]), CAST(:last_epochs AS integer[]),
            CAST(:limits AS timestamptz[]), CAST(:sinces AS timestamptz[]))
     AS given (camera_id, first_epoch, last_epoch, limit_t, since)
WHERE o.camera_id = given.camera_id AND o.epoch BETWEEN given.first_epoch AND given.last_epoch
  AND o.t > given.since AND o.fenced <> (o.t > given.limit_t)

-- name: put_file_runs
INSERT INTO analytics.file_runs (camera_id, run, recording, rule_version, begun_at)
SELECT camera_id, run, recording, rule_version, :now
FROM unnest(CAST(:camera_ids AS text[]), CAST(:runs AS text[]), CAST(:recordings AS text[]), CAST(:rule_versions AS integer[]))
     AS given (camera_id, run, recording, rule_version)
ON CONFLICT DO NOTHING

-- name: supersede_runs
-- Marks the runs over a recording that a run with a later version of the counting rule supersedes; returns the new ones.
UPDATE analytics.file_runs old
SET superseded = true
FROM analytics.file_runs new
WHERE old.camera_id = ANY(:camera_ids) AND NOT old.superseded AND new.camera_id = old.camera_id
  AND new.recording = old.recording AND new.rule_version > old.rule_version
RETURNING old.camera_id, old.run

-- name: superseded_runs
SELECT camera_id, run FROM analytics.file_runs WHERE camera_id = ANY(:camera_ids) AND superseded

-- name: fence_crossings_of_runs
UPDATE analytics.crossings c
SET fenced = true, changed_at = :now
FROM unnest(CAST(:camera_ids AS text[]), CAST(:runs AS text[])) AS given (camera_id, run)
WHERE c.camera_id = given.camera_id AND c.run = given.run AND c.epoch = 0 AND NOT c.fenced
RETURNING c.camera_id, date_trunc('minute', c.t) AS bucket

-- name: fence_visits_of_runs
UPDATE analytics.visits v
SET fenced = true
FROM unnest(CAST(:camera_ids AS text[]), CAST(:runs AS text[])) AS given (camera_id, run)
WHERE v.camera_id = given.camera_id AND v.run = given.run AND v.epoch = 0 AND NOT v.fenced

-- name: fence_occupancy_of_runs
UPDATE analytics.occupancy o
SET fenced = true
FROM unnest(CAST(:camera_ids AS text[]), CAST(:runs AS text[])) AS given (camera_id, run)
WHERE o.camera_id = given.camera_id AND o.run = given.run AND o.epoch = 0 AND NOT o.fenced

-- name: known_ids
SELECT event_id, kind::text AS kind FROM analytics.event_ids
JOIN unnest(CAST(:event_ids AS uuid[]), CAST(:kinds AS text[])) AS given (event_id, kind_text) USING (event_id)
WHERE kind::text = kind_text

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
