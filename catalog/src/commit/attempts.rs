//! The attempts of a commit: each on top of the table as it is then, until one is in, none is left, or the table no longer takes the change.

use std::time::Duration;

use nunatak_core::{Code, Error, Result, Retry};

use super::CommitError;
use super::retry::{Retries, RetryPolicy};
use super::turns::turn;
use crate::backend::Catalog;
use crate::snapshot::refs;
use crate::spec::{TableRequirement, TableUpdate};
use crate::storage::Storage;
use crate::table::{Branch, Table};

/// How long after an unknown outcome the table is looked at, one look after the other.
pub(crate) const LOOKS_AFTER: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(3)];

/// What one attempt wrote and wants committed.
#[derive(Default)]
pub(crate) struct Attempt {
    /// Files that were written for it alone, to be deleted when it fails.
    pub(crate) files: Vec<String>,
    /// What must hold for the commit to be right.
    pub(crate) requirements: Vec<TableRequirement>,
    /// The commit.
    pub(crate) updates: Vec<TableUpdate>,
}

/// A change on its way into a table.
pub(crate) trait Change: Sync {
    /// Makes the change on top of `table`. `number` counts the attempts from 1.
    ///
    /// Errors: `Conflict` when what others have done is in its way.
    fn attempt(&self, table: &Table, number: u32) -> impl Future<Output = Result<Attempt, CommitError>> + Send;

    /// How often it is tried again.
    ///
    /// Errors: `INVALID_TABLE_PROPERTY`.
    fn retry_policy(&self, base: &Table) -> Result<RetryPolicy> {
        RetryPolicy::from_properties(base.metadata.properties())
    }

    /// Whether `table` has the change, which was sent as `updates` of `base`. `Some(false)` only where what shows it would still be there after changes of others;
    /// `None` where it cannot be told.
    fn is_in(&self, table: &Table, base: &Table, updates: &[TableUpdate]) -> Option<bool>;
}

/// What is seen of a commit with an unknown outcome.
enum Seen {
    /// It has happened; the table with it.
    In(Table),
    /// It has not, and what it requires does not hold any more.
    Out,
    /// Neither: it may still happen.
    Nothing,
}

/// Commits a change that was made for `base`, trying again after a conflict as the table's `commit.retry.*` properties say.
///
/// Errors: `Conflict` when the change itself met one, or others were faster at each attempt.
pub(crate) async fn commit(catalog: &dyn Catalog, base: &Table, change: &impl Change) -> Result<Table, CommitError> {
    let mut retries = Retries::new(change.retry_policy(base)?);
    let mut number = 0;
    loop {
        number += 1;
        let turn = turn(base.metadata.uuid()).await;
        // Also before the first attempt: making the change took its time, and a commit on top of an old head is lost work.
        let table = current(catalog, base).await?;
        let attempt = change.attempt(&table, number).await?;
        let committed = catalog.commit(&table, attempt.requirements.clone(), attempt.updates.clone()).await;
        drop(turn);
        let error = match committed {
            Ok(table) => return Ok(table),
            Err(CommitError::Conflict(error)) => error,
            Err(CommitError::Unknown(error)) => match look(catalog, &table, change, &attempt).await {
                Seen::In(table) => return Ok(table),
                Seen::Out => {
                    // Its files stay: nobody has said that they are not wanted.
                    retries.wait(error).await.map_err(CommitError::Conflict)?;
                    continue;
                }
                Seen::Nothing => return Err(CommitError::Unknown(error)),
            },
            Err(CommitError::Failed(error)) => {
                delete_files(&base.storage, &attempt.files).await;
                return Err(CommitError::Failed(error));
            }
        };
        delete_files(&base.storage, &attempt.files).await;
        retries.wait(error).await.map_err(CommitError::Conflict)?;
    }
}

/// The table as it is now, if it is still the same one.
pub(super) async fn current(catalog: &dyn Catalog, base: &Table) -> Result<Table> {
    let Some(now) = catalog.load_table(&base.name).await? else {
        return Err(Error::new(Code::TableNotFound, format!("table '{}' was dropped or renamed before its change was committed", base.name)));
    };
    if now.metadata.uuid() != base.metadata.uuid() {
        return Err(changed(base, "it was dropped and made again"));
    }
    check_branch(base, &now)?;
    Ok(Table { branch: base.branch.clone(), ..now })
}

/// That a branch which was there when a change of it began is there still. Else it would be made anew, as one that begins at the head of the main branch.
fn check_branch(base: &Table, now: &Table) -> Result<()> {
    let Branch::Named(name) = &base.branch else { return Ok(()) };
    let is_there = match refs(&now.metadata)?.get(name) {
        Some(reference) => reference.is_branch(),
        None => !refs(&base.metadata)?.contains_key(name),
    };
    if is_there { Ok(()) } else { Err(changed(base, &format!("its branch '{name}' was dropped"))) }
}

/// The error of a change that does not fit what another writer has made of the table.
pub(super) fn changed(base: &Table, what: &str) -> Error {
    Error::new(Code::TransactionConflict, format!("table '{}' was changed by another writer: {what}", base.name))
        .with_hint("run the statement again")
        .with_retry(Retry::Query)
}

/// Looks whether the commit with an unknown outcome, made for `base`, happened.
async fn look(catalog: &dyn Catalog, base: &Table, change: &impl Change, attempt: &Attempt) -> Seen {
    let mut seen = Seen::Nothing;
    for wait in LOOKS_AFTER {
        tokio::time::sleep(wait).await;
        seen = match catalog.load_table(&base.name).await {
            Ok(Some(table)) => match change.is_in(&table, base, &attempt.updates) {
                Some(true) => return Seen::In(Table { branch: base.branch.clone(), ..table }),
                Some(false) if is_overtaken(&table, base, attempt) => Seen::Out,
                _ => Seen::Nothing,
            },
            Ok(None) => Seen::Nothing,
            Err(error) => {
                tracing::warn!(%error, table = %base.name, "cannot see whether a commit happened");
                Seen::Nothing
            }
        };
    }
    seen
}

/// Whether what a commit requires does not hold any more: of the same table, since one that was renamed may have the commit.
fn is_overtaken(now: &Table, base: &Table, attempt: &Attempt) -> bool {
    let fails = |requirement: &TableRequirement| requirement.check(Some(&now.metadata)).is_err();
    now.metadata.uuid() == base.metadata.uuid() && attempt.requirements.iter().any(fails)
}

/// Deletes files that nothing refers to. What cannot be deleted is garbage and no reason to fail.
pub(super) async fn delete_files(storage: &Storage, files: &[String]) {
    if let Err(error) = storage.delete_files(files).await {
        tracing::warn!(%error, "files of a failed commit were left behind");
    }
}
