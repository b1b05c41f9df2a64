-- name: flows
-- Objects by the first and the last line or zone that they met. An object belongs to the span that holds its last meeting.
-- `since` and `until` lie an hour before and after the span, so that all meetings of an object near its ends are found.
WITH met AS (
    SELECT epoch, run, track, t AS met_at, t AS left_at, class_name,
           ('line:' || line_id || ':' || direction::text) COLLATE "C" AS name
    FROM analytics.crossings
    WHERE camera_id = :camera_id AND t >= :since AND t < :until AND NOT fenced
    UNION ALL
    SELECT epoch, run, track, entered_at, t, class_name, ('zone:' || zone_id) COLLATE "C"
    FROM analytics.visits
    WHERE camera_id = :camera_id AND entered_at >= :since AND entered_at < :until AND t >= :since AND NOT fenced
),
ways AS (
    SELECT count(*) AS meetings, max(met_at) AS reached_at,
           (array_agg(name ORDER BY met_at, name))[1] AS origin,
           (array_agg(left_at ORDER BY met_at, name, left_at))[1] AS left_at,
           (array_agg(name ORDER BY met_at DESC, name DESC))[1] AS destination,
           (array_agg(class_name ORDER BY met_at DESC, name DESC, left_at DESC))[1] AS class_name
    FROM met
    GROUP BY epoch, run, track
)
SELECT CASE WHEN meetings > 1 THEN origin ELSE '' END AS origin, destination, class_name,
       count(*)::integer AS objects,
       CAST(avg(greatest(0, extract(epoch FROM reached_at - left_at))) FILTER (WHERE meetings > 1) AS double precision)
           AS mean_s
FROM ways
WHERE reached_at >= :start AND reached_at < :end
GROUP BY 1, destination, class_name
ORDER BY 1, destination, class_name
LIMIT :limit
