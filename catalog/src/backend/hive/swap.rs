//! The compare-and-swap of an entry: under the metastore's lock, or by the comparison that the metastore makes itself. It goes on when nobody waits for it any more, so that no lock
//! is left behind.

use std::sync::Arc;

use nunatak_core::{Code, Error};

use super::client::Fault;
use super::descriptor::Described;
use super::entry::{Entry, Kind};
use super::lock::Lock;
use super::metastore::{Metastore, is_changed};
use super::not_found;
use crate::backend::update;
use crate::commit::CommitError;
use crate::table::TableName;

/// What an entry becomes.
pub(super) struct Swap {
    /// The entry.
    pub(super) name: TableName,
    /// What it is.
    pub(super) kind: Kind,
    /// Where its metadata lies before, or nothing is done.
    pub(super) old: String,
    /// What is done with it.
    pub(super) change: Change,
    /// Whether it is locked.
    pub(super) locks: bool,
}

/// A change of an entry.
pub(super) enum Change {
    /// Its metadata lies elsewhere now, and it is described in other words.
    Described {
        /// Where its metadata lies.
        location: String,
        /// The words.
        described: Described,
        /// The text of a view.
        text: Option<String>,
    },
    /// It has another name.
    Renamed(TableName),
}

/// Changes an entry. Errors: `Conflict` if its metadata does not lie where it did.
pub(super) async fn swap(metastore: &Arc<Metastore>, swap: Swap) -> Result<(), CommitError> {
    let metastore = Arc::clone(metastore);
    let name = swap.name.clone();
    let swapped = tokio::spawn(async move { run(&metastore, swap).await });
    swapped.await.unwrap_or_else(|error| {
        Err(CommitError::Unknown(Error::internal(format!("the change of '{name}' in the metastore has stopped")).with_source(error)))
    })
}

async fn run(metastore: &Metastore, swap: Swap) -> Result<(), CommitError> {
    if !swap.locks {
        let (compares, version) = metastore.compares().await?;
        if !compares {
            let name = &swap.name;
            return Err(CommitError::Failed(
                Error::not_supported(format!(
                    "table '{name}' cannot be changed without a lock: the metastore (version {version}) does not compare before it changes"
                ))
                .with_hint("leave out engine.hive.lock-enabled = false of the table and hive.lock-enabled = false of the catalog"),
            ));
        }
        return alter(metastore, swap, None).await;
    }
    let lock = Lock::acquire(metastore.client(), &swap.name).await?;
    let outcome = alter(metastore, swap, Some(&lock)).await;
    lock.release().await;
    outcome
}

async fn alter(metastore: &Metastore, swap: Swap, lock: Option<&Lock>) -> Result<(), CommitError> {
    let Swap { name, kind, old, change, .. } = swap;
    let mut entry = metastore.entry(&name).await?.filter(|entry| entry.kind() == Some(kind)).ok_or_else(|| not_found(&name, kind))?;
    if entry.metadata_location().as_ref() != Some(&old) {
        return Err(CommitError::Conflict(update::conflict(&name)));
    }
    let operation = change.operation(&name);
    change.apply(&mut entry);
    if let Some(lock) = lock {
        lock.check().map_err(CommitError::Conflict)?;
    }
    let fault = match metastore.alter(&operation, &name, entry, &old).await {
        Ok(()) => {
            // Another one may have had it in between, unless the metastore has compared.
            if let Some(Err(error)) = lock.map(Lock::check)
                && !metastore.compares().await.is_ok_and(|(compares, _)| compares)
            {
                return Err(CommitError::Unknown(error));
            }
            return Ok(());
        }
        Err(fault) => fault,
    };
    // A call of which nobody knows, and one that was carried out all the same, look like failures.
    let is_changed = is_changed(&fault);
    Err(match (change.is_done(metastore, &name, &old).await, fault) {
        (Some(true), _) => return Ok(()),
        (_, Fault::Refused(error)) => CommitError::Failed(error),
        (Some(false), Fault::Said { error, .. }) if is_changed => CommitError::Conflict(update::conflict(&name).with_source(error)),
        (Some(false), Fault::Said { error, .. }) => CommitError::Failed(error),
        (_, fault) => CommitError::Unknown(fault.into_error()),
    })
}

impl Change {
    fn operation(&self, name: &TableName) -> String {
        match self {
            Self::Described { .. } => format!("commit to table '{name}'"),
            Self::Renamed(to) => format!("rename '{name}' to '{to}'"),
        }
    }

    fn apply(&self, entry: &mut Entry) {
        match self {
            Self::Described { described, text, .. } => {
                entry.set_parameters(&described.over(entry.parameters()));
                entry.set_descriptor(described.descriptor.clone());
                if let Some(text) = text {
                    entry.set_text(text);
                }
            }
            Self::Renamed(to) => entry.set_name(to),
        }
    }

    /// Whether it has happened to the entry whose metadata was at `old`, as far as can be seen. `None` if nothing can be seen.
    async fn is_done(&self, metastore: &Metastore, name: &TableName, old: &str) -> Option<bool> {
        match self {
            Self::Described { location, .. } => {
                let entry = metastore.entry(name).await.ok()?;
                Some(entry.and_then(|entry| entry.metadata_location()).as_ref() == Some(location))
            }
            Self::Renamed(to) => is_renamed(metastore, name, to, old).await,
        }
    }
}

/// Whether the entry whose metadata was at `old` has the other name now, and no longer the first one. `None` if nothing can be seen.
pub(super) async fn is_renamed(metastore: &Metastore, from: &TableName, to: &TableName, old: &str) -> Option<bool> {
    let (from, to) = (metastore.entry(from).await.ok()?, metastore.entry(to).await.ok()?);
    Some(from.is_none() && to.is_some_and(|to| to.has_been_at(old)))
}

/// A conflict in words that fit where nobody tries again.
pub(super) fn into_error(error: CommitError) -> Error {
    match error {
        CommitError::Unknown(error) => Error::new(Code::CommitStateUnknown, error.message()).with_source(error),
        error => error.into_error(),
    }
}
