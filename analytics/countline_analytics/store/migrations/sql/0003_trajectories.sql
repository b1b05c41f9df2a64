-- The path of one object, or one part of it: a poly-line with times and sizes. No column says whether it is fenced.
-- Readers decide that, because a stale worker's object may have been moving at the hand-over.

CREATE TABLE analytics.trajectories (
    trajectory_id uuid NOT NULL,
    start_t       timestamptz NOT NULL,
    end_t         timestamptz NOT NULL,
    camera_id     text NOT NULL,
    epoch         integer NOT NULL,
    run           text NOT NULL,
    track         bigint NOT NULL,
    part          integer NOT NULL,
    class_name    text NOT NULL,
    -- Bounding box of the anchor's path, 0..1 from the top left; outside this range if an object was cut off.
    min_x         real NOT NULL,
    min_y         real NOT NULL,
    max_x         real NOT NULL,
    max_y         real NOT NULL,
    -- A countline.v1.Trajectory.
    payload       bytea NOT NULL
);
CREATE UNIQUE INDEX trajectories_key ON analytics.trajectories (trajectory_id, start_t);
CREATE INDEX trajectories_by_camera ON analytics.trajectories (camera_id, start_t, trajectory_id);
