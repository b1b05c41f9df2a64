-- Runs over files that are played once, with the version of the counting rule. A run supersedes the runs of its camera and
-- recording that have a lower version: their events are fenced.
CREATE TABLE analytics.file_runs (
    camera_id    text NOT NULL,
    run          text NOT NULL,
    recording    text NOT NULL,
    rule_version integer NOT NULL,
    begun_at     timestamptz NOT NULL,
    superseded   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (camera_id, run)
);
CREATE INDEX file_runs_by_recording ON analytics.file_runs (camera_id, recording);
