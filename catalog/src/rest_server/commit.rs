//! Commits: what one requires is checked against the table as it is, again for each attempt, and the back end swaps the pointer.

use std::collections::{HashMap, HashSet};

use super::creation::of_updates;
use super::messages::{Commit, CommittedTable, Transaction};
use super::metadata::written;
use super::names::{of_path, table_name, whole_name};
use super::{Answer, Failure, NO_CONTENT, RestServer, parsed};
use crate::backend::TableChange;
use crate::commit::{CommitError, Retries, RetryPolicy};
use crate::spec::{FormatVersion, TableMetadata, TableRequirement, TableUpdate};
use crate::table::{Table, TableName};

impl RestServer {
    /// Changes a table, or makes one that was staged, if all that the request requires holds.
    ///
    /// A change that loses to one that does not touch what it requires is tried again here; all else is for the client to make anew.
    pub async fn commit(&self, namespace: &str, table: &str, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        let name = table_name(&of_path(namespace)?, table)?;
        let Commit { requirements, updates, .. } = parsed(body)?;
        if requirements.contains(&TableRequirement::NotExist) {
            return self.create_by_commit(&name, &requirements, updates).await;
        }
        // By Iceberg's defaults: a client with other wishes tries again itself.
        let mut retries = Retries::new(RetryPolicy::from_properties(&HashMap::new())?);
        loop {
            let table = self.catalog.load_table(&name).await.map_err(Failure::not_committed)?;
            let table = table.ok_or_else(|| Failure::no_such_table(&name))?;
            check(&table.metadata, &requirements, &updates)?;
            if updates.is_empty() {
                return committed(&table);
            }
            match self.catalog.commit(&table, requirements.clone(), updates.clone()).await {
                Ok(table) => return committed(&table),
                Err(CommitError::Conflict(error)) => retries.wait(error).await.map_err(Failure::commit_failed)?,
                Err(CommitError::Unknown(error)) => return Err(Failure::commit_unknown(&error)),
                Err(CommitError::Failed(error)) => return Err(Failure::not_committed(error)),
            }
        }
    }

    /// Changes several tables if all that the request requires of them holds: all of them or none.
    pub async fn commit_all(&self, body: &[u8]) -> Result<Answer, Failure> {
        self.check_writable()?;
        if !self.catalog.has_transactions() {
            return Err(Failure::unsupported(format!("catalog '{}' cannot change several tables at once", self.catalog.name())));
        }
        let Transaction { table_changes } = parsed(body)?;
        let mut wanted = Vec::with_capacity(table_changes.len());
        let mut named = HashSet::new();
        for Commit { identifier, requirements, updates } in table_changes {
            let identifier = identifier.ok_or_else(|| Failure::bad_request("a change among several names no table"))?;
            let name = whole_name(&identifier)?;
            if !named.insert(name.clone()) {
                return Err(Failure::bad_request(format!("table '{name}' is named twice")));
            }
            if requirements.contains(&TableRequirement::NotExist) {
                return Err(Failure::unsupported(format!("table '{name}' cannot be made together with changes of others; make it first")));
            }
            wanted.push((name, requirements, updates));
        }
        if wanted.is_empty() {
            return Err(Failure::bad_request("there is no change"));
        }
        let mut retries = Retries::new(RetryPolicy::from_properties(&HashMap::new())?);
        loop {
            let mut changes = Vec::with_capacity(wanted.len());
            for (name, requirements, updates) in &wanted {
                let base = self.catalog.load_table(name).await.map_err(Failure::not_committed)?;
                let base = base.ok_or_else(|| Failure::no_such_table(name))?;
                check(&base.metadata, requirements, updates)?;
                changes.push(TableChange { base, requirements: requirements.clone(), updates: updates.clone() });
            }
            if changes.iter().all(|change| change.updates.is_empty()) {
                return Ok(Answer::empty(NO_CONTENT));
            }
            match self.catalog.commit_all(changes).await {
                Ok(()) => return Ok(Answer::empty(NO_CONTENT)),
                Err(CommitError::Conflict(error)) => retries.wait(error).await.map_err(Failure::commit_failed)?,
                Err(CommitError::Unknown(error)) => return Err(Failure::commit_unknown(&error)),
                Err(CommitError::Failed(error)) => return Err(Failure::not_committed(error)),
            }
        }
    }

    async fn create_by_commit(&self, name: &TableName, requirements: &[TableRequirement], updates: Vec<TableUpdate>) -> Result<Answer, Failure> {
        if requirements.iter().any(|requirement| *requirement != TableRequirement::NotExist) {
            return Err(Failure::bad_request(format!("a request that makes table '{name}' cannot require anything of it but that it is not there")));
        }
        let place = self.catalog.stage_location(name).await.map_err(Failure::not_committed)?;
        let metadata = of_updates(name, updates, place)?;
        let table = self.catalog.create_table(name, metadata).await.map_err(Failure::not_committed)?;
        committed(&table)
    }
}

/// Checks what a commit requires, and that the snapshots in it were made for the table as it is.
fn check(metadata: &TableMetadata, requirements: &[TableRequirement], updates: &[TableUpdate]) -> Result<(), Failure> {
    for requirement in requirements {
        requirement.check(Some(metadata)).map_err(|error| Failure::commit_failed(error.message()))?;
    }
    for update in updates {
        let TableUpdate::AddSnapshot { snapshot } = update else { continue };
        let last = metadata.last_sequence_number();
        let (number, versioned) = (snapshot.sequence_number(), metadata.format_version() != FormatVersion::V1);
        // That is no defect of the snapshot: another one has come in between, and the client can make it anew on top of that.
        if versioned && snapshot.parent_snapshot_id().is_some() && number <= last {
            return Err(Failure::commit_failed(format!("the snapshot has sequence number {number}, and the table has {last} already")));
        }
        let next = metadata.next_row_id();
        if let Some(first) = snapshot.first_row_id().filter(|first| *first < next) {
            return Err(Failure::commit_failed(format!("the snapshot's rows begin with id {first}, and the table's next one is {next}")));
        }
    }
    Ok(())
}

/// It has happened, whatever can be said of it.
fn committed(table: &Table) -> Result<Answer, Failure> {
    let metadata = written(table).map_err(|error| Failure::commit_unknown(&error))?;
    Answer::json(&CommittedTable { metadata_location: table.metadata_location.as_deref(), metadata: &metadata })
}
