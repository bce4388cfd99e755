//! An operator chooses how a city finds drivers, and what runs beside it and is only counted.
//!
//! Searches that run follow at the next tick, unless their request named a strategy; offers that
//! are open end as they would have.

use base::{Caller, CityId, Problem};
use dispatch::{CityDispatchView, ShadowChoice, ShadowView, Strategy};
use events::Once;
use identity::{Audit, AuditObject};
use serde_json::json;
use storage::Who;
use uuid::Uuid;

use crate::Flows;

impl Flows {
    pub async fn city_dispatch(
        &self,
        admin: &Caller,
        city: CityId,
    ) -> Result<CityDispatchView, Problem> {
        self.fleet.city(city).ok_or_else(Problem::not_found)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        Ok(dispatch::choice_in_tx(&mut tx, city).await?.view(self.dispatch.load(city)))
    }

    /// `allowed` stays as it is when absent.
    pub async fn choose_strategy(
        &self,
        admin: &Caller,
        city: CityId,
        strategy: Strategy,
        allowed: Option<&[Strategy]>,
        reason: &str,
        once: Once,
    ) -> Result<CityDispatchView, Problem> {
        if once.applied().is_some() {
            // By an attempt whose answer got lost.
            return self.city_dispatch(admin, city).await;
        }
        self.fleet.city(city).ok_or_else(Problem::not_found)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let before = dispatch::choice_in_tx(&mut tx, city).await?;
        let chosen = (admin.user, self.clock.now());
        let choice = dispatch::choose_in_tx(&mut tx, city, strategy, allowed, chosen).await?;
        let details = json!({"from": before.strategy, "to": choice.strategy,
            "allowed": choice.allowed, "reason": reason});
        let object = AuditObject::new("city", city.0);
        let record = Audit::by(admin, "city.choose_strategy", object).with(details);
        identity::audit_in_tx(&mut tx, &[record]).await?;
        once.mark_in_tx(&mut tx, Uuid::from_u128(u128::from(city.0.unsigned_abs()))).await?;
        tx.commit().await?;
        let view = choice.view(self.dispatch.load(city));
        self.dispatch.adopt(choice);
        Ok(view)
    }

    pub async fn shadow(&self, admin: &Caller, city: CityId) -> Result<ShadowView, Problem> {
        self.fleet.city(city).ok_or_else(Problem::not_found)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let choice = dispatch::shadow_of_in_tx(&mut tx, city).await?;
        Ok(self.shadow_view(city, choice))
    }

    fn shadow_view(&self, city: CityId, choice: Option<ShadowChoice>) -> ShadowView {
        ShadowView {
            city_id: city,
            strategy: choice.and_then(|choice| choice.strategy),
            changed_at: choice.map(|choice| choice.at),
            changed_by: choice.map(|choice| choice.by),
            counts: self.dispatch.shadow_counts(city),
        }
    }

    /// None ends it.
    pub async fn choose_shadow(
        &self,
        admin: &Caller,
        city: CityId,
        strategy: Option<Strategy>,
        reason: &str,
        once: Once,
    ) -> Result<ShadowView, Problem> {
        if once.applied().is_some() {
            return self.shadow(admin, city).await;
        }
        self.fleet.city(city).ok_or_else(Problem::not_found)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let choice = ShadowChoice { city, strategy, at: self.clock.now(), by: admin.user };
        dispatch::shadow_in_tx(&mut tx, &choice).await?;
        let details = json!({"strategy": strategy, "reason": reason});
        let object = AuditObject::new("city", city.0);
        let record = Audit::by(admin, "city.choose_shadow", object).with(details);
        identity::audit_in_tx(&mut tx, &[record]).await?;
        once.mark_in_tx(&mut tx, Uuid::from_u128(u128::from(city.0.unsigned_abs()))).await?;
        tx.commit().await?;
        self.dispatch.load_choices().await?;
        Ok(self.shadow_view(city, Some(choice)))
    }
}
