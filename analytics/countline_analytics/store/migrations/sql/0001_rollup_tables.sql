-- Counts per minute and per 15 minutes for PostgreSQL without TimescaleDB: tables that analytics refreshes from the
-- list of changed buckets.

CREATE TABLE analytics.rollup_1m (
    camera_id  text NOT NULL,
    line_id    text NOT NULL,
    direction  analytics.direction NOT NULL,
    class_name text NOT NULL,
    bucket     timestamptz NOT NULL,
    count      bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (camera_id, bucket, line_id, direction, class_name)
);
CREATE TABLE analytics.rollup_15m (LIKE analytics.rollup_1m INCLUDING ALL);
