//! Files of others become files of a table where they are (`add_files`). What the table needs for them comes in the same commit, and no file may be in the table
//! already: both are looked at in each attempt, for others may add the same files.

use std::collections::{BTreeMap, HashMap, HashSet};

use nunatak_core::{Code, Error, Result};

use super::CommitError;
use super::append::given_up;
use super::attempts::{self, Attempt, Change, changed};
use super::cherry_pick::check_wap_id;
use super::producer::Producer;
use super::snapshot::{Appended, ended, shape_changed};
use crate::backend::Catalog;
use crate::snapshot::{self, ManifestCache};
use crate::spec::{DataFile, ManifestContentType, ManifestFile, Operation, TableUpdate};
use crate::storage::Location;
use crate::table::Table;

/// Adds files that others have written, as [`append`](super::append()) adds those of a statement. `properties` says which ones the table gets with them, for the table as
/// each attempt finds it.
///
/// Errors: `INVALID_PROCEDURE_ARGUMENT` for a file that is in the table already, those of `properties` and of [`append`](super::append()).
pub async fn adopt(
    catalog: &dyn Catalog,
    base: &Table,
    files: Vec<DataFile>,
    properties: impl Fn(&Table) -> Result<HashMap<String, String>> + Send + Sync,
    cache: &ManifestCache,
    summary: &BTreeMap<String, String>,
) -> Result<Appended> {
    let locations: Vec<String> = files.iter().map(|file| file.file_path().to_owned()).collect();
    let mut producer = Producer::new(base, Operation::Append);
    let staged = producer.add_data_files(&base.metadata, base.metadata.default_partition_spec_id(), files, None).await;
    let change = Adoption { base, producer, locations, properties, cache, summary };
    let outcome = match staged {
        Ok(()) => attempts::commit(catalog, base, &change).await,
        Err(error) => Err(CommitError::Failed(error)),
    };
    ended(base, &change.producer, outcome).await.map_err(|error| match error {
        CommitError::Conflict(error) => given_up(base, error),
        CommitError::Unknown(error) | CommitError::Failed(error) => error,
    })
}

/// That no file is in the head of a table's branch already: its rows would be there twice.
///
/// Errors: `INVALID_PROCEDURE_ARGUMENT`, and those of reading manifests.
pub async fn check_absent(table: &Table, locations: &[String], cache: &ManifestCache) -> Result<()> {
    let Some(head) = table.head() else { return Ok(()) };
    let files = snapshot::files(table, head, cache, &|manifest: &ManifestFile| manifest.content == ManifestContentType::Data).await?;
    let known = files.data.iter().map(|entry| Location::parse(entry.file.file_path())).collect::<Result<HashSet<_>>>()?;
    for location in locations {
        if known.contains(&Location::parse(location)?) {
            return Err(Error::new(Code::InvalidProcedureArgument, format!("file '{location}' is in table '{}' already", table.name)));
        }
    }
    Ok(())
}

/// Files on their way.
struct Adoption<'a, P> {
    base: &'a Table,
    producer: Producer,
    locations: Vec<String>,
    properties: P,
    cache: &'a ManifestCache,
    summary: &'a BTreeMap<String, String>,
}

impl<P: Fn(&Table) -> Result<HashMap<String, String>> + Sync> Change for Adoption<'_, P> {
    async fn attempt(&self, table: &Table, number: u32) -> Result<Attempt, CommitError> {
        check_wap_id(table, self.summary)?;
        if let Some(what) = shape_changed(self.base, table) {
            return Err(CommitError::Failed(changed(self.base, what)));
        }
        check_absent(table, &self.locations, self.cache).await?;
        let properties = (self.properties)(table)?;
        let mut attempt = self.producer.attempt(table, number, self.summary).await?;
        if !properties.is_empty() {
            attempt.updates.push(TableUpdate::SetProperties { updates: properties });
        }
        Ok(attempt)
    }

    fn is_in(&self, table: &Table, _base: &Table, _updates: &[TableUpdate]) -> Option<bool> {
        Some(table.metadata.snapshot_by_id(self.producer.snapshot_id()).is_some())
    }
}
