//! The HTTP door: what the server is, and whether it is well.

mod health;
mod info;

use std::time::Instant;

use axum::Router;
use axum::routing::get;
use axum::serve::ListenerExt;
use nunatak_coordinator::query::Coordinator;
use nunatak_core::{Error, Result};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What handlers know.
#[derive(Clone)]
struct State {
    coordinator: Coordinator,
    started: Instant,
}

/// Answers on `listener` until `shutdown`, and then until the calls under way have ended.
pub(crate) async fn serve(listener: TcpListener, coordinator: Coordinator, shutdown: CancellationToken) -> Result<()> {
    let listener = listener.tap_io(|stream| {
        // A connection without it is slower, and that is all.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    axum::serve(listener, router(coordinator))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(|error| Error::internal("the HTTP server failed").with_source(error))
}

fn router(coordinator: Coordinator) -> Router {
    Router::new()
        .route("/v1/info", get(info::get))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(State { coordinator, started: Instant::now() })
}
