//! The partitions that new data files stand in place of (`INSERT OVERWRITE` with dynamic partitions).

use std::collections::HashSet;

use nunatak_catalog::commit::RowDelta;
use nunatak_catalog::evolution::comparable_partition;
use nunatak_catalog::snapshot::{self, FileEntry};
use nunatak_catalog::spec::{DataFile, Struct};
use nunatak_core::{Error, Result};

use super::all_rows;
use crate::scan::{IcebergTable, ScanContext};

/// The removal of all rows of the partitions that `written` are in, at the snapshot of `table`. An unpartitioned table is one partition.
///
/// Errors: `NOT_SUPPORTED` for a table with files of an older partitioning, whose rows may belong to any of these partitions.
pub async fn replaced_partitions(table: &IcebergTable, scan: &ScanContext, written: &[DataFile]) -> Result<RowDelta> {
    let (Some(head), false) = (table.snapshot(), written.is_empty()) else { return Ok(RowDelta::default()) };
    let spec = table.table().metadata.default_partition_spec();
    if spec.is_unpartitioned() {
        return Ok(all_rows(table, scan).await?.0);
    }
    let files = snapshot::files(table.table(), head, scan.manifest_cache(), &|_| true).await?;
    if let Some(other) = files.data.iter().find(|entry| entry.spec_id != spec.spec_id()) {
        return Err(Error::not_supported(format!(
            "partitions of table '{}' cannot be replaced: '{}' was written with an older partitioning",
            table.table().name,
            other.file.file_path()
        ))
        .with_hint("ALTER TABLE ... EXECUTE optimize writes such files again, or SET SESSION insert_overwrite_mode = 'static'"));
    }
    let partitions: HashSet<Struct> = written.iter().map(|file| comparable_partition(file.partition())).collect();
    let is_replaced = |entry: &FileEntry| entry.spec_id == spec.spec_id() && partitions.contains(&comparable_partition(entry.file.partition()));
    Ok(RowDelta {
        removed_data: files.data.iter().filter(|entry| is_replaced(entry)).map(|entry| entry.file.file_path().to_owned()).collect(),
        removed_deletes: files.deletes.iter().filter(|entry| is_replaced(entry)).map(|entry| entry.key()).collect(),
        ..RowDelta::default()
    })
}
