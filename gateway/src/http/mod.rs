//! The HTTP door: what the server is, whether it is well, and its catalogs by the Iceberg REST protocol.

mod health;
mod iceberg;
mod info;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::routing::{any, get};
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
    rest_tokens: Arc<[String]>,
}

/// Answers on `listener` until `shutdown`, and then until the calls under way have ended. `rest_tokens` are those of the clients of catalogs.
pub(crate) async fn serve(listener: TcpListener, coordinator: Coordinator, rest_tokens: Vec<String>, shutdown: CancellationToken) -> Result<()> {
    let listener = listener.tap_io(|stream| {
        // A connection without it is slower, and that is all.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    axum::serve(listener, router(State { coordinator, started: Instant::now(), rest_tokens: rest_tokens.into() }))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(|error| Error::internal("the HTTP server failed").with_source(error))
}

fn router(state: State) -> Router {
    Router::new()
        .route("/v1/info", get(info::get))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/iceberg", any(iceberg::serve))
        .route("/iceberg/", any(iceberg::serve))
        .route("/iceberg/{*path}", any(iceberg::serve))
        .with_state(state)
}
