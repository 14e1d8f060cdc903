//! Says again and again that a member is there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nunatak_core::{Code, Error, Result};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::{Announcements, Member, threads};

/// The time between two announcements: a few of them may be lost before a lease ends.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often it is said why a member is not let in: nobody else can tell.
const TELL: Duration = Duration::from_secs(5);

/// Announces a member until it is dropped.
#[derive(Debug)]
pub struct Announcer {
    id: String,
    announcements: Arc<dyn Announcements>,
    draining: Arc<AtomicBool>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
}

impl Announcer {
    /// Starts to announce `member`; returns once it was taken: within `wait_max`, or however long that takes.
    ///
    /// Errors: `CONFIGURATION_INVALID` if it is refused, the error of the last announcement when the time is over.
    pub async fn start(announcements: Arc<dyn Announcements>, member: Member, wait_max: Option<Duration>) -> Result<Self> {
        let draining = Arc::new(AtomicBool::new(false));
        let (joined, has_joined) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let id = member.id().to_owned();
        let announcing = announce(Arc::clone(&announcements), member, Arc::clone(&draining), Joining { joined, begun: Instant::now(), wait_max });
        // Queries that keep all other threads busy must not cost the lease.
        threads()?.spawn(async move {
            tokio::select! {
                () = announcing => {}
                _ = stopped => {}
            }
        });
        let announcer = Self { id, announcements, draining, stop: Mutex::new(Some(stop)) };
        has_joined.await.map_err(|_| Error::internal("the announcements of this member have ended"))??;
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

/// Who waits for a member to be taken.
struct Joining {
    joined: oneshot::Sender<Result<()>>,
    begun: Instant,
    wait_max: Option<Duration>,
}

impl Joining {
    /// Whether that error is told instead of waiting longer.
    fn ends_with(&self, error: &Error) -> bool {
        error.code() == Code::ConfigurationInvalid || self.wait_max.is_some_and(|max| self.begun.elapsed() >= max)
    }
}

async fn announce(announcements: Arc<dyn Announcements>, mut member: Member, draining: Arc<AtomicBool>, joining: Joining) {
    let mut joining = Some(joining);
    let (mut reached, mut told) = (true, Instant::now());
    loop {
        if let Member::Executor(executor) = &mut member {
            executor.draining = draining.load(Ordering::Acquire);
        }
        match announcements.announce(member.clone()).await {
            Ok(()) => {
                if let Some(joining) = joining.take() {
                    // Nobody listens only when the process is about to end.
                    let _ = joining.joined.send(Ok(()));
                }
                if !reached {
                    info!("the cluster is back");
                }
                reached = true;
            }
            Err(error) => {
                // Who has been a member goes on to be one when it is let in again; who has never been learns what is wrong.
                if joining.as_ref().is_some_and(|joining| joining.ends_with(&error))
                    && let Some(joining) = joining.take()
                {
                    let _ = joining.joined.send(Err(error));
                    return;
                }
                if reached || (joining.is_some() && told.elapsed() >= TELL) {
                    warn!(%error, "the cluster cannot be reached; trying again");
                    told = Instant::now();
                }
                reached = false;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
