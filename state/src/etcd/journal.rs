//! What the coordinators of a cluster have done for tables: `maintenance/NUMBER`, as JSON whose meaning is not known here. The newest are kept.
//!
//! Only the leading coordinator writes, which says in which term: one that was paused, and has not heard yet that another one leads, is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use etcd_client::KeyValue;
use nunatak_core::config::Etcd;
use nunatak_core::{Code, Error, Result};
use serde_json::Value as Json;

use super::mirror::{Mirror, Value};

/// How many entries are kept.
const ENTRIES_MAX: usize = 1_000;
/// How many numbers are tried that others have taken meanwhile.
const NUMBERS_MAX: usize = 20;
/// How many entries are removed at most when one is added.
const REMOVED_MAX: usize = 5;

/// A journal in etcd.
#[derive(Debug)]
pub struct EtcdJournal(Arc<Mirror<Entry>>);

#[derive(Clone, Debug)]
struct Entry {
    revision: i64,
    content: Json,
}

impl Value for Entry {
    fn read(pair: &KeyValue) -> serde_json::Result<Self> {
        Ok(Self { revision: pair.mod_revision(), content: serde_json::from_slice(pair.value())? })
    }
}

impl EtcdJournal {
    /// Reads what is there, and follows it as long as the journal is referred to. Must be called within a Tokio runtime.
    ///
    /// Errors: `CLUSTER_STATE_UNAVAILABLE` if no server answers, `CONFIGURATION_INVALID` if they refuse the user or certificates cannot be read.
    pub async fn start(etcd: &Etcd) -> Result<Self> {
        Mirror::start(etcd, "maintenance").await.map(Self)
    }

    /// The entries by number, the oldest first.
    pub fn entries(&self) -> BTreeMap<u64, Json> {
        let entries = Arc::clone(&self.0.watch().borrow());
        entries.iter().filter_map(|(name, entry)| Some((name.parse().ok()?, entry.content.clone()))).collect()
    }

    /// Adds an entry, and gives its number. The oldest ones go where there are too many.
    ///
    /// Errors: `CLUSTER_STATE_UNAVAILABLE`, also if the term has ended.
    pub async fn append(&self, content: &Json, term: u64) -> Result<u64> {
        let mut tried = 0;
        for _ in 0..NUMBERS_MAX {
            let entries = Arc::clone(&self.0.watch().borrow());
            let last: u64 = entries.last_key_value().and_then(|(name, _)| name.parse().ok()).unwrap_or_default();
            let number = last.max(tried) + 1;
            tried = number;
            if self.0.put_as_leader(&name(number), content, None, term).await? {
                let surplus = (entries.len() + 1).saturating_sub(ENTRIES_MAX).min(REMOVED_MAX);
                for (name, entry) in entries.iter().take(surplus) {
                    self.0.delete(name, entry.revision).await?;
                }
                return Ok(number);
            }
        }
        Err(Error::new(Code::ClusterStateUnavailable, "the numbers of entries are taken by others all the time").with_hint("try again"))
    }

    /// Changes an entry; one that is gone stays so.
    ///
    /// Errors: those of [`Self::append`].
    pub async fn replace(&self, number: u64, content: &Json, term: u64) -> Result<()> {
        let name = name(number);
        match self.0.get(&name).await? {
            Some(entry) => self.0.put_as_leader(&name, content, Some(entry.revision), term).await.map(drop),
            None => Ok(()),
        }
    }
}

/// The name of a number: names are sorted as numbers are.
fn name(number: u64) -> String {
    format!("{number:020}")
}
