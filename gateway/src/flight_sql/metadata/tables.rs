//! GetTables, and what it shares with GetDbSchemas.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::error::FlightError;
use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::metadata::GetTablesBuilder;
use nunatak_coordinator::query::{Coordinator, TableFilter};
use nunatak_core::error::Code;
use nunatak_core::{Error, Result as NunatakResult};
use tonic::Status;

use super::super::status;
use super::columns;

/// The kinds of tables there are.
pub(super) const KINDS: [&str; 3] = ["SYSTEM TABLE", "TABLE", "VIEW"];

/// The tables that a command asks for.
pub(super) async fn rows(coordinator: &Coordinator, user: &str, query: CommandGetTables) -> Result<Result<RecordBatch, FlightError>, Status> {
    let filter = TableFilter {
        catalog: query.catalog.clone(),
        schema_pattern: passed_on(query.db_schema_filter_pattern.as_deref()).map(str::to_owned),
        table_pattern: passed_on(query.table_name_filter_pattern.as_deref()).map(str::to_owned),
        // Grafana asks for kinds in lower case.
        kinds: query.table_types.iter().map(|kind| kind.to_uppercase()).collect(),
        with_columns: query.include_schema,
    };
    let tables = or_none(coordinator.tables(&filter).await, user)?;
    // The builder filters again, and not by kind: that the coordinator does, to whom TABLE and BASE TABLE are the same.
    let mut builder = GetTablesBuilder::new(
        query.catalog,
        query.db_schema_filter_pattern,
        query.table_name_filter_pattern,
        Vec::<String>::new(),
        query.include_schema,
    );
    for table in tables {
        let schema = if query.include_schema { columns::described(&table) } else { Schema::empty() };
        if let Err(error) = builder.append(&table.catalog, &table.schema, &table.name, table.kind, &schema) {
            return Ok(Err(error));
        }
    }
    Ok(builder.build())
}

/// A pattern that the coordinator's listings can take. It knows `%` and `_`; drivers escape these with a backslash, and then arrow-flight's builder
/// does the filtering alone.
pub(super) fn passed_on(pattern: Option<&str>) -> Option<&str> {
    pattern.filter(|pattern| !pattern.contains('\\'))
}

/// A listing of a catalog or schema that is not there is empty, and no error.
pub(super) fn or_none<T>(listed: NunatakResult<Vec<T>>, user: &str) -> Result<Vec<T>, Status> {
    listed.or_else(|error| if is_absence(&error) { Ok(Vec::new()) } else { Err(status::failed(&error, user, None)) })
}

fn is_absence(error: &Error) -> bool {
    matches!(error.code(), Code::NotFound | Code::CatalogNotFound | Code::SchemaNotFound)
}
