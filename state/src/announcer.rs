//! Says again and again that a member is there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nunatak_core::{Code, Error, Result};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::{Announcements, Member};

/// The time between two announcements: a few of them may be lost before a lease ends.
const INTERVAL: Duration = Duration::from_secs(1);

/// Announces a member until it is dropped.
#[derive(Debug)]
pub struct Announcer {
    id: String,
    announcements: Arc<dyn Announcements>,
    draining: Arc<AtomicBool>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Announcer {
    /// Starts to announce `member`; returns once it was taken, however long that takes.
    ///
    /// Errors: `CONFIGURATION_INVALID` if it is refused.
    pub async fn start(announcements: Arc<dyn Announcements>, member: Member) -> Result<Self> {
        let draining = Arc::new(AtomicBool::new(false));
        let (joined, has_joined) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let id = member.id().to_owned();
        let announcing = announce(Arc::clone(&announcements), member, Arc::clone(&draining), joined);
        let failed = |error: std::io::Error| Error::internal(format!("a thread cannot be started: {error}"));
        // A thread of its own: queries that keep all others busy must not cost the lease.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let work = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = announcing => {}
                    _ = stopped => {}
                }
            });
        };
        std::thread::Builder::new().name("announce".to_owned()).spawn(work).map_err(failed)?;
        let announcer = Self { id, announcements, draining, stop: Mutex::new(Some(stop)) };
        has_joined.await.map_err(|_| Error::internal("the thread that announces this member has ended"))??;
        Ok(announcer)
    }

    /// Says from now on that an executor takes nothing new.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Ends the membership.
    pub async fn leave(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Err(error) = self.announcements.leave(&self.id).await {
            warn!(%error, "the cluster could not be told that this member leaves");
        }
    }
}

async fn announce(announcements: Arc<dyn Announcements>, mut member: Member, draining: Arc<AtomicBool>, joined: oneshot::Sender<Result<()>>) {
    let mut joined = Some(joined);
    let mut reached = true;
    loop {
        if let Member::Executor(executor) = &mut member {
            executor.draining = draining.load(Ordering::Acquire);
        }
        match announcements.announce(member.clone()).await {
            Ok(()) => {
                if let Some(joined) = joined.take() {
                    // Nobody listens only when the process is about to end.
                    let _ = joined.send(Ok(()));
                }
                if !reached {
                    info!("the cluster is back");
                }
                reached = true;
            }
            Err(error) => {
                // Who has been a member goes on to be one when it is let in again; who has never been learns what is wrong.
                if error.code() == Code::ConfigurationInvalid
                    && let Some(joined) = joined.take()
                {
                    let _ = joined.send(Err(error));
                    return;
                }
                if reached {
                    warn!(%error, "the cluster cannot be reached; trying again");
                }
                reached = false;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
