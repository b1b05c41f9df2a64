-- Adds how visits began and ended, the speed and heading of crossings, and the list of zones.
-- One column per statement, because TimescaleDB cannot add two at once to a table that may be compressed.

ALTER TABLE analytics.visits ADD COLUMN born_inside boolean NOT NULL DEFAULT false;
ALTER TABLE analytics.visits ADD COLUMN lost_inside boolean NOT NULL DEFAULT false;
ALTER TABLE analytics.visits ADD COLUMN stitched boolean NOT NULL DEFAULT false;
-- The zone was a queue, so that the dwell time is a waiting time.
ALTER TABLE analytics.visits ADD COLUMN queue boolean NOT NULL DEFAULT false;
CREATE INDEX visits_by_entry ON analytics.visits (camera_id, entered_at);

ALTER TABLE analytics.crossings ADD COLUMN speed_m_per_s real;
ALTER TABLE analytics.crossings ADD COLUMN heading_deg real;

CREATE TABLE analytics.zones (
    camera_id text NOT NULL,
    zone_id   text NOT NULL,
    PRIMARY KEY (camera_id, zone_id)
);
INSERT INTO analytics.zones (camera_id, zone_id)
SELECT camera_id, zone_id FROM analytics.occupancy UNION SELECT camera_id, zone_id FROM analytics.visits;
