//! How tables are made, changed, renamed and taken out.

use std::collections::HashMap;
use std::sync::Arc;

use nunatak_core::{Code, Error, Result};

use super::client::Fault;
use super::descriptor;
use super::entry::{Entry, Kind};
use super::method::ExceptionKind;
use super::swap::{self, Change, Swap};
use super::{HiveCatalog, check_name, name_refused, not_found, unknown};
use crate::backend::names::{namespace_not_found, table_exists, table_not_found};
use crate::backend::{metadata_file, update};
use crate::commit::CommitError;
use crate::commit::attempts::LOOKS_AFTER;
use crate::properties;
use crate::spec::{TableMetadata, TableRequirement, TableUpdate};
use crate::storage::Location;
use crate::table::{Table, TableName};

impl HiveCatalog {
    /// Makes a table of whole metadata.
    pub(super) async fn make_table(&self, name: &TableName, metadata: TableMetadata) -> Result<Table> {
        check_name(&name.table, "table")?;
        self.require_free(name).await?;
        let location = metadata_file::write(&self.storage, &metadata, None).await?;
        let table = Table::new(name.clone(), Arc::new(metadata), Some(location.clone()), Arc::clone(&self.storage));
        if let Err(error) = self.insert_table(&table, &location).await {
            if error.code() != Code::CommitStateUnknown {
                self.discard(name, &location).await;
            }
            return Err(error);
        }
        self.metadata.insert(location, Arc::clone(&table.metadata)).await;
        Ok(table)
    }

    /// Makes the entry of a table whose metadata lies at `location`.
    pub(super) async fn insert_table(&self, table: &Table, location: &str) -> Result<()> {
        let options = self.metastore.options();
        let described = descriptor::of_table(&table.metadata, location, None, &HashMap::new(), options)?;
        let owner = descriptor::owner(table.metadata.properties(), options);
        let mut entry = Entry::make(&table.name, Kind::Table, owner, now());
        entry.set_parameters(&described.over(entry.parameters()));
        entry.set_descriptor(described.descriptor);
        self.insert(&table.name, "table", entry, location).await
    }

    /// Makes an entry. `what` it is stands in messages.
    ///
    /// Errors: `TABLE_ALREADY_EXISTS`, `SCHEMA_NOT_FOUND`, `NOT_SUPPORTED` for a name that the metastore does not take, `COMMIT_STATE_UNKNOWN`.
    pub(super) async fn insert(&self, name: &TableName, what: &str, entry: Entry, location: &str) -> Result<()> {
        let Err(fault) = self.metastore.create(&format!("create {what} '{name}'"), entry).await else { return Ok(()) };
        let found = self.look(name, &fault).await;
        match (found, fault) {
            // It was carried out all the same.
            (Ok(Some(found)), _) if found.metadata_location().as_deref() == Some(location) => Ok(()),
            (_, Fault::Refused(error)) => Err(error),
            (_, Fault::Lost(error)) => Err(unknown(&format!("{what} '{name}' was made"), error)),
            // It may have been carried out all the same, and nobody can see it.
            (Err(_), Fault::Said { error, .. }) => Err(unknown(&format!("{what} '{name}' was made"), error)),
            (Ok(Some(_)), Fault::Said { .. }) => Err(table_exists(name)),
            (_, fault) if fault.is(ExceptionKind::AlreadyExists) => Err(table_exists(name)),
            (_, fault) if fault.is(ExceptionKind::InvalidObject) || fault.is(ExceptionKind::NoSuchObject) => {
                match self.metastore.database(&name.namespace).await? {
                    None => Err(namespace_not_found(&name.namespace)),
                    Some(_) => Err(name_refused(&name.table, fault)),
                }
            }
            (_, fault) => Err(fault.into_error()),
        }
    }

    /// The entry of a name after a call that was to make it has failed. One whose answer is lost may be carried out a little later.
    async fn look(&self, name: &TableName, fault: &Fault) -> Result<Option<Entry>> {
        let mut found = self.metastore.entry(name).await;
        if matches!(fault, Fault::Lost(_)) {
            for wait in LOOKS_AFTER {
                if matches!(found, Ok(Some(_))) {
                    break;
                }
                tokio::time::sleep(wait).await;
                found = self.metastore.entry(name).await;
            }
        }
        found
    }

