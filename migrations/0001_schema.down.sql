DROP TABLE event_multipliers, time_multipliers, tariffs, geofences, trip_tracks, driver_history,
  driver_latest, outbox, event_store, dispatch_trace, trip_offers, trips, driver_documents, vehicles,
  drivers, sessions, users, cities;
