DROP TABLE demand_forecasts;
DROP TABLE demand_counts;
DROP TABLE demand_quarters;
