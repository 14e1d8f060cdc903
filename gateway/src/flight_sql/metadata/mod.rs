//! Metadata commands: for each its schema, and its rows as one batch.

mod columns;
mod keys;
mod tables;
mod types;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::XdbcTypeInfoData;
use arrow_flight::sql::{Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes};
use nunatak_coordinator::query::Coordinator;
use tonic::Status;

use super::sql_info::SqlInfos;
use super::{status, unsupported_command};

/// What never changes while the server runs.
pub(super) struct Metadata {
    sql_info: SqlInfos,
    types: XdbcTypeInfoData,
}

impl Metadata {
    /// Builds it.
    pub(super) fn new() -> Result<Self, FlightError> {
        Ok(Self { sql_info: SqlInfos::build()?, types: types::build()? })
    }

    /// The schema of what a metadata command gives.
    pub(super) fn schema(&self, command: Command) -> Result<SchemaRef, Status> {
        match command {
            Command::CommandGetCatalogs(query) => Ok(query.into_builder().schema()),
            Command::CommandGetDbSchemas(query) => Ok(query.into_builder().schema()),
            Command::CommandGetTables(query) => Ok(query.into_builder().schema()),
            Command::CommandGetTableTypes(query) => Ok(query.into_builder().schema()),
            Command::CommandGetSqlInfo(_) => Ok(self.sql_info.schema()),
            Command::CommandGetXdbcTypeInfo(_) => Ok(self.types.schema()),
            Command::CommandGetPrimaryKeys(_) => Ok(keys::primary_schema()),
            Command::CommandGetExportedKeys(_) | Command::CommandGetImportedKeys(_) | Command::CommandGetCrossReference(_) => {
                Ok(keys::foreign_schema())
            }
            other => Err(unsupported_command(&other)),
        }
    }

    /// What a metadata command gives.
    pub(super) async fn rows(&self, coordinator: &Coordinator, user: &str, command: Command) -> Result<RecordBatch, Status> {
        let built = match command {
            Command::CommandGetCatalogs(query) => catalogs(coordinator, user, query).await?,
            Command::CommandGetDbSchemas(query) => schemas(coordinator, user, query).await?,
            Command::CommandGetTables(query) => tables::rows(coordinator, user, query).await?,
            Command::CommandGetTableTypes(query) => table_types(query),
            Command::CommandGetSqlInfo(query) => self.sql_info.rows(query.info),
            Command::CommandGetXdbcTypeInfo(query) => query.into_builder(&self.types).build(),
            // Iceberg has no keys that are held to.
            other => Ok(RecordBatch::new_empty(self.schema(other)?)),
        };
        built.map_err(|error| status::defect("cannot build the rows of a metadata command", error))
    }
}

async fn catalogs(coordinator: &Coordinator, user: &str, query: CommandGetCatalogs) -> Result<Result<RecordBatch, FlightError>, Status> {
    let mut builder = query.into_builder();
    for catalog in coordinator.catalogs().await.map_err(|error| status::failed(&error, user, None))? {
        builder.append(catalog);
    }
    Ok(builder.build())
}

async fn schemas(coordinator: &Coordinator, user: &str, query: CommandGetDbSchemas) -> Result<Result<RecordBatch, FlightError>, Status> {
    let pattern = tables::passed_on(query.db_schema_filter_pattern.as_deref());
    let listed = coordinator.schemas(query.catalog.as_deref(), pattern).await;
    let listed = tables::or_none(listed, user)?;
    let mut builder = query.into_builder();
    for (catalog, schema) in listed {
        builder.append(catalog, schema);
    }
    Ok(builder.build())
}

fn table_types(query: CommandGetTableTypes) -> Result<RecordBatch, FlightError> {
    let mut builder = query.into_builder();
    for kind in tables::KINDS {
        builder.append(kind);
    }
    builder.build()
}
