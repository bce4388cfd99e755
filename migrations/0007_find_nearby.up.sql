-- For operators' SQL and reports; the live map never asks it.
--
-- Approved drivers who work and have no trip, by their newest stored position, nearest first: some
-- seconds behind the live map, and whoever holds an offer or rests counts as free here. Metres on the
-- live map's sphere (haversine), so that both say the same, on any PostgreSQL, with PostGIS or without.
-- A box of plain numbers goes first. An index of places would have to be written with every position
-- and would end the table's HOT updates; a scan of 100 000 rows takes some milliseconds.
CREATE FUNCTION find_nearby_drivers(
  p_lat           double precision,
  p_lng           double precision,
  p_radius_meters integer DEFAULT 5000,
  p_limit         integer DEFAULT 50,
  p_fresh         interval DEFAULT '60 seconds'
) RETURNS TABLE (
  driver_id       uuid,
  distance_meters double precision,
  current_lat     double precision,
  current_lng     double precision,
  vehicle_type    text,
  rating          numeric
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
  WITH circle AS (
    SELECT a.angle, degrees(a.angle) * 1.001 AS tall,
           -- Meridians close in towards the poles; a circle around one has every longitude.
           CASE WHEN abs(p_lat) + degrees(a.angle) * 1.001 < 90
             THEN degrees(asin(least(1, sin(a.angle) / cos(radians(p_lat))))) * 1.001
             ELSE 180 END AS wide
    FROM (SELECT p_radius_meters / 6371008.8) a (angle)
  ), near AS (
    SELECT l.driver_id, l.lat, l.lng,
           2 * 6371008.8 * asin(least(1, sqrt(
             sin(radians(l.lat - p_lat) / 2) ^ 2
             + cos(radians(p_lat)) * cos(radians(l.lat)) * sin(radians(l.lng - p_lng) / 2) ^ 2
           ))) AS metres
    FROM driver_latest l, circle c
    WHERE l.lat BETWEEN p_lat - c.tall AND p_lat + c.tall
      AND least(abs(l.lng - p_lng), 360 - abs(l.lng - p_lng)) <= c.wide
      AND l.recorded_at > now() - p_fresh
  )
  SELECT n.driver_id, n.metres, n.lat, n.lng, v.tier,
         CASE WHEN u.rating_count > 0 THEN round(u.rating_sum::numeric / u.rating_count, 2)
              ELSE 5 END
  FROM near n
  JOIN drivers d ON d.id = n.driver_id AND d.status = 'approved' AND d.wants_online
  JOIN vehicles v ON v.driver_id = n.driver_id
  JOIN users u ON u.id = n.driver_id
  WHERE n.metres <= p_radius_meters
    AND NOT EXISTS (
      SELECT FROM trips t
      WHERE t.driver_id = n.driver_id AND t.status IN ('accepted', 'arrived', 'started'))
  ORDER BY n.metres, n.driver_id
  LIMIT p_limit
$$;

-- Whoever may call it sees every driver: an operators' role is given it by name.
REVOKE ALL ON FUNCTION find_nearby_drivers FROM PUBLIC;
