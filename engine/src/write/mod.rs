//! Writing rows into the data files of Iceberg tables.
//!
//! [`write_plan`] puts the writer on top of a plan; its tasks write files that nobody sees and report them as rows; [`Written`] gathers of these
//! rows what a commit takes; [`discard`] deletes files that will not be committed. Commits themselves are the catalog's.

mod adopted;
mod adopted_values;
mod bounds;
mod changes;
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
mod ranges;
mod replaced;
mod report;
mod rewrite;
mod row_deletes;
mod shape;
mod task;
#[cfg(test)]
mod tests;
mod unfinished;
mod upload;
mod value;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::execution::session_state::SessionState;
use datafusion::physical_plan::ExecutionPlan;
use nunatak_catalog::Table;
use nunatak_catalog::commit::RowDelta;
use nunatak_catalog::spec::{DataFile, SortOrder};

pub use adopted::{Adopted, adopt};
pub use changes::DeletedRows;
pub use exec::IcebergWriteExec;
pub use layout::sampling;
pub use properties::check_property;
pub use ranges::Sample;
pub use replaced::replaced_partitions;
pub use report::Written;
pub use rewrite::{Chosen, compactable, remaining_rows, replacing, rows_of, with_rewritten, without_unused_deletes, zorder_columns};
pub use row_deletes::{all_rows, row_deletes};
pub use unfinished::Unfinished;
pub(crate) use value::encode;

/// Where rows are written, and for which query.
#[derive(Clone, Debug)]
pub struct WriteTarget {
    /// The table, at the metadata that the files are made for; it may be staged and not yet created.
    pub table: Table,
    /// What the write is called, and its files after it: no other has that name.
    pub name: String,
    /// What the rows are.
    pub rows: Rows,
    /// How many tasks may write rows of a table without partitions, each a file or more.
    pub tasks_max: usize,
    /// In which order rows are to lie.
    pub order: RowOrder,
    /// Some of the rows, if they were looked at: see [`sampling`].
    pub sample: Option<Sample>,
}

/// The order of rows within partitions.
#[derive(Clone, Debug, Default)]
pub enum RowOrder {
    /// The sort order of the table, if it has one.
    #[default]
    OfTable,
    /// Another one.
    Columns(SortOrder),
    /// Rows that are alike in all of these columns lie together.
    ZOrder(Vec<ZOrderColumn>),
    /// One that the rows have already.
    Arranged,
}

/// A column of [`RowOrder::ZOrder`], and between which values most of its own lie; NULL where that is not known.
#[derive(Clone, Debug)]
pub struct ZOrderColumn {
    /// Its name.
    pub name: String,
    /// None of its values is less.
    pub least: ScalarValue,
    /// None of its values is more.
    pub most: ScalarValue,
}

impl WriteTarget {
    /// A target of a query that any number of tasks write to.
    pub fn new(table: Table, query_id: &str, rows: Rows) -> Self {
        Self { table, name: format!("{query_id}-{}", location::random()), rows, tasks_max: usize::MAX, order: RowOrder::OfTable, sample: None }
    }
}

/// What the rows of a write are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// New rows: the columns of the table's current schema, in order.
    New,
    /// Changes: [`HiddenColumn::File`](crate::scan::HiddenColumn::File) and `_pos` of a row that is no longer, NULL where there is none. Where new rows can come in its place, there follow whether one does,
    /// the columns of the table, and in version 3 `_row_id`: the id that the new row has from the old one.
    Changes,
    /// Rows that are there already and move to another file: the columns of the table, and in version 3 `_row_id` and `_last_updated_sequence_number`.
    Rewritten,
}

/// Puts the writer on top of `input`, whose columns are those that the target's [`Rows`] have, of the Arrow types of [`crate::scan`].
///
/// Rows are brought together by partition and sorted by the table's sort order first, if it has them. Each partition of the plan gives one batch
/// with one row for each data file, for [`Written`]. A task that fails or is dropped deletes its files;
/// whoever runs the plan keeps an [`Unfinished`] meanwhile, for the files of tasks that had ended when another fails.
pub fn write_plan(input: Arc<dyn ExecutionPlan>, target: &WriteTarget, state: &SessionState) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    let arranged = match target.rows {
        Rows::New | Rows::Rewritten => layout::arrange(input, target, 0, state)?,
        Rows::Changes if input.schema().fields().len() == changes::DELETE_COLUMNS => input,
        Rows::Changes => layout::arrange(input, target, changes::LEADING_COLUMNS, state)?,
    };
    Ok(Arc::new(IcebergWriteExec::try_new(arranged, target.clone())?))
}

/// Deletes files of an attempt that failed or was cancelled. Best effort: nothing refers to them.
pub async fn discard(table: &Table, files: &[DataFile]) {
    discard_at(table, files.iter().map(|file| file.file_path().to_owned())).await;
}

/// Deletes the files of deletes of a change that will not have them.
pub async fn discard_deletes(table: &Table, delta: &RowDelta) {
    discard_at(table, delta.deletes.iter().map(|(_, file)| file.file_path().to_owned())).await;
}

/// Deletes the files of a change that will not be committed.
pub async fn discard_delta(table: &Table, delta: &RowDelta) {
    discard(table, &delta.data).await;
    discard_deletes(table, delta).await;
}

/// Deletion vectors share their file: each location is deleted once.
async fn discard_at(table: &Table, locations: impl Iterator<Item = String>) {
    let locations: Vec<String> = locations.collect::<BTreeSet<_>>().into_iter().collect();
    if let Err(error) = table.storage.delete_files(&locations).await {
        tracing::warn!(table = %table.name, %error, "files of a failed write could not be deleted");
    }
}
