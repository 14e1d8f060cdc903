//! Data files that are written again without the rows that are no longer in them: by copy-on-write and by compaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::common::stats::Precision;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ident};
use nunatak_catalog::commit::RowDelta;
use nunatak_catalog::evolution::comparable_partition;
use nunatak_catalog::snapshot::FileEntry;
use nunatak_catalog::spec::{DataFile, Struct};
use nunatak_core::{Code, Error, Result};

use super::ZOrderColumn;
use crate::error::{from_datafusion, suggest};
use crate::functions::zorder;
use crate::scan::types::field_names;
use crate::scan::{HiddenColumn, IcebergTable, ScanContext, ScanFiles};
use crate::sql::column_place;

/// What is left of the data files in which `delta` deletes rows, as rows for [`Rows::Rewritten`](super::Rows::Rewritten). The delta's files of deletes are read, so
/// they must not be removed before the rows are; no snapshot needs to have them.
pub async fn remaining_rows(table: &IcebergTable, scan: &Arc<ScanContext>, delta: &RowDelta) -> Result<LogicalPlan> {
    let mut files = table.load_files().await?.clone().only(&touched_files(delta).collect());
    files.deletes = Arc::new(files.deletes.with(delta.deletes.iter().map(|(_, file)| file))?);
    rows_of(table, scan, files)
}

/// The rows of some files of a table, for [`Rows::Rewritten`](super::Rows::Rewritten).
pub fn rows_of(table: &IcebergTable, scan: &Arc<ScanContext>, files: ScanFiles) -> Result<LogicalPlan> {
    let rest = IcebergTable::new(table.table().clone(), table.snapshot().cloned(), Arc::clone(scan))?.with_hidden_columns().with_files(files);
    let lineage = [HiddenColumn::RowId, HiddenColumn::LastUpdatedSequenceNumber].into_iter().filter(|column| rest.hidden_columns().contains(column));
    let lineage: Vec<_> = lineage.map(|column| ident(column.name())).collect();
    let columns: Vec<_> = field_names(rest.iceberg_schema().as_struct()).into_iter().map(ident).chain(lineage).collect();
    let rest: Arc<dyn TableProvider> = Arc::new(rest);
    let scan = LogicalPlanBuilder::scan("rest", provider_as_source(rest), None);
    scan.and_then(|scan| scan.project(columns)).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

/// The change `delta` with data files that were written again in place of those with deletes: `rewritten` are [`remaining_rows`].
pub async fn with_rewritten(table: &IcebergTable, mut delta: RowDelta, rewritten: Vec<DataFile>) -> Result<RowDelta> {
    let index = &table.load_files().await?.deletes;
    for path in touched_files(&delta).collect::<HashSet<_>>() {
        delta.removed_deletes.extend(index.only_of(&path));
        delta.removed_data.insert(path);
    }
    delta.deletes.clear();
    delta.data.extend(rewritten);
    Ok(delta)
}

/// The locations of the data files that `delta` has files of deletes for.
fn touched_files(delta: &RowDelta) -> impl Iterator<Item = String> {
    delta.deletes.iter().filter_map(|(_, file)| file.referenced_data_file())
}

/// The change that puts data files with the same rows in the place of `files`.
pub fn replacing(files: &ScanFiles, rewritten: Vec<DataFile>, sequence_number: Option<i64>) -> RowDelta {
    let paths = || files.files.iter().map(|entry| entry.file.file_path());
    RowDelta {
        data: rewritten,
        data_sequence_number: sequence_number,
        removed_data: paths().map(str::to_owned).collect(),
        removed_deletes: paths().flat_map(|path| files.deletes.only_of(path)).collect(),
        ..RowDelta::default()
    }
}

/// The removal of files of deletes that apply to none of `files` any more, which are all files of a snapshot: when rows are written again without what was deleted of
/// them, deletes by value and those of several data files stay behind.
pub fn without_unused_deletes(files: &ScanFiles) -> RowDelta {
    RowDelta { removed_deletes: files.deletes.unused(files.files.iter()), ..RowDelta::default() }
}

/// A file that compaction may write again.
struct Candidate<'a> {
    entry: &'a Arc<FileEntry>,
    /// Whether it does so even if there is no other.
    must: bool,
}

