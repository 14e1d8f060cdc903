//! The rows that a table's position deletes and deletion vectors delete, one by one.

use std::sync::Arc;

use arrow::array::{Int64Builder, StringBuilder};
use nunatak_catalog::Table;
use nunatak_catalog::snapshot::{FileEntry, SnapshotFiles};
use nunatak_core::Result;

use super::partitions::PartitionRows;
use super::{Named, integers, texts};
use crate::scan::deletes::DeleteReader;

pub(super) async fn position_deletes(table: &Table, files: &SnapshotFiles, reader: &DeleteReader) -> Result<Vec<Named>> {
    let (mut paths, mut positions) = (StringBuilder::new(), Int64Builder::new());
    // The delete file of each row.
    let mut of_rows: Vec<&FileEntry> = Vec::new();
    for entry in &files.deletes {
        for (path, deleted) in reader.positions_in(entry).await? {
            for position in &deleted {
                paths.append_value(&path);
                positions.append_value(i64::try_from(position).unwrap_or(i64::MAX));
                of_rows.push(entry);
            }
        }
    }
    let mut columns: Vec<Named> = vec![("file_path", Arc::new(paths.finish())), ("pos", Arc::new(positions.finish()))];
    if let Some(partitions) = PartitionRows::new(&table.metadata)?.rows(of_rows.iter().copied())? {
        columns.push(("partition", partitions));
    }
    columns.push(("spec_id", integers(of_rows.iter().map(|entry| entry.spec_id))));
    columns.push(("delete_file_path", texts(of_rows.iter().map(|entry| entry.file.file_path()))));
    Ok(columns)
}
