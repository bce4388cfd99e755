DROP TABLE city_shadows;
