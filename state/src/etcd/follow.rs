//! Watches keys of a cluster, from where the last change was seen; what has been compacted since then is listed.

use std::sync::Weak;
use std::time::Duration;

use etcd_client::{Event, GetOptions, KeyValue, WatchOptions, WatchResponse, WatchStream};
use nunatak_core::{Code, Error, Result};
use tracing::{debug, info, warn};

use super::servers::{Servers, is_compacted};

/// The pause before a watch that has ended begins again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked what time alone has changed.
const LOOK: Duration = Duration::from_secs(1);
/// How many keys are listed at a time: an answer may have 4 MiB.
const PAGE: i64 = 50;
/// How often a list is begun whose revision is compacted before it has ended.
const LISTS_MAX: usize = 5;

/// Who follows the keys with a prefix.
pub(crate) trait Follower: Send + Sync + 'static {
    /// What lies in the keys, in the plural.
    fn what(&self) -> &str;

    fn servers(&self) -> &Servers;

    /// Ends with a slash.
    fn prefix(&self) -> &str;

    /// All keys that there are in that revision: at the start, or after some changes of them were missed.
    fn listed(&self, pairs: &[KeyValue], revision: i64);

    /// Keys have changed, in this order.
    fn changed(&self, events: &[Event]);

    /// Changes are seen from now on; there may have been a while in which they were not.
    fn resumed(&self) {}

    /// Changes are not seen any more.
    fn lost(&self) {}

    /// Some time has passed in which changes were seen as they came.
    fn look(&self) {}
}

/// Keeps a follower up to date from `revision` on, as long as somebody has it.
pub(super) async fn follow<F: Follower>(follower: Weak<F>, mut revision: i64) {
    let mut reached = true;
    loop {
        let Some(current) = follower.upgrade() else { return };
        let opened = watch(&*current, &mut revision).await;
        match opened {
            Ok(changes) => {
                if !reached {
                    info!("etcd is back");
                }
                reached = true;
                drop(current);
                read(&follower, changes, &mut revision).await;
            }
            Err(error) => {
                if reached {
                    warn!(%error, "{} are taken for what was last known of them; trying again", current.what());
                }
                reached = false;
                drop(current);
            }
        }
        match follower.upgrade() {
            Some(current) => current.lost(),
            None => return,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads changes until they end.
pub(crate) async fn read<F: Follower>(follower: &Weak<F>, mut changes: WatchStream, revision: &mut i64) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        let change = tokio::select! {
            change = changes.message() => Some(change),
            _ = look.tick() => None,
        };
        let Some(follower) = follower.upgrade() else { return };
        match change {
            None => follower.look(),
            Some(Ok(Some(change))) if change.canceled() => {
                debug!(reason = change.cancel_reason(), compacted = change.compact_revision(), "etcd has ended a watch");
                if change.compact_revision() > 0 {
                    match list(&*follower).await {
                        Ok(listed) => *revision = listed,
                        Err(error) => debug!(%error, "keys cannot be listed"),
                    }
                }
                return;
            }
            Some(Ok(Some(change))) => take(&*follower, &change, revision),
            Some(Ok(None)) => return,
            Some(Err(error)) => {
                debug!(%error, "a watch has failed");
                return;
            }
        }
    }
}

/// Lists all keys, and gives the revision in which they are these.
pub(super) async fn list<F: Follower>(follower: &F) -> Result<i64> {
    for _ in 0..LISTS_MAX {
        if let Some((pairs, revision)) = pages(follower).await? {
            follower.listed(&pairs, revision);
            return Ok(revision);
        }
    }
    let message = format!("etcd compacts its revisions faster than the {} can be listed", follower.what());
    Err(Error::new(Code::ClusterStateUnavailable, message).with_hint("let it keep them for some minutes"))
}

/// All keys in one revision, a page at a time; `None` if that is compacted meanwhile.
async fn pages<F: Follower>(follower: &F) -> Result<Option<(Vec<KeyValue>, i64)>> {
    let end = end_of(follower.prefix());
    let (mut pairs, mut from, mut revision) = (Vec::new(), follower.prefix().as_bytes().to_vec(), 0);
    loop {
        let what = format!("list the {}", follower.what());
        let page = follower
            .servers()
            .call(&what, |mut client| {
                let (from, options) = (from.clone(), GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision));
                async move {
                    match client.get(from, Some(options)).await {
                        Err(error) if is_compacted(&error) => Ok(None),
                        page => page.map(Some),
                    }
                }
            })
            .await?;
        let Some(mut page) = page else { return Ok(None) };
        if revision == 0 {
            revision = page.header().map_or(0, |header| header.revision());
        }
        let has_more = page.more();
        pairs.extend(page.take_kvs());
        match pairs.last().filter(|_| has_more) {
            Some(last) => from = [last.key(), b"\0".as_slice()].concat(),
            None => return Ok(Some((pairs, revision))),
        }
    }
}

/// The first key behind all that begin with `prefix`, which ends with a slash.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Watches the keys from the change after `revision` on.
pub(crate) async fn watch<F: Follower>(follower: &F, revision: &mut i64) -> Result<WatchStream> {
    let prefix = follower.prefix();
    let newest = follower
        .servers()
        .call("ask for its revision", |mut client| async move { client.get(prefix, Some(GetOptions::new().with_prefix().with_count_only())).await })
        .await?;
    // It has lost its data, or is another one: its changes are counted anew.
    if newest.header().is_some_and(|header| header.revision() < *revision) {
        *revision = list(follower).await?;
    }
    let start = *revision + 1;
    let what = format!("watch the {}", follower.what());
    let changes = follower
        .servers()
        .call(&what, |mut client| {
            // Many changes at once come in parts, since a message may have 4 MiB.
            let options = WatchOptions::new().with_prefix().with_start_revision(start).with_progress_notify().with_fragment();
            async move { client.watch(prefix, Some(options)).await }
        })
        .await?;
    follower.resumed();
    Ok(changes)
}

fn take<F: Follower>(follower: &F, changes: &WatchResponse, revision: &mut i64) {
    follower.changed(changes.events());
    let seen = match changes.events().iter().filter_map(|event| event.kv()).map(KeyValue::mod_revision).max() {
        Some(last) => last,
        // What it says when a watch begins may be newer than the changes that are still to come.
        None if changes.created() => return,
        None => changes.header().map_or(0, |header| header.revision()),
    };
    *revision = seen.max(*revision);
}
