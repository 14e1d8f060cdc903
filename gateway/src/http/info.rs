//! `GET /v1/info`: the server's version and state, in the shape of Trino's.

use std::time::Duration;

use axum::Json;
use axum::extract;
use serde::Serialize;

use super::State;

/// Trino names an installation so; a configured name will take its place.
const ENVIRONMENT: &str = "nunatak";

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info {
    node_version: NodeVersion,
    environment: &'static str,
    coordinator: bool,
    starting: bool,
    uptime: String,
}

#[derive(Serialize)]
struct NodeVersion {
    version: &'static str,
}

/// The handler.
pub(super) async fn get(extract::State(state): extract::State<State>) -> Json<Info> {
    Json(Info {
        node_version: NodeVersion { version: env!("CARGO_PKG_VERSION") },
        environment: ENVIRONMENT,
        coordinator: true,
        starting: !state.coordinator.is_ready(),
        uptime: succinct(state.started.elapsed()),
    })
}

/// A duration as Trino's clients read it: two decimals of the largest unit that has a whole one.
fn succinct(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let units = [("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6)];
    match units.into_iter().find(|(_, length)| seconds >= *length) {
        Some((unit, length)) => format!("{:.2}{unit}", seconds / length),
        None => format!("{:.2}ns", seconds * 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_succinct() {
        let cases = [(Duration::ZERO, "0.00ns"), (Duration::from_millis(15), "15.00ms"), (Duration::from_secs(90), "1.50m")];
        for (duration, text) in cases {
            assert_eq!(succinct(duration), text);
        }
    }
}
