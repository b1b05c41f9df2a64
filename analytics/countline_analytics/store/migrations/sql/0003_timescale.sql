SELECT create_hypertable('analytics.trajectories', by_range('start_t', INTERVAL '7 days'), create_default_indexes => false);
ALTER TABLE analytics.trajectories SET (timescaledb.compress,
    timescaledb.compress_segmentby = 'camera_id', timescaledb.compress_orderby = 'start_t, trajectory_id');
SELECT add_compression_policy('analytics.trajectories', INTERVAL '7 days');
