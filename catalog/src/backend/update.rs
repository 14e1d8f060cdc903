//! From one version of a table's metadata to the next: what a commit requires and what it changes. The same for every back end that writes the
//! metadata file itself.

use nunatak_core::{Code, Error, Retry};

use crate::commit::CommitError;
use crate::error::from_iceberg;
use crate::replaced_columns::check_partition_names;
use crate::spec::{TableMetadata, TableMetadataBuildResult, TableRequirement, TableUpdate};
use crate::table::TableName;
use crate::unsupported::unsupported_type;

/// Checks what a commit requires of the current metadata, and that all of it was understood.
pub fn check(name: &TableName, requirements: &[TableRequirement], metadata: &TableMetadata) -> Result<(), CommitError> {
    for field in metadata.schemas_iter().flat_map(|schema| schema.as_struct().fields()) {
        if let Some(unsupported) = unsupported_type(field) {
            let column = &field.name;
            return Err(CommitError::Failed(Error::not_supported(format!(
                "table '{name}' cannot be changed: its column '{column}' is of type {unsupported}, which is not supported"
            ))));
        }
    }
    for requirement in requirements {
        if let Err(error) = requirement.check(Some(metadata)) {
            return Err(CommitError::Conflict(conflict(name).with_source(error)));
        }
    }
    Ok(())
}

/// The metadata after `updates`. `location` is where the given metadata lies, `None` for a table that is not yet created.
pub fn apply(
    name: &TableName,
    metadata: TableMetadata,
    location: Option<&str>,
    updates: Vec<TableUpdate>,
) -> Result<TableMetadataBuildResult, Error> {
    let failed = |error| from_iceberg(error, Code::IcebergCommitError, format!("cannot change table '{name}'"));
    let mut builder = metadata.into_builder(location.map(str::to_owned));
    for update in updates {
        builder = update.apply(builder).map_err(failed)?;
    }
    let built = builder.build().map_err(failed)?;
    check_partition_names(&built.metadata)?;
    Ok(built)
}

/// The error of a commit that met another one.
pub fn conflict(name: &TableName) -> Error {
    Error::new(Code::TransactionConflict, format!("table '{name}' was changed by another writer"))
        .with_hint("run the statement again")
        .with_retry(Retry::Query)
}