/// Which files compaction writes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// All.
    All,
    /// Of each partition those smaller than so many bytes, if there are several, those with deletes, and those of a partitioning that the table no longer has.
    SmallerThan(u64),
}

/// The columns by which rows are brought together, with what is known of their values.
///
/// Errors: `COLUMN_NOT_FOUND`, `NOT_SUPPORTED` for columns of a type without an order.
pub async fn zorder_columns(table: &IcebergTable, names: &[String]) -> Result<Vec<ZOrderColumn>> {
    // Only then are the bounds of columns known.
    table.load_files().await?;
    let schema = TableProvider::schema(table);
    let statistics = TableProvider::statistics(table);
    let column = |name: &String| {
        let position = column_place(name, schema.fields().iter().map(|field| field.name().as_str())).ok_or_else(|| {
            let missing = Error::new(Code::ColumnNotFound, format!("column '{name}' does not exist"));
            suggest(missing, name, schema.fields().iter().map(|field| field.name().as_str()))
        })?;
        let field = schema.field(position);
        if !zorder::takes(field.data_type()) {
            return Err(Error::not_supported(format!("column '{name}' cannot be z-ordered by: its type has no order that bits could have")));
        }
        let statistics = statistics.as_ref().and_then(|statistics| statistics.column_statistics.get(position));
        let known = |value: Option<&Precision<ScalarValue>>| value.and_then(Precision::get_value).cloned().unwrap_or(ScalarValue::Null);
        let (least, most) = (known(statistics.map(|column| &column.min_value)), known(statistics.map(|column| &column.max_value)));
        Ok(ZOrderColumn { name: field.name().clone(), least, most })
    };
    names.iter().map(column).collect()
}

/// The next files that compaction writes again, about `bytes_max` of them; none if there is nothing to do. Files in `new` are left alone.
pub fn compactable(table: &IcebergTable, mut files: ScanFiles, wanted: Chosen, bytes_max: u64, new: &HashSet<String>) -> ScanFiles {
    let is_small = |entry: &FileEntry| matches!(wanted, Chosen::SmallerThan(bytes) if entry.file.file_size_in_bytes() < bytes);
    let current_spec = table.table().metadata.default_partition_spec_id();
    let mut by_partition: HashMap<(i32, Struct), Vec<Candidate<'_>>> = HashMap::new();
    let mut order = Vec::new();
    for entry in files.files.iter().filter(|entry| !new.contains(entry.file.file_path())) {
        let must = wanted == Chosen::All || entry.spec_id != current_spec || files.deletes.of(entry).is_some();
        if must || is_small(entry) {
            let key = (entry.spec_id, comparable_partition(entry.file.partition()));
            let candidates = by_partition.entry(key.clone()).or_default();
            if candidates.is_empty() {
                order.push(key);
            }
            candidates.push(Candidate { entry, must });
        }
    }
    let (mut chosen, mut bytes) = (Vec::new(), 0);
    for key in order {
        let candidates = by_partition.remove(&key).unwrap_or_default();
        if candidates.len() < 2 && !candidates.iter().any(|candidate| candidate.must) {
            continue;
        }
        for (number, Candidate { entry, .. }) in candidates.into_iter().enumerate() {
            // One file alone would be as small as before.
            if !chosen.is_empty() && number != 1 && bytes + entry.file.file_size_in_bytes() > bytes_max {
                files.files = chosen;
                return files;
            }
            bytes += entry.file.file_size_in_bytes();
            chosen.push(Arc::clone(entry));
        }
    }
    files.files = chosen;
    files
}
