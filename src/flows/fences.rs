//! Operators draw a city's fences: where it is served and where not, airports, surge zones.

use base::{BasisPoints, Caller, CityId, Code, Cursor, Point, Problem};
use events::Once;
use fleet::{FenceForm, FenceView, FencesPage, NewFence};
use geo::FenceKind;
use pricing::Factor;
use serde_json::{Value, json};
use storage::Who;
use uuid::Uuid;

use crate::Flows;
use crate::rulebook::{Change, too_many};

/// A fence as an admin draws it, checked in form.
#[derive(Clone, Debug)]
pub struct FenceRequest {
    pub kind: FenceKind,
    pub name: String,
    pub corners: Vec<Point>,
    /// Of a surge zone, and of nothing else.
    pub multiplier: Option<Factor>,
}

impl Flows {
    /// The newest first, disabled ones too.
    pub async fn fences(
        &self,
        admin: &Caller,
        city: CityId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<FencesPage, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        Ok(fleet::fences_in_tx(&mut tx, city, after, limit).await?)
    }

    pub async fn add_fence(
        &self,
        admin: &Caller,
        city: CityId,
        asked: FenceRequest,
        reason: &str,
        once: Once,
    ) -> Result<FenceView, Problem> {
        let kind = asked.kind;
        let form = self.fence_form(city, asked)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if let Some(id) = once.applied() {
            // By an attempt whose answer got lost.
            let made = fleet::fence_in_tx(&mut tx, id).await?;
            return made.ok_or_else(Problem::not_found);
        }
        let new = NewFence { id: Uuid::now_v7(), city, kind, form, at: self.clock.now() };
        tx.because(reason).await?;
        let made = fleet::fence_add_in_tx(&mut tx, &new).await?;
        let made = made.ok_or_else(|| too_many("a city has at most 300 in force"))?;
        tx.rings(pricing::RULES);
        let change = Change { action: "fence.add", id: new.id, details: said(&made, reason) };
        self.settle_change(tx, admin, change, once).await?;
        Ok(made)
    }

    /// Draws a fence anew; its kind stays.
    pub async fn change_fence(
        &self,
        admin: &Caller,
        id: Uuid,
        asked: FenceRequest,
        reason: &str,
        once: Once,
    ) -> Result<FenceView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let fence = fleet::fence_lock_in_tx(&mut tx, id).await?;
        let fence = fence.ok_or_else(Problem::not_found)?;
        if once.applied().is_some() {
            return Ok(fence);
        }
        if fence.disabled_at.is_some() {
            return Err(disabled());
        }
        if asked.kind != fence.kind {
            let text = "stays what it is: draw another fence";
            return Err(Problem::field("kind", "fixed", text));
        }
        let form = self.fence_form(fence.city_id, asked)?;
        tx.because(reason).await?;
        let changed = fleet::fence_change_in_tx(&mut tx, id, &form).await?;
        tx.rings(pricing::RULES);
        let details = said(&changed, reason);
        let change = Change { action: "fence.change", id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(changed)
    }

    /// It means nothing from now on.
    pub async fn disable_fence(
        &self,
        admin: &Caller,
        id: Uuid,
        reason: &str,
        once: Once,
    ) -> Result<FenceView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let fence = fleet::fence_lock_in_tx(&mut tx, id).await?;
        let fence = fence.ok_or_else(Problem::not_found)?;
        if once.applied().is_some() {
            return Ok(fence);
        }
        if fence.disabled_at.is_some() {
            return Err(disabled());
        }
        tx.because(reason).await?;
        let over = fleet::fence_disable_in_tx(&mut tx, id, self.clock.now()).await?;
        tx.rings(pricing::RULES);
        let details = said(&over, reason);
        let change = Change { action: "fence.disable", id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(over)
    }

    fn fence_form(&self, city: CityId, asked: FenceRequest) -> Result<FenceForm, Problem> {
        let outline = self.outline_in(city, asked.corners)?;
        let wrong = |code, text| Err(Problem::field("multiplier", code, text));
        match (asked.kind, asked.multiplier) {
            (FenceKind::Surge, None) => wrong("required", "a surge zone has one"),
            (FenceKind::Surge, Some(_)) | (_, None) => {
                let multiplier = asked.multiplier.map(|factor| BasisPoints(factor.0.into()));
                Ok(FenceForm { name: asked.name, outline, multiplier })
            }
            (_, Some(_)) => wrong("not_allowed", "only a surge zone has one"),
        }
    }
}

fn disabled() -> Problem {
    Problem::new(Code::InvalidTransition, "it is disabled: draw another one")
}

fn said(fence: &FenceView, reason: &str) -> Value {
    json!({
        "city": fence.city_id, "kind": fence.kind, "name": fence.name,
        "corners": fence.corners.len(), "multiplier": fence.multiplier, "reason": reason,
    })
}
