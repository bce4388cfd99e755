//! How an experiment goes: per variant what its riders did, and how that differs from the control.
//!
//! Everything is per rider who saw prices of his variant (or booked by it): riders were drawn, so
//! riders are what can be compared. `found` and the waits are per request; one rider's requests
//! resemble each other, so where few riders ask often their intervals are somewhat too narrow.

use base::Millis;
use pricing::ExperimentView;
use serde::Serialize;
use utoipa::ToSchema;

use crate::stats::{Share, Span, Sums};

/// What was counted of a variant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    pub riders: u64,
    pub rider_days: u64,
    pub booked: u64,
    pub completed: u64,
    pub requests: u64,
    pub trips: u64,
    /// Requests that came to an end of their search, and those of them that found a driver.
    pub decided: u64,
    pub found: u64,
    /// Piasters, per rider.
    pub revenue: Sums,
    pub commission: Sums,
    /// Seconds from the request to the driver at the pickup, per trip.
    pub wait: Sums,
}

/// How an experiment goes, or went.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentResults {
    pub experiment: ExperimentView,
    /// When this was counted. What was shown in the last seconds may be missing.
    pub as_of: Millis,
    /// In the experiment's order: the first one is the control.
    pub variants: Vec<VariantResults>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VariantResults {
    pub name: String,
    /// Who saw prices of the variant, or booked by it.
    pub riders: u64,
    /// Days on which they saw them, summed over riders.
    pub rider_days: u64,
    pub requests: u64,
    pub completed_trips: u64,
    /// Riders who booked.
    pub booked: RateView,
    /// Riders who rode to the end of a trip.
    pub completed: RateView,
    /// Searches for a driver that found one, of those that are over.
    pub found: RateView,
    /// Final prices of completed trips per rider, EGP.
    pub revenue: MeanView,
    /// The company's part of it, EGP.
    pub commission: MeanView,
    /// Seconds from the request to the driver at the pickup.
    pub pickup_wait: MeanView,
    /// None for the control itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against_control: Option<AgainstControl>,
}

/// The variant less the control. Where the interval holds 0, nothing is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgainstControl {
    pub booked: RateDifference,
    pub completed: RateDifference,
    pub found: RateDifference,
    pub revenue: MeanDifference,
    pub commission: MeanDifference,
    pub pickup_wait: MeanDifference,
}

/// A share, with the 95 % interval by Wilson.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct RateView {
    pub count: u64,
    pub of: u64,
    /// Null of nothing.
    pub rate: Option<f64>,
    pub interval: Option<Interval>,
}

/// A mean, with the 95 % interval by Student's t.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct MeanView {
    /// How many values.
    pub of: u64,
    pub mean: Option<f64>,
    /// Null of fewer than three values.
    pub interval: Option<Interval>,
}

/// A difference of shares, with the 95 % interval by Newcombe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct RateDifference {
    pub difference: Option<f64>,
    pub interval: Option<Interval>,
}

/// A difference of means, with the 95 % interval by Welch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct MeanDifference {
    pub difference: Option<f64>,
    /// Null where one of them has fewer than three values.
    pub interval: Option<Interval>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Compares what was counted, variant by variant.
pub(crate) fn compared(
    experiment: ExperimentView,
    counted: &[Counted],
    now: Millis,
) -> ExperimentResults {
    let control = counted.first().copied().unwrap_or_default();
    let named = experiment.variants.iter().zip(counted).enumerate();
    let variants = named.map(|(place, (variant, counted))| {
        let against = (place > 0).then(|| against(counted, &control));
        of_variant(variant.name.clone(), counted, against)
    });
    let variants = variants.collect();
    ExperimentResults { experiment, as_of: now, variants }
}

fn of_variant(
    name: String,
    counted: &Counted,
    against_control: Option<AgainstControl>,
) -> VariantResults {
    VariantResults {
        name,
        riders: counted.riders,
        rider_days: counted.rider_days,
        requests: counted.requests,
        completed_trips: counted.trips,
        booked: rate(counted.booked()),
        completed: rate(counted.completed()),
        found: rate(counted.found()),
        revenue: mean(pounds(counted.revenue)),
        commission: mean(pounds(counted.commission)),
        pickup_wait: mean(counted.wait),
        against_control,
    }
}

fn against(variant: &Counted, control: &Counted) -> AgainstControl {
    let rates = |of: fn(&Counted) -> Share| {
        let found = of(variant).minus(of(control));
        RateDifference {
            difference: found.map(|(difference, _)| rounded(difference, 6)),
            interval: found.map(|(_, span)| interval(span, 6)),
        }
    };
    let means = |of: fn(&Counted) -> Sums| {
        let found = of(variant).minus(of(control));
        MeanDifference {
            difference: found.map(|(difference, _)| rounded(difference, 4)),
            interval: found.and_then(|(_, span)| span).map(|span| interval(span, 4)),
        }
    };
    AgainstControl {
        booked: rates(Counted::booked),
        completed: rates(Counted::completed),
        found: rates(Counted::found),
        revenue: means(|counted| pounds(counted.revenue)),
        commission: means(|counted| pounds(counted.commission)),
        pickup_wait: means(|counted| counted.wait),
    }
}

impl Counted {
    const fn booked(&self) -> Share {
        Share { count: self.booked, of: self.riders }
    }

    const fn completed(&self) -> Share {
        Share { count: self.completed, of: self.riders }
    }

    const fn found(&self) -> Share {
        Share { count: self.found, of: self.decided }
    }
}

fn rate(share: Share) -> RateView {
    let interval = share.span().map(|span| interval(span, 6));
    let rate = share.value().map(|value| rounded(value, 6));
    RateView { count: share.count, of: share.of, rate, interval }
}

fn mean(sums: Sums) -> MeanView {
    let interval = sums.span().map(|span| interval(span, 4));
    MeanView { of: sums.n, mean: sums.mean().map(|mean| rounded(mean, 4)), interval }
}

/// Estimates are no amounts: they may have more than two decimals.
fn pounds(piasters: Sums) -> Sums {
    let Sums { n, sum, squares } = piasters;
    Sums { n, sum: sum / 100.0, squares: squares / 10_000.0 }
}

fn interval(span: Span, decimals: i32) -> Interval {
    Interval { low: rounded(span.low, decimals), high: rounded(span.high, decimals) }
}

pub(crate) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}
