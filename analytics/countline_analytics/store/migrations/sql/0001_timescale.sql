-- Hypertables, and counts per minute and per 15 minutes as continuous aggregates, the second built on the first. They
-- show only materialised rows. All other changes are in the list of changed buckets, which the views read, so late
-- events are visible at once, however old they are.

CREATE EXTENSION IF NOT EXISTS timescaledb;

SELECT create_hypertable('analytics.crossings', by_range('t', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('analytics.visits', by_range('t', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('analytics.occupancy', by_range('t', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('analytics.coverage', by_range('start_t', INTERVAL '7 days'), create_default_indexes => false);

CREATE MATERIALIZED VIEW analytics.rollup_1m
WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
SELECT camera_id,
       line_id,
       direction,
       class_name,
       time_bucket(INTERVAL '1 minute', t)  AS bucket,
       count(*) FILTER (WHERE NOT fenced)   AS count,
       max(changed_at)                      AS changed_at
FROM analytics.crossings
GROUP BY camera_id, line_id, direction, class_name, time_bucket(INTERVAL '1 minute', t)
WITH NO DATA;

CREATE MATERIALIZED VIEW analytics.rollup_15m
WITH (timescaledb.continuous, timescaledb.materialized_only = true) AS
SELECT camera_id,
       line_id,
       direction,
       class_name,
       time_bucket(INTERVAL '15 minutes', bucket) AS bucket,
       sum(count)::bigint                         AS count,
       max(changed_at)                            AS changed_at
FROM analytics.rollup_1m
GROUP BY camera_id, line_id, direction, class_name, time_bucket(INTERVAL '15 minutes', bucket)
WITH NO DATA;

-- A safety net for the refresh from the list of changed buckets: catches within an hour what that refresh missed.
SELECT add_continuous_aggregate_policy('analytics.rollup_1m',
    start_offset => INTERVAL '3 days', end_offset => INTERVAL '15 minutes', schedule_interval => INTERVAL '1 hour');
SELECT add_continuous_aggregate_policy('analytics.rollup_15m',
    start_offset => INTERVAL '3 days', end_offset => INTERVAL '30 minutes', schedule_interval => INTERVAL '1 hour');

ALTER TABLE analytics.crossings SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'camera_id', timescaledb.compress_orderby = 't, ingest_sequence');
ALTER TABLE analytics.visits SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'camera_id', timescaledb.compress_orderby = 't');
ALTER TABLE analytics.occupancy SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'camera_id, zone_id', timescaledb.compress_orderby = 't');
SELECT add_compression_policy('analytics.crossings', INTERVAL '30 days');
SELECT add_compression_policy('analytics.visits', INTERVAL '30 days');
SELECT add_compression_policy('analytics.occupancy', INTERVAL '7 days');
