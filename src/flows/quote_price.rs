//! What a trip would cost and when a car would come.

use ::promo::{self, Credit, Fare};
use base::{CityId, Fault, Millis, Point, Problem, Tier, UserId};
use pricing::{Ask, Asker, EstimatePromo, EstimateReply, SurgeZone};
use routing::Route;
use storage::Who;
use tracing::debug;

use crate::Flows;

/// Most stops between pickup and destination.
pub(crate) const STOPS_MAX: usize = 5;

/// A question for prices.
#[derive(Clone, Debug)]
pub struct EstimateRequest {
    pub pickup: Point,
    pub destination: Point,
    pub stops: Vec<Point>,
    /// Empty: every tier.
    pub tiers: Vec<Tier>,
    /// The moment of the pickup; none: at once.
    pub pickup_at: Option<Millis>,
}

impl Flows {
    /// Prices and arrival times for every tier asked for; only `asker` may use the quotes. A pickup
    /// that is not served is refused here already, so that nobody is quoted a trip that can't be
    /// booked.
    pub async fn estimate(
        &self,
        asker: Asker,
        ask: EstimateRequest,
    ) -> Result<EstimateReply, Problem> {
        let now = self.clock.now();
        self.check_moment(ask.pickup_at, now)?;
        let city = self.fleet.pickup_allowed(ask.pickup)?;
        let at = ask.pickup_at.unwrap_or(now);
        let route = self.route(ask.pickup, &ask.stops, ask.destination, at).await?;
        let tiers = if ask.tiers.is_empty() { Tier::ALL.to_vec() } else { ask.tiers.clone() };
        let etas: Vec<(Tier, Option<u32>)> =
            tiers.iter().map(|tier| (*tier, self.pickup_eta_s(&ask, *tier, now))).collect();
        let question = Ask {
            asker,
            city: city.id,
            time_zone: &city.time_zone,
            pickup: ask.pickup,
            destination: ask.destination,
            stops: &ask.stops,
            pickup_at: ask.pickup_at,
            route: &route,
            tiers: &etas,
        };
        let shown = self.pricing.estimate(&question, now)?;
        if ask.pickup_at.is_none() {
            self.analytics.shown(city.id, shown.surge, now);
        }
        if let Some(arm) = shown.arm {
            self.analytics.exposed(arm, asker.user().as_rider(), now);
        }
        let mut reply = shown.reply;
        self.show_promos(asker.user(), city.id, &mut reply, now).await;
        Ok(reply)
    }

    /// What each tier would cost with the rider's best promo. Prices don't wait for it: where it
    /// can't be read they are shown without.
    async fn show_promos(
        &self,
        rider: UserId,
        city: CityId,
        reply: &mut EstimateReply,
        now: Millis,
    ) {
        let credits = match self.credits(rider, now).await {
            Ok(credits) => credits,
            Err(fault) => return debug!(%fault, "an estimate goes without promos"),
        };
        for estimate in &mut reply.estimates {
            let price = estimate.price;
            let fare = Fare { city, tier: estimate.vehicle_type, price };
            estimate.promo = promo::best(&credits, &fare, now).map(|offer| EstimatePromo {
                promo_id: offer.credit,
                amount: offer.amount,
                price_after: price - offer.amount,
            });
        }
    }

    async fn credits(&self, rider: UserId, now: Millis) -> Result<Vec<Credit>, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        promo::credits_in_tx(&mut tx, rider.as_rider(), now).await
    }

    /// Surge zones around a point; `radius_m` in metres.
    pub fn surge_map(&self, at: Point, radius_m: f64) -> Vec<SurgeZone> {
        self.pricing.surge_map(at, radius_m)
    }

    pub(crate) async fn route(
        &self,
        pickup: Point,
        stops: &[Point],
        destination: Point,
        now: Millis,
    ) -> Result<Route, Problem> {
        if stops.len() > STOPS_MAX {
            return Err(Problem::field("stops", "too_many", "at most 5 stops"));
        }
        Ok(self.router.route(pickup, stops, destination, now).await)
    }

    /// Seconds until the nearest free car that serves `tier` could be at the pickup; nobody knows
    /// who will be near one that is ahead.
    fn pickup_eta_s(&self, ask: &EstimateRequest, tier: Tier, now: Millis) -> Option<u32> {
        if ask.pickup_at.is_some() {
            return None;
        }
        let nearest = self.fleet.nearest_free(ask.pickup, tier, now)?;
        Some(self.router.eta_s(nearest, ask.pickup, now))
    }

    /// Feeds the surge engine with the free drivers of each cell, and notes which surge; called
    /// every few seconds.
    pub fn refresh_surge(&self) {
        let now = self.clock.now();
        let free = self.fleet.free_per_surge_cell(now);
        let available = |cell| free.get(&cell).copied().unwrap_or(0);
        let surging = self.pricing.refresh_surge(available, now);
        let city_of = |at| self.fleet.city_of(at).map(|city| city.id);
        self.analytics.surged(&surging, city_of, now);
    }
}
