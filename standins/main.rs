//! `gateway-standin`: a payment gateway and a bank without money, for demos and load tests.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Parser;
use standins::{Bank, Credentials, Gateway};
use tokio::net::TcpListener;

/// Stands in for Kashier on this machine: sessions, notices, lookups, refunds and a page to pay on.
/// Point the server's KASHIER_API_URL and KASHIER_FEP_URL to it. With a payout key it pays
/// withdrawals out too: point PAYOUT_URL to it.
#[derive(Parser)]
#[command(name = "gateway-standin", version)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9470")]
    listen: SocketAddr,
    /// The merchant it knows.
    #[arg(long, env = "KASHIER_MERCHANT_ID", default_value = "MID-123-456")]
    merchant: String,
    /// The key it signs with.
    #[arg(long, env = "KASHIER_API_KEY", hide_env_values = true)]
    api_key: String,
    /// The key it wants to be shown.
    #[arg(long, env = "KASHIER_SECRET_KEY", hide_env_values = true)]
    secret_key: String,
    /// The key that it wants to be shown with payouts.
    #[arg(long, env = "PAYOUT_API_KEY", hide_env_values = true)]
    payout_key: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Args { listen, merchant, api_key, secret_key, payout_key } = Args::parse();
    let listener = TcpListener::bind(listen).await.with_context(|| format!("{listen}"))?;
    let url = format!("http://{}", listener.local_addr()?);
    let bank = payout_key.map(|key| Bank::new(url.clone(), &key, ""));
    let gateway = Gateway::new(Credentials { merchant, api_key, secret_key }, url);
    eprintln!("gateway-standin: ready at {}", gateway.url());
    let mut router = gateway.router();
    if let Some(bank) = bank {
        bank.ends("paid");
        router = router.merge(bank.router());
    }
    axum::serve(listener, router).await.context("serving")
}
