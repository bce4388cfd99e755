//! The two addresses of a node: the main one for apps, the other for its operators.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::serve::ListenerExt;
use ops::Tasks;
use tokio::net::TcpListener;
use tracing::{info, warn};

/// Binds the main address; a taken port ends the start with a sentence that says what to do.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address}: choose another with SMARTLINE_LISTEN"))
}

/// Serves `router` until the node stops; running requests are finished first.
pub(crate) fn serve(tasks: &Tasks, name: &'static str, listener: TcpListener, router: Router) {
    let stopping = tasks.stopping();
    let listener = listener.tap_io(|stream| realtime::tune_socket(stream));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tasks.spawn(name, async move {
        let stopped = stopping.cancelled_owned();
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stopped).await {
            warn!(%error, "{name} ended");
        }
    });
}

/// Serves metrics and health to operators. A taken port is worth a warning, no more: several nodes
/// may share a machine, and the city must run.
pub(crate) async fn serve_operators(tasks: &Tasks, address: SocketAddr, router: Router) {
    match TcpListener::bind(address).await {
        Ok(listener) => {
            info!(%address, "metrics at http://{address}/metrics");
            serve(tasks, "operators' address", listener, router);
        }
        Err(error) => warn!(%error, %address, "no metrics address: the port is taken"),
    }
}
