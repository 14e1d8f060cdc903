//! SQL over plain files: what `SELECT ... FROM read_csv('...')` and `COPY INTO t FROM '...'` read.
//!
//! CSV and JSON are read record by record, so that a bad value is named with its file, line and column: `locate` lists the files, `infer` looks at
//! a sample of them, and [`RowFileSource`] streams them within DataFusion's `DataSourceExec`: `input` gives the bytes, a `decoder` (CSV or JSON)
//! takes records out of them, `convert` makes columns of them. Parquet is DataFusion's own. Nothing here knows Iceberg.

mod columns;
mod convert;
mod csv_decoder;
mod csv_records;
mod decoder;
mod faults;
mod infer;
mod infer_json;
mod infer_type;
mod input;
mod json_decoder;
mod json_records;
mod locate;
mod opener;
mod options;
mod parquet;
mod source;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::session_state::SessionState;
use nunatak_core::Result;

use crate::error::from_datafusion;

pub use options::{Compression, FileFormat, FileOptions, OnError, OptionValue};
pub use source::{RowFileSource, SchemaOrigin, rows_skipped};

/// The table that the files of `pattern` make: a path or a glob, absolute or relative to the server's working directory, or a URL of a store
/// that is configured.
///
/// With a `schema` (`COPY INTO`), a file's columns are matched to it by name whatever their case, or by position in a CSV file without a header, and
/// the table has exactly that schema. Without one it is inferred from a sample. Errors: `NOT_FOUND` if there is no such file, `INVALID_ARGUMENTS` if
/// all are empty, `COLUMN_NOT_FOUND` and `DUPLICATE_COLUMN_NAME` where columns do not match; `BAD_FILE_ROW` while the rows are read.
pub async fn file_table(
    state: &SessionState,
    format: FileFormat,
    pattern: &str,
    options: &FileOptions,
    schema: Option<SchemaRef>,
) -> Result<Arc<dyn TableProvider>> {
    let located = locate::locate(state, pattern).await.map_err(from_datafusion)?;
    if format == FileFormat::Parquet {
        return parquet::table(state, &located, schema).await.map_err(from_datafusion);
    }
    if located.files.iter().all(|file| file.size == 0) {
        return Err(infer::empty_file(&located));
    }
    let (schema, origin) = match schema {
        Some(schema) => (schema, SchemaOrigin::Declared),
        None => (infer::schema(&located, format, options).await.map_err(from_datafusion)?, SchemaOrigin::Sampled),
    };
    columns::check_types(&schema, format)?;
    Ok(Arc::new(table::RowFileTable::new(located, RowFileSource::new(format, options.clone(), origin, schema))))
}