    /// Changes a table, if its metadata lies where that of `base` does.
    pub(super) async fn change(&self, base: &Table, requirements: Vec<TableRequirement>, updates: Vec<TableUpdate>) -> Result<Table, CommitError> {
        let name = &base.name;
        let turn = self.turns.get_with(name.clone(), async { Arc::default() }).await;
        let _turn = turn.lock().await;
        let (_, old) = self.find(name, Kind::Table).await?.ok_or_else(|| table_not_found(name))?;
        if base.metadata_location.as_ref() != Some(&old) {
            return Err(CommitError::Conflict(update::conflict(name)));
        }
        update::check(name, &requirements, &base.metadata)?;
        let built = update::apply(name, (*base.metadata).clone(), Some(&old), updates)?;
        let location = metadata_file::write(&self.storage, &built.metadata, Some(&old)).await?;
        match self.point(base, &built.metadata, old, &location).await {
            Ok(()) => {}
            Err(CommitError::Unknown(error)) => return Err(CommitError::Unknown(error)),
            Err(error) => {
                self.discard(name, &location).await;
                return Err(error);
            }
        }
        let metadata = Arc::new(built.metadata);
        self.metadata.insert(location.clone(), Arc::clone(&metadata)).await;
        let table = Table { metadata, metadata_location: Some(location), ..base.clone() };
        metadata_file::delete_expired(self, &table, &built.expired_metadata_logs).await;
        Ok(table)
    }

    /// Lets the entry of a table point to the metadata at `location`.
    async fn point(&self, base: &Table, metadata: &TableMetadata, old: String, location: &str) -> Result<(), CommitError> {
        let options = self.metastore.options();
        let before = base.metadata.properties();
        let described = descriptor::of_table(metadata, location, Some(&old), before, options)?;
        // Where nobody can tell, the lock does no harm.
        let locks = properties::flag(before, properties::HIVE_LOCK_ENABLED, options.lock_enabled).unwrap_or(true);
        let change = Change::Described { location: location.to_owned(), described, text: None };
        swap::swap(&self.metastore, Swap { name: base.name.clone(), kind: Kind::Table, old, change, locks }).await
    }

    /// Renames a table or a view. Its files stay where they are.
    pub(super) async fn rename(&self, from: &TableName, to: &TableName, kind: Kind) -> Result<()> {
        check_name(&to.table, "table")?;
        let (_, old) = self.find(from, kind).await?.ok_or_else(|| not_found(from, kind))?;
        if from.namespace != to.namespace {
            self.require_namespace(&to.namespace).await?;
        }
        self.require_free(to).await?;
        let (change, locks) = (Change::Renamed(to.clone()), self.metastore.options().lock_enabled);
        let Err(error) = swap::swap(&self.metastore, Swap { name: from.clone(), kind, old: old.clone(), change, locks }).await else { return Ok(()) };
        if matches!(error, CommitError::Unknown(_)) {
            return if self.is_renamed(from, to, &old).await { Ok(()) } else { Err(swap::into_error(error)) };
        }
        match self.metastore.entry(to).await {
            // Somebody was faster.
            Ok(Some(_)) => Err(table_exists(to)),
            _ => Err(swap::into_error(error)),
        }
    }

    /// Looks, after a lost answer, whether an entry has its other name.
    async fn is_renamed(&self, from: &TableName, to: &TableName, old: &str) -> bool {
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            if swap::is_renamed(&self.metastore, from, to, old).await == Some(true) {
                return true;
            }
        }
        false
    }

    /// Takes an entry out; `missing` is the error if there is none.
    pub(super) async fn remove(&self, name: &TableName, missing: Error) -> Result<()> {
        match self.metastore.remove(&format!("drop '{name}'"), name).await {
            Ok(()) => Ok(()),
            Err(fault) if fault.is(ExceptionKind::NoSuchObject) => Err(missing),
            Err(Fault::Lost(error)) => match self.is_gone(name).await {
                true => Ok(()),
                false => Err(unknown(&format!("'{name}' was dropped"), error)),
            },
            Err(fault) => Err(fault.into_error()),
        }
    }

    /// Looks, after a lost answer, whether an entry is there no more.
    async fn is_gone(&self, name: &TableName) -> bool {
        for wait in LOOKS_AFTER {
            tokio::time::sleep(wait).await;
            if matches!(self.metastore.entry(name).await, Ok(None)) {
                return true;
            }
        }
        false
    }

    /// A table with the metadata locations of what may share its folder, to be deleted with its files.
    pub(super) async fn to_purge(&self, name: &TableName, location: String) -> Result<(Table, Vec<String>)> {
        let table = self.table_at(name, location).await?;
        let folder = Location::parse(table.metadata.location())?;
        let others = self.near(name, &[folder]).await?;
        Ok((table, others.into_iter().map(|(_, _, location)| location).collect()))
    }
}

/// Seconds since 1970, which the metastore counts in 32 bits.
pub(super) fn now() -> i32 {
    i32::try_from(chrono::Utc::now().timestamp()).unwrap_or(i32::MAX)
}
