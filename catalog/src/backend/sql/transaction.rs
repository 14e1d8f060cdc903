//! Changes of several tables at once: all metadata files are written, and then all rows are swapped in one transaction of the database.

use std::sync::Arc;

use nunatak_core::Code;

use super::database::{Access, Fault};
use super::rows::Kind;
use super::{SqlCatalog, metadata_file, update};
use crate::backend::TableChange;
use crate::commit::CommitError;
use crate::spec::{MetadataLog, TableMetadata};
use crate::table::Table;

/// A table with the metadata that it is to have.
struct Written {
    base: Table,
    /// Where the metadata lies that it has.
    old: String,
    metadata: TableMetadata,
    /// Where the file for it lies.
    new: String,
    expired: Vec<MetadataLog>,
}

impl SqlCatalog {
    /// Changes several tables, or none of them.
    pub(super) async fn change_all(&self, mut changes: Vec<TableChange>) -> Result<(), CommitError> {
        // Two transactions change the rows that both have in the same order, so that neither waits for the other one for ever.
        changes.sort_by(|one, other| one.base.name.cmp(&other.base.name));
        let mut written = Vec::with_capacity(changes.len());
        for change in changes {
            match self.prepare(change).await {
                Ok(prepared) => written.push(prepared),
                Err(error) => {
                    self.discard_all(&written).await;
                    return Err(error);
                }
            }
        }
        self.swap_all(&written).await?;
        for Written { base, metadata, new, expired, .. } in written {
            let metadata = Arc::new(metadata);
            self.metadata.insert(new.clone(), Arc::clone(&metadata)).await;
            let table = Table { metadata, metadata_location: Some(new), ..base };
            metadata_file::delete_expired(self, &table, &expired).await;
        }
        Ok(())
    }

    async fn prepare(&self, change: TableChange) -> Result<Written, CommitError> {
        let TableChange { base, requirements, updates } = change;
        update::check(&base.name, &requirements, &base.metadata)?;
        let Some(old) = base.metadata_location.clone() else { return Err(CommitError::Conflict(update::conflict(&base.name))) };
        let built = update::apply(&base.name, (*base.metadata).clone(), Some(&old), updates)?;
        let new = metadata_file::write(&self.storage, &built.metadata, Some(&old)).await?;
        Ok(Written { base, old, metadata: built.metadata, new, expired: built.expired_metadata_logs })
    }

    /// The compare-and-swap of all rows, with the new files cleaned up when it certainly did not happen.
    async fn swap_all(&self, written: &[Written]) -> Result<(), CommitError> {
        let rows: Vec<_> = written.iter().map(|written| (written.base.name.clone(), written.old.clone(), written.new.clone())).collect();
        let swapped = self.run(Access::Change, move |scope| {
            for (name, old, new) in &rows {
                if !scope.swap(name, Kind::Table, old, new)? {
                    // Those that were swapped before it are rolled back.
                    return Err(Fault::Known(update::conflict(name)));
                }
            }
            Ok(())
        });
        let Err(fault) = swapped.await else { return Ok(()) };
        let error = match self.outcome("commit to several tables", fault) {
            CommitError::Failed(error) if error.code() == Code::TransactionConflict => CommitError::Conflict(error),
            CommitError::Unknown(error) => {
                // All or none: one of them tells.
                return match written.first() {
                    Some(first) if self.points_to(&first.base.name, &first.new).await => Ok(()),
                    _ => Err(CommitError::Unknown(error)),
                };
            }
            error => error,
        };
        self.discard_all(written).await;
        Err(error)
    }

    async fn discard_all(&self, written: &[Written]) {
        for Written { base, new, .. } in written {
            self.discard(&base.name, new).await;
        }
    }
}
