-- The tables of analytics. Times are UTC; event time is capture time.

CREATE TYPE analytics.direction AS ENUM ('in', 'out');

-- One row with the number of the last counted crossing. A writer of counts locks this row first, so there is one writer
-- at a time, and numbers become visible in order and without gaps.
CREATE TABLE analytics.ingest_state (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last_sequence bigint NOT NULL DEFAULT 0
);
INSERT INTO analytics.ingest_state DEFAULT VALUES;

-- Cameras as reported in records, so that counts can be read while the camera service is unavailable.
CREATE TABLE analytics.cameras (
    camera_id text PRIMARY KEY,
    site_id   text NOT NULL,
    time_zone text NOT NULL
);
CREATE TABLE analytics.lines (
    camera_id text NOT NULL,
    line_id   text NOT NULL,
    PRIMARY KEY (camera_id, line_id)
);

-- Hand-overs: the capture time of the first frame that an epoch processed.
CREATE TABLE analytics.epochs (
    camera_id    text NOT NULL,
    epoch        integer NOT NULL,
    hand_over_at timestamptz NOT NULL,
    PRIMARY KEY (camera_id, epoch)
);

CREATE TABLE analytics.crossings (
    event_id        uuid NOT NULL,
    t               timestamptz NOT NULL,
    decided_at      timestamptz NOT NULL,
    camera_id       text NOT NULL,
    line_id         text NOT NULL,
    line_version    integer NOT NULL,
    direction       analytics.direction NOT NULL,
    class_name      text NOT NULL,
    score           real NOT NULL,
    epoch           integer NOT NULL,
    run             text NOT NULL,
    track           bigint NOT NULL,
    sequence        integer NOT NULL,
    frame           bigint NOT NULL,
    stitched        boolean NOT NULL,
    -- True for a crossing from a stale worker, which is kept but not counted.
    fenced          boolean NOT NULL,
    -- Place in the order of counted rows; null for a row that was fenced on arrival.
    ingest_sequence bigint,
    -- When the row was written or fenced. Shows whether a bucket changed after it was final.
    changed_at      timestamptz NOT NULL
);
CREATE UNIQUE INDEX crossings_key ON analytics.crossings (event_id, t);
CREATE INDEX crossings_by_camera ON analytics.crossings (camera_id, t);
CREATE INDEX crossings_in_order ON analytics.crossings (ingest_sequence);

CREATE TABLE analytics.visits (
    event_id     uuid NOT NULL,
    -- When the stay ended.
    t            timestamptz NOT NULL,
    entered_at   timestamptz NOT NULL,
    dwell_s      double precision NOT NULL,
    decided_at   timestamptz NOT NULL,
    camera_id    text NOT NULL,
    zone_id      text NOT NULL,
    zone_version integer NOT NULL,
    class_name   text NOT NULL,
    epoch        integer NOT NULL,
    run          text NOT NULL,
    track        bigint NOT NULL,
    sequence     integer NOT NULL,
    fenced       boolean NOT NULL
);
CREATE UNIQUE INDEX visits_key ON analytics.visits (event_id, t);
CREATE INDEX visits_by_camera ON analytics.visits (camera_id, t);

CREATE TABLE analytics.occupancy (
    camera_id    text NOT NULL,
    zone_id      text NOT NULL,
    t            timestamptz NOT NULL,
    zone_version integer NOT NULL,
    epoch        integer NOT NULL,
    run          text NOT NULL,
    count        integer NOT NULL,
    fenced       boolean NOT NULL
);
CREATE UNIQUE INDEX occupancy_key ON analytics.occupancy (camera_id, zone_id, t, epoch, run);

-- Spans in which a camera was processed, merged within a run as records come in and cut at midnight UTC, so that a span
-- is at most a day long. The gap after `end_t` counts as processed up to `covered_until`.
CREATE TABLE analytics.coverage (
    camera_id     text NOT NULL,
    epoch         integer NOT NULL,
    run           text NOT NULL,
    start_t       timestamptz NOT NULL,
    end_t         timestamptz NOT NULL,
    covered_until timestamptz NOT NULL
) WITH (fillfactor = 70);  -- the newest span of each run is extended in place every second
CREATE UNIQUE INDEX coverage_key ON analytics.coverage (camera_id, epoch, run, start_t);
CREATE INDEX coverage_by_time ON analytics.coverage (camera_id, start_t);

-- Minutes whose rollup is out of date; the views count these minutes from the crossings. Rows are only added, and
-- deleted by change_id. With one row for each camera and minute, a change during the deletion would be lost.
CREATE TABLE analytics.changed_buckets (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    camera_id text NOT NULL,
    bucket    timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX changed_buckets_by_camera ON analytics.changed_buckets (camera_id, bucket);

CREATE TABLE analytics.truth_sets (
    truth_set_id uuid PRIMARY KEY,
    camera_id    text NOT NULL,
    line_id      text NOT NULL,
    start_t      timestamptz NOT NULL,
    duration_s   double precision NOT NULL CHECK (duration_s > 0),
    repeats      boolean NOT NULL,
    source       text NOT NULL,
    created_at   timestamptz NOT NULL
);
CREATE INDEX truth_sets_by_camera ON analytics.truth_sets (camera_id, line_id);

CREATE TABLE analytics.truth_crossings (
    truth_set_id uuid NOT NULL REFERENCES analytics.truth_sets ON DELETE CASCADE,
    ordinal      integer NOT NULL,
    -- Seconds after the start of the set.
    t_s          double precision NOT NULL,
    direction    analytics.direction NOT NULL,
    class_name   text NOT NULL,
    PRIMARY KEY (truth_set_id, ordinal)
);
