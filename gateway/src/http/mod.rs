//! The HTTP door: what the server is, whether it is well, statements by the protocol of Trino's clients, and its catalogs by the Iceberg REST protocol.

mod connections;
mod health;
mod iceberg;
mod info;
mod trino;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::{any, get};
use axum::serve::ListenerExt;
use nunatak_coordinator::query::Coordinator;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What handlers know.
#[derive(Clone)]
struct State {
    coordinator: Coordinator,
    started: Instant,
    rest_tokens: Arc<[String]>,
    trino: trino::Trino,
}

/// How the door is set up.
pub(crate) struct Options {
    /// The tokens of the clients of catalogs.
    pub(crate) rest_tokens: Vec<String>,
    /// A query of Trino's clients whose results nobody has asked for in this time is cancelled.
    pub(crate) client_timeout: Duration,
}

/// Answers on `listener` until `shutdown`, and then until the calls under way have ended.
pub(crate) async fn serve(listener: TcpListener, coordinator: Coordinator, options: Options, shutdown: CancellationToken) {
    let listener = listener.tap_io(|stream| {
        // A connection without it is slower, and that is all.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let trino = trino::Trino::start(coordinator.clone(), options.client_timeout, shutdown.clone());
    let state = State { coordinator, started: Instant::now(), rest_tokens: options.rest_tokens.into(), trino };
    connections::serve(listener, router(state), shutdown).await;
}

fn router(state: State) -> Router {
    Router::new()
        .route("/v1/info", get(info::get))
        .route("/v1/info/state", get(trino::state))
        .route("/v1/statement", any(trino::serve))
        .route("/v1/statement/{*path}", any(trino::serve))
        .route("/v1/query", any(trino::serve))
        .route("/v1/query/{*path}", any(trino::serve))
        .route("/v1/spooled/{*path}", any(trino::serve))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/iceberg", any(iceberg::serve))
        .route("/iceberg/", any(iceberg::serve))
        .route("/iceberg/{*path}", any(iceberg::serve))
        .with_state(state)
}
