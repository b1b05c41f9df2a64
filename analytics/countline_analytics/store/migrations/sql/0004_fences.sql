-- Keeps what workers reported as hand-over and what was known when it arrived, so that fences can be computed again; and
-- the ids of all events, so that an event counts once whatever its time.

ALTER TABLE analytics.epochs ADD COLUMN reported_at timestamptz;
ALTER TABLE analytics.epochs ADD COLUMN received_at timestamptz;
ALTER TABLE analytics.epochs ADD COLUMN written_at timestamptz;
-- When the control-plane gave the epoch out, by its own clock; null if the record did not say.
ALTER TABLE analytics.epochs ADD COLUMN assigned_at timestamptz;
-- The newest and the oldest counted crossing of earlier epochs when the hand-over was written; null if there was none.
ALTER TABLE analytics.epochs ADD COLUMN before_t timestamptz;
ALTER TABLE analytics.epochs ADD COLUMN before_written_at timestamptz;
ALTER TABLE analytics.epochs ADD COLUMN first_t timestamptz;
-- Why `hand_over_at` is not the reported time; empty if it is.
ALTER TABLE analytics.epochs ADD COLUMN fault text NOT NULL DEFAULT '';
UPDATE analytics.epochs SET reported_at = hand_over_at, received_at = now(), written_at = now();
ALTER TABLE analytics.epochs ALTER COLUMN reported_at SET NOT NULL;
ALTER TABLE analytics.epochs ALTER COLUMN received_at SET NOT NULL;
ALTER TABLE analytics.epochs ALTER COLUMN written_at SET NOT NULL;

-- Every decision about a hand-over that is not what the worker reported. Rows are only added.
CREATE TABLE analytics.hand_over_audit (
    audit_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at   timestamptz NOT NULL,
    camera_id    text NOT NULL,
    epoch        integer NOT NULL,
    reported_at  timestamptz NOT NULL,
    hand_over_at timestamptz NOT NULL,
    -- Empty if a later record showed that the reported time is right.
    fault        text NOT NULL
);

-- Hypertables cannot have a unique key without the time of the event, so the ids have a table of their own.
-- `kind`: c crossing, v visit, t trajectory.
CREATE TABLE analytics.event_ids (
    event_id uuid NOT NULL,
    kind     "char" NOT NULL,
    t        timestamptz NOT NULL,
    PRIMARY KEY (event_id, kind)
);
CREATE INDEX event_ids_by_time ON analytics.event_ids USING brin (t);
INSERT INTO analytics.event_ids (event_id, kind, t)
SELECT event_id, 'c', min(t) FROM analytics.crossings GROUP BY event_id
UNION ALL SELECT event_id, 'v', min(t) FROM analytics.visits GROUP BY event_id
UNION ALL SELECT trajectory_id, 't', min(start_t) FROM analytics.trajectories GROUP BY trajectory_id;
DROP INDEX analytics.crossings_key;
DROP INDEX analytics.visits_key;
DROP INDEX analytics.trajectories_key;

-- Sites as the camera service announces them. `until`: the first days of the zones that followed `earlier_zones`.
CREATE TABLE analytics.sites (
    site_id       text PRIMARY KEY,
    created_at    timestamptz NOT NULL,
    revision      integer NOT NULL,
    time_zone     text NOT NULL,
    earlier_zones text[] NOT NULL,
    until         date[] NOT NULL
);
