DROP FUNCTION experiment_book;
DROP TABLE surge_episodes, price_shown, experiment_trips, experiment_exposures, pricing_experiments;
DROP FUNCTION pricing_experiments_guard, experiment_variants_fit;
-- What was recorded of experiments stays written, and the record is only added to: the rule is put
-- back for what comes.
ALTER TABLE city_changes DROP CONSTRAINT change_subject_is_known,
  ADD CONSTRAINT change_subject_is_known
    CHECK (subject IN ('tariff', 'hours', 'event', 'fence')) NOT VALID;
