//! The routes, by area. Each handler says who may call it in its type, and only translates.

mod acts;
mod admin;
mod api_keys;
mod audit;
mod auth;
mod bids;
mod books;
mod cities;
mod dead_letters;
mod demand;
mod disputes;
mod drivers;
mod experiments;
mod fences;
mod fraud;
mod live;
mod location;
mod notifications;
mod operations;
mod payment;
mod places;
mod pricing;
mod promo;
mod rulebook;
mod suspense;
mod trips;
mod wallet;
mod withdrawals;

use flows::Flows;
use utoipa_axum::router::OpenApiRouter;

/// Every route of version 1, without its prefix.
pub(crate) fn all() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .merge(auth::routes())
        .merge(drivers::routes())
        .merge(location::routes())
        .merge(pricing::routes())
        .merge(trips::routes())
        .merge(bids::routes())
        .merge(wallet::routes())
        .merge(payment::routes())
        .merge(promo::routes())
        .merge(rulebook::routes())
        .merge(fences::routes())
        .merge(withdrawals::routes())
        .merge(disputes::routes())
        .merge(books::routes())
        .merge(notifications::routes())
        .merge(admin::routes())
        .merge(cities::routes())
        .merge(acts::routes())
        .merge(suspense::routes())
        .merge(api_keys::routes())
        .merge(audit::routes())
        .merge(dead_letters::routes())
        .merge(fraud::routes())
        .merge(live::routes())
        .merge(demand::routes())
        .merge(experiments::routes())
        .merge(operations::routes())
}
