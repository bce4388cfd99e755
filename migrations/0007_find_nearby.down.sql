DROP FUNCTION find_nearby_drivers;
