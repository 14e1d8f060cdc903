//! Writing rows into the data files of Iceberg tables.
//!
//! [`write_plan`] puts the writer on top of a plan; its tasks write files that nobody sees and report them as rows; [`data_files`] makes of these
//! rows what a commit takes; [`discard`] deletes files that will not be committed. Commits themselves are the catalog's.

mod bounds;
mod clustering;
mod conform;
mod exec;
mod file;
mod file_schema;
mod layout;
mod location;
mod metrics;
mod metrics_mode;
mod partition;
mod properties;
mod report;
mod row_deletes;
mod shape;
mod task;
#[cfg(test)]
mod tests;
mod upload;
mod value;

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use nunatak_catalog::Table;
use nunatak_catalog::spec::DataFile;
use nunatak_core::Result;

pub use exec::IcebergWriteExec;
pub use row_deletes::{discard_deletes, row_deletes};

/// Where rows are written, and for which query.
#[derive(Clone, Debug)]
pub struct WriteTarget {
    /// The table, at the metadata that the files are made for; it may be staged and not yet created.
    pub table: Table,
    /// The query, which gives files their names.
    pub query_id: String,
}

/// Puts the writer on top of `input`, whose columns are exactly those of the table's current schema, in order and of the Arrow types of
/// [`crate::scan`].
///
/// Rows are brought together by partition and sorted by the table's sort order first, if it has them. Each partition of the plan gives one batch
/// with one row for each data file: `data_file` (text for [`data_files`]) and `record_count`. A task that fails or is dropped deletes its files;
/// whoever runs the plan should read it as a stream, so that files of the tasks that had ended can be given to [`discard`] when another fails.
pub fn write_plan(input: Arc<dyn ExecutionPlan>, target: &WriteTarget, state: &SessionState) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    let arranged = layout::arrange(input, &target.table.metadata, state)?;
    Ok(Arc::new(IcebergWriteExec::try_new(arranged, target.clone())?))
}

/// The data files that the batches of a write tell of, for the commit.
pub fn data_files(batches: &[RecordBatch], table: &Table) -> Result<Vec<DataFile>> {
    report::from_batches(batches, table)
}

/// Deletes files of an attempt that failed or was cancelled. Best effort: nothing refers to them.
pub async fn discard(table: &Table, files: &[DataFile]) {
    let locations: Vec<String> = files.iter().map(|file| file.file_path().to_owned()).collect();
    if let Err(error) = table.storage.delete_files(&locations).await {
        tracing::warn!(table = %table.name, %error, "files of a failed write could not be deleted");
    }
}
