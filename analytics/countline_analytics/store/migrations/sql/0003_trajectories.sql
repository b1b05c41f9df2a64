-- Where one object was, or one part of that: a poly-line with times and sizes. Nothing says here whether it is fenced:
-- that is decided when it is read, since a stale worker's object may have been under way at the hand-over.

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
    -- What the anchor's way takes up of the picture, 0..1 from the top left; beyond it where an object was cut off.
    min_x         real NOT NULL,
    min_y         real NOT NULL,
    max_x         real NOT NULL,
    max_y         real NOT NULL,
    -- A countline.v1.Trajectory.
    payload       bytea NOT NULL
);
CREATE UNIQUE INDEX trajectories_key ON analytics.trajectories (trajectory_id, start_t);
CREATE INDEX trajectories_by_camera ON analytics.trajectories (camera_id, start_t, trajectory_id);
