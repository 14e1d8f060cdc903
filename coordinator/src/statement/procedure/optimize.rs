//! `optimize`: small files, files with deletes and files of an older partitioning are written again, part by part. What a part has done stays when a later one
//! fails or is stopped, and the next run goes on from there.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::Expr;
use nunatak_catalog::commit::{self, CommitError, Retries, RetryPolicy};
use nunatak_catalog::spec::TableMetadata;
use nunatak_core::{Code, Error, Result};
use nunatak_engine::scan::{IcebergTable, ScanFiles};
use nunatak_engine::sql::QualifiedName;
use nunatak_engine::write::{Chosen, RowOrder, Rows, WriteTarget, compactable, discard, replacing, rows_of, without_unused_deletes, zorder_columns};

use super::super::table_properties::sort_order;
use super::super::{StatementContext, insert};
use super::Metrics;
use super::arguments::Arguments;

/// Files below this are small, unless `file_size_threshold` says otherwise (Trino's default).
pub(crate) const SMALL_BYTES: u64 = 100 * 1024 * 1024;

/// How many bytes are written again before they are committed.
const PART_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

#[derive(Default)]
struct Done {
    rewritten_files: u64,
    rewritten_bytes: u64,
    removed_deletes: u64,
    added_files: u64,
    commits: u64,
}

impl Done {
    fn add(&mut self, files: &ScanFiles, deletes: usize, added: usize) {
        self.rewritten_files += files.files.len() as u64;
        self.rewritten_bytes += files.bytes();
        self.removed_deletes += deletes as u64;
        self.added_files += added as u64;
        self.commits += 1;
    }

    fn metrics(self) -> Metrics {
        vec![
            ("rewritten_data_files_count", self.rewritten_files),
            ("rewritten_bytes", self.rewritten_bytes),
            ("removed_delete_files_count", self.removed_deletes),
            ("added_data_files_count", self.added_files),
            ("commits_count", self.commits),
        ]
    }
}

pub(super) fn prepare(
    mut context: StatementContext,
    name: QualifiedName,
    mut arguments: Arguments,
    filter: Option<Expr>,
) -> Result<impl Future<Output = Result<Metrics>> + Send> {
    let small_bytes = arguments.bytes("file_size_threshold")?.unwrap_or(SMALL_BYTES);
    let dry_run = arguments.flag("dry_run")?;
    let (sorted_by, zorder_by) = (arguments.texts("sorted_by")?, arguments.texts("zorder_by")?);
    let mut bytes_left = arguments.bytes("bytes_max")?.unwrap_or(u64::MAX);
    arguments.end()?;
    if sorted_by.is_some() && zorder_by.is_some() {
        return Err(Error::new(Code::InvalidProcedureArgument, "optimize takes sorted_by or zorder_by, not both"));
    }
    // Rows of a file that is left out would lie anywhere.
    let wanted = if sorted_by.is_some() || zorder_by.is_some() { Chosen::All } else { Chosen::SmallerThan(small_bytes) };
    Ok(async move {
        let (mut done, mut new) = (Done::default(), HashSet::new());
        let mut retries: Option<Retries> = None;
        loop {
            let (table, files) = context.planner.table_files(&name, filter.as_ref()).await?;
            let bytes_max = if dry_run { bytes_left } else { PART_BYTES_MAX.min(bytes_left) };
            let part = compactable(&table, files, wanted, bytes_max, &new);
            if part.files.is_empty() || bytes_left == 0 {
                if !dry_run {
                    remove_unused_deletes(&mut context, &name, &mut done).await?;
                }
                return Ok(done.metrics());
            }
            if dry_run {
                done.add(&part, replacing(&part, Vec::new(), None).removed_deletes.len(), 0);
                return Ok(Done { commits: 0, ..done }.metrics());
            }
            let order = match (&sorted_by, &zorder_by) {
                (Some(columns), _) => RowOrder::Columns(sort_order(columns, table.iceberg_schema())?),
                (None, Some(columns)) => RowOrder::ZOrder(zorder_columns(&table, columns).await?),
                (None, None) => RowOrder::OfTable,
            };
            match rewrite(&context, &name, &table, &part, small_bytes, order).await {
                Ok((deletes, added)) => {
                    done.add(&part, deletes, added.len());
                    bytes_left = bytes_left.saturating_sub(part.bytes());
                    new.extend(added);
                    retries = None;
                }
                Err(CommitError::Conflict(error)) => {
                    let policy = RetryPolicy::from_properties(table.table().metadata.properties())?;
                    retries.get_or_insert_with(|| Retries::new(policy)).wait(error).await?;
                }
                Err(error) => return Err(error.into_error()),
            }
            context.forget_tables();
        }
    })
}

/// Removes files of deletes that no data file needs any more, also those that others have left.
async fn remove_unused_deletes(context: &mut StatementContext, name: &QualifiedName, done: &mut Done) -> Result<()> {
    let mut retries: Option<Retries> = None;
    loop {
        context.forget_tables();
        let (table, files) = context.planner.table_files(name, None).await?;
        let delta = without_unused_deletes(&files);
        let count = delta.removed_deletes.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let base = table.table();
        match commit::rewrite_files(context.engine.catalog(&name.catalog)?.as_ref(), base, delta, false, &context.summary(base)).await {
            Ok(_) => {
                done.removed_deletes += count;
                done.commits += 1;
                return Ok(());
            }
            Err(CommitError::Conflict(error)) => {
                let policy = RetryPolicy::from_properties(base.metadata.properties())?;
                retries.get_or_insert_with(|| Retries::new(policy)).wait(error).await?;
            }
            Err(error) => return Err(error.into_error()),
        }
    }
}

/// Writes one part again: how many files of deletes went with it, and the new files.
async fn rewrite(
    context: &StatementContext,
    name: &QualifiedName,
    table: &IcebergTable,
    part: &ScanFiles,
    small_bytes: u64,
    order: RowOrder,
) -> Result<(usize, Vec<String>), CommitError> {
    let base = table.table();
    let mut target = WriteTarget::new(base.clone(), &context.id.to_string(), Rows::Rewritten);
    target.order = order;
    // None of the new files is to be small again.
    target.tasks_max = usize::try_from(part.bytes() / small_bytes.max(1)).unwrap_or(usize::MAX).max(1);
    let rows = rows_of(table, context.engine.scan(), part.clone())?;
    let written = insert::write(context, &context.write_plan(&rows, target).await?, base).await?;
    let added = written.files.iter().map(|file| file.file_path().to_owned()).collect();
    let delta = replacing(part, written.files.clone(), table.snapshot().map(|snapshot| snapshot.sequence_number()));
    let deletes = delta.removed_deletes.len();
    let catalog = context.engine.catalog(&name.catalog)?;
    match commit::rewrite_files(catalog.as_ref(), base, delta, repartitions(&base.metadata, part), &context.summary(base)).await {
        Ok(_) => Ok((deletes, added)),
        Err(CommitError::Unknown(error)) => Err(CommitError::Unknown(error)),
        Err(error) => {
            discard(base, &written.files).await;
            Err(error)
        }
    }
}

/// Whether rows of files leave partitions for those of another spec. Deletes that were written without partitions apply everywhere.
fn repartitions(metadata: &TableMetadata, files: &ScanFiles) -> bool {
    let has_partitions = |spec_id| metadata.partition_spec_by_id(spec_id).is_none_or(|spec| !spec.is_unpartitioned());
    files.files.iter().any(|entry| entry.spec_id != metadata.default_partition_spec_id() && has_partitions(entry.spec_id))
}
