//! The entries of a table's manifests: what each says about a file, and whether the file was added, kept or removed.

use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::Field;
use nunatak_catalog::Table;
use nunatak_catalog::snapshot::{self, FileEntry};
use nunatak_catalog::spec::ManifestFile;
use nunatak_core::Result;

use super::files::columns_of;
use super::{Named, integers, longs};

pub(super) async fn entries(table: &Table, manifests: Vec<ManifestFile>) -> Result<Vec<Named>> {
    let entries = snapshot::entries(table, manifests).await?;
    let files: Vec<&FileEntry> = entries.iter().map(|(_, file)| file).collect();
    Ok(vec![
        ("status", integers(entries.iter().map(|(status, _)| *status as i32))),
        ("snapshot_id", longs(files.iter().map(|file| file.snapshot_id))),
        ("sequence_number", longs(files.iter().map(|file| file.data_sequence_number))),
        ("file_sequence_number", longs(files.iter().map(|file| file.file_sequence_number))),
        ("data_file", row(columns_of(table, &files)?)),
    ])
}

/// Columns as the fields of one.
fn row(columns: Vec<Named>) -> ArrayRef {
    let fields = columns.into_iter().map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array));
    Arc::new(StructArray::from(fields.collect::<Vec<_>>()))
}
