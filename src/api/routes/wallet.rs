//! `/wallet`: the caller's money.

use axum::extract::State;
use flows::Flows;
use ledger::{TransactionsPage, WalletView};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, PageAsked};
use crate::callers::Member;
use crate::envelope::Success;
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(wallet)).routes(routes!(transactions))
}

/// What the caller has, holds and owes. Riders and drivers.
#[utoipa::path(
    get, path = "/wallet", tag = "wallet",
    responses((status = 200, body = Success<'static, WalletView>)),
    security(("bearer" = []))
)]
async fn wallet(Member(caller): Member, State(flows): State<Flows>) -> Answer<WalletView> {
    Ok(Reply::ok(flows.wallet(&caller).await?))
}

/// What moved on the caller's wallet, newest first. Riders and drivers.
#[utoipa::path(
    get, path = "/wallet/transactions", tag = "wallet", params(PageAsked),
    responses((status = 200, body = Success<'static, TransactionsPage>)),
    security(("bearer" = []))
)]
async fn transactions(
    Member(caller): Member,
    State(flows): State<Flows>,
    Asked(page): Asked<PageAsked>,
) -> Answer<TransactionsPage> {
    Ok(Reply::ok(flows.transactions(&caller, page.after(), page.limit()).await?))
}
