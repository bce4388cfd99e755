//! The routes, by area. Each handler says who may call it in its type, and only translates.

mod admin;
mod api_keys;
mod audit;
mod auth;
mod dead_letters;
mod drivers;
mod live;
mod location;
mod notifications;
mod operations;
mod payment;
mod places;
mod pricing;
mod trips;
mod wallet;

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
        .merge(wallet::routes())
        .merge(payment::routes())
        .merge(notifications::routes())
        .merge(admin::routes())
        .merge(api_keys::routes())
        .merge(audit::routes())
        .merge(dead_letters::routes())
        .merge(live::routes())
        .merge(operations::routes())
}
