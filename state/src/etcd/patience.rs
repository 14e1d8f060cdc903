//! What a process that starts does while etcd does not answer yet: it was started with it, or its servers choose a leader. It asks again for a while. What does not pass by
//! itself, such as a wrong password, ends it at once.

use std::time::{Duration, Instant};

use nunatak_core::config::Etcd;
use nunatak_core::units::HumanDuration;
use nunatak_core::{Code, Result};
use tracing::{info, warn};

/// The pause before it is asked again: the first one, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often it is said that it is waited for.
const TELL: Duration = Duration::from_secs(5);

/// What `start` gives once etcd answers; it is tried again while it does not, for [`Etcd::start_wait`].
///
/// Errors: those of `start`; `CLUSTER_STATE_UNAVAILABLE` when the time is over.
pub(super) async fn until_answered<T, W: Future<Output = Result<T>>>(etcd: &Etcd, start: impl Fn() -> W) -> Result<T> {
    let begin = Instant::now();
    let (mut pause, mut told) = (PAUSE_MIN, None::<Instant>);
    loop {
        let error = match start().await {
            Err(error) if error.code() == Code::ClusterStateUnavailable => error,
            started => {
                if started.is_ok() && told.is_some() {
                    info!("etcd answers");
                }
                return started;
            }
        };
        let left = etcd.start_wait.saturating_sub(begin.elapsed());
        if left < pause {
            return Err(error);
        }
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            warn!(%error, "waiting for etcd; this process ends if it does not answer within {}", HumanDuration(Duration::from_secs(left.as_secs().max(1))));
            told = Some(Instant::now());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
