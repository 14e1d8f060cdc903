//! Commits: what one requires is checked against the table as it is, again for each attempt, and the back end swaps the pointer.

use std::collections::HashMap;

use super::creation::of_updates;
use super::messages::{Commit, CommittedTable};
use super::metadata::written;
use super::names::{of_path, table_name};
use super::{Answer, Failure, RestServer, parsed};
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
        let Commit { requirements, updates } = parsed(body)?;
        if requirements.contains(&TableRequirement::NotExist) {
            return self.create_by_commit(&name, &requirements, updates).await;
        }
        // By Iceberg's defaults: a client with other wishes tries again itself.
        let mut retries = Retries::new(RetryPolicy::from_properties(&HashMap::new())?);
        loop {
            let table = self.catalog.load_table(&name).await.map_err(Failure::not_committed)?;
            let table = table.ok_or_else(|| Failure::no_such_table(&name))?;
            check(&table.metadata, &requirements, &updates)?;
            match self.catalog.commit(&table, requirements.clone(), updates.clone()).await {
                Ok(table) => return committed(&table),
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
