//! Deletes the segments of spooled results that nobody has fetched in their time, those of coordinators that are gone too.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::query::Coordinator;

/// How often it is looked, within the time that segments have.
const LOOKS_PER_TTL: u32 = 4;
const INTERVAL_MIN: Duration = Duration::from_millis(500);
const INTERVAL_MAX: Duration = Duration::from_secs(5 * 60);

/// Looks for old segments until `shutdown`, while the coordinator leads the cluster. Ends at once where nothing is spooled.
pub async fn run(coordinator: Coordinator, shutdown: CancellationToken) {
    let Some(spool) = coordinator.spool().cloned() else { return };
    let interval = (spool.settings().ttl / LOOKS_PER_TTL).clamp(INTERVAL_MIN, INTERVAL_MAX);
    let mut first = true;
    loop {
        // What is left from before is deleted soon after the start.
        let wait = if std::mem::take(&mut first) { INTERVAL_MIN } else { interval };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        if coordinator.term().is_none() {
            continue;
        }
        let swept = tokio::select! {
            () = shutdown.cancelled() => return,
            swept = spool.sweep(SystemTime::now()) => swept,
        };
        match swept {
            Ok(0) => {}
            Ok(segments) => info!(segments, "segments of spooled results are deleted: nobody has fetched them in time"),
            Err(error) => warn!(%error, "old segments of spooled results cannot be deleted; they are looked for again"),
        }
    }
}
