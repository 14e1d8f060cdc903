//! The connections of the HTTP door. `axum::serve` does not let one say how many headers a request may have.

use axum::Router;
use axum::serve::Listener;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

/// The most headers of a request; what has more is refused (431). Trino's clients send one for each prepared statement that they have.
const HEADERS_MAX: usize = 2_000;

/// Answers on `listener` until `shutdown`, and then until the calls under way have ended.
pub(super) async fn serve(mut listener: impl Listener, router: Router, shutdown: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_headers(HEADERS_MAX);
    let open = GracefulShutdown::new();
    while let Some((stream, _)) = shutdown.run_until_cancelled(listener.accept()).await {
        let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone())).into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection has failed");
            }
        });
    }
    open.shutdown().await;
}
