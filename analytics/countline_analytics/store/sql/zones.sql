-- name: occupancy
-- Occupancy of zones by bucket. A sample holds from its time until the next sample or until coverage ends. So the query
-- sorts the samples, the ends of coverage and the edges of buckets into one sequence of marks for each zone, and weights
-- the value between two marks with the time between them.
WITH given AS (
    SELECT * FROM unnest(CAST(:camera_ids AS text[]), CAST(:zone_ids AS text[])) AS given (camera_id, zone_id)
),
marks AS (
    SELECT camera_id, zone_id, t, 0 AS kind, epoch, run, count AS value, CAST(NULL AS integer) AS cover
    FROM given JOIN analytics.occupancy USING (camera_id, zone_id)
    WHERE t > :start AND t < :until AND NOT fenced
    UNION ALL
    SELECT camera_id, zone_id, CAST(:start AS timestamptz), 0, 0, '', before.count, NULL
    FROM given CROSS JOIN LATERAL (
        SELECT o.count FROM analytics.occupancy o
        WHERE o.camera_id = given.camera_id AND o.zone_id = given.zone_id AND o.t <= :start AND NOT o.fenced
        ORDER BY o.t DESC, o.epoch DESC, o.run DESC
        LIMIT 1
    ) before
    UNION ALL
    SELECT camera_id, zone_id, greatest(start_t, CAST(:start AS timestamptz)), 1, 0, '', NULL, 1
    FROM given
    JOIN unnest(CAST(:covered_ids AS text[]), CAST(:covered_from AS timestamptz[]), CAST(:covered_until AS timestamptz[]))
         AS covered (camera_id, start_t, end_t) USING (camera_id)
    UNION ALL
    SELECT camera_id, zone_id, least(end_t, CAST(:until AS timestamptz)), 1, 0, '', NULL, -1
    FROM given
    JOIN unnest(CAST(:covered_ids AS text[]), CAST(:covered_from AS timestamptz[]), CAST(:covered_until AS timestamptz[]))
         AS covered (camera_id, start_t, end_t) USING (camera_id)
    UNION ALL
    SELECT camera_id, zone_id, edge, 1, 0, '', NULL, NULL
    FROM given CROSS JOIN unnest(CAST(:edges AS timestamptz[])) AS edge
),
in_order AS (
    SELECT camera_id, zone_id, t, value, lead(t) OVER w AS until_t, count(value) OVER w AS sample, sum(cover) OVER w AS covered
    FROM marks
    WINDOW w AS (PARTITION BY camera_id, zone_id ORDER BY t, kind, epoch, run ROWS UNBOUNDED PRECEDING)
),
pieces AS (
    SELECT camera_id, zone_id, t, until_t, covered, max(value) OVER (PARTITION BY camera_id, zone_id, sample) AS value
    FROM in_order
)
SELECT camera_id, zone_id, width_bucket(t, CAST(:edges AS timestamptz[])) AS n,
       min(value) AS least, max(value) AS most,
       CAST(sum(value * extract(epoch FROM until_t - t)) / sum(extract(epoch FROM until_t - t)) AS double precision) AS mean,
       (array_agg(value ORDER BY t DESC))[1] AS last
FROM pieces
WHERE until_t > t AND covered > 0 AND value IS NOT NULL
GROUP BY camera_id, zone_id, n

-- name: visits_by_entry
SELECT camera_id, zone_id, width_bucket(entered_at, CAST(:edges AS timestamptz[])) AS n,
       count(*) FILTER (WHERE NOT born_inside)::integer AS entries, count(*) FILTER (WHERE born_inside)::integer AS born
FROM analytics.visits
WHERE camera_id = ANY(:camera_ids) AND (:zone_id = '' OR zone_id = :zone_id)
  AND entered_at >= :start AND entered_at < :end AND t >= :start AND NOT fenced
GROUP BY camera_id, zone_id, n

-- name: visits_by_end
SELECT camera_id, zone_id, width_bucket(t, CAST(:edges AS timestamptz[])) AS n,
       count(*) FILTER (WHERE NOT lost_inside)::integer AS exits, count(*) FILTER (WHERE lost_inside)::integer AS lost,
       avg(dwell_s) AS mean_dwell_s, max(dwell_s) AS max_dwell_s
FROM analytics.visits
WHERE camera_id = ANY(:camera_ids) AND (:zone_id = '' OR zone_id = :zone_id)
  AND t >= :start AND t < :end AND NOT fenced
GROUP BY camera_id, zone_id, n
