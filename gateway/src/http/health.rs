//! `/health`: what an orchestrator asks before it restarts a server or sends it traffic.

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use serde::Serialize;

use super::State;

/// The answer to both questions.
#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
}

/// The process answers.
pub(super) async fn live() -> Json<Health> {
    Json(Health { status: "live" })
}

/// Statements can be run.
pub(super) async fn ready(extract::State(state): extract::State<State>) -> (StatusCode, Json<Health>) {
    if state.coordinator.is_ready() {
        (StatusCode::OK, Json(Health { status: "ready" }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "starting" }))
    }
}
