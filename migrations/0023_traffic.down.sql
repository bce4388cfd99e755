DROP TABLE traffic_factors;
