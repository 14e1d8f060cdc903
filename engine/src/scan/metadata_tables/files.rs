//! The files of a table's current snapshot, with the metrics that their writers noted.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Builder, Int64Builder, ListArray, MapBuilder, StringBuilder};
use arrow::datatypes::{Int32Type, Int64Type};
use nunatak_catalog::Table;
use nunatak_catalog::snapshot::{FileEntry, SnapshotFiles};
use nunatak_catalog::spec::{DataFile, Datum};
use nunatak_core::Result;

use super::partitions::PartitionRows;
use super::{Named, integers, long, longs, texts};

pub(super) fn files(table: &Table, files: &SnapshotFiles) -> Result<Vec<Named>> {
    let entries: Vec<&FileEntry> = files.data.iter().chain(&files.deletes).map(Arc::as_ref).collect();
    let of_files = || entries.iter().map(|entry| &entry.file);
    let mut columns: Vec<Named> = vec![
        ("content", integers(of_files().map(|file| file.content_type() as i32))),
        ("file_path", texts(of_files().map(DataFile::file_path))),
        ("file_format", texts(of_files().map(|file| file.file_format().to_string().to_uppercase()))),
        ("spec_id", integers(entries.iter().map(|entry| entry.spec_id))),
    ];
    if let Some(partitions) = PartitionRows::new(&table.metadata)?.rows(entries.iter().copied())? {
        columns.push(("partition", partitions));
    }
    columns.extend([
        ("record_count", longs(of_files().map(|file| long(file.record_count())))),
        ("file_size_in_bytes", longs(of_files().map(|file| long(file.file_size_in_bytes())))),
        ("column_sizes", counts(of_files().map(DataFile::column_sizes))),
        ("value_counts", counts(of_files().map(DataFile::value_counts))),
        ("null_value_counts", counts(of_files().map(DataFile::null_value_counts))),
        ("nan_value_counts", counts(of_files().map(DataFile::nan_value_counts))),
        ("lower_bounds", bounds(of_files().map(DataFile::lower_bounds))),
        ("upper_bounds", bounds(of_files().map(DataFile::upper_bounds))),
        ("key_metadata", Arc::new(of_files().map(DataFile::key_metadata).collect::<BinaryArray>())),
        ("split_offsets", split_offsets(of_files())),
        ("equality_ids", equality_ids(of_files())),
        ("sort_order_id", integers(of_files().map(DataFile::sort_order_id))),
    ]);
    Ok(columns)
}

fn counts<'a>(maps: impl Iterator<Item = &'a HashMap<i32, u64>>) -> ArrayRef {
    let mut builder = MapBuilder::new(None, Int32Builder::new(), Int64Builder::new());
    for map in maps {
        for (id, count) in sorted(map) {
            builder.keys().append_value(id);
            builder.values().append_value(long(*count));
        }
        // As many keys as values were appended: this cannot fail.
        let _ = builder.append(!map.is_empty());
    }
    Arc::new(builder.finish())
}

fn bounds<'a>(maps: impl Iterator<Item = &'a HashMap<i32, Datum>>) -> ArrayRef {
    let mut builder = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    for map in maps {
        for (id, bound) in sorted(map) {
            builder.keys().append_value(id);
            builder.values().append_value(bound.to_human_string());
        }
        // As many keys as values were appended: this cannot fail.
        let _ = builder.append(!map.is_empty());
    }
    Arc::new(builder.finish())
}

fn sorted<V>(map: &HashMap<i32, V>) -> Vec<(i32, &V)> {
    let mut entries: Vec<(i32, &V)> = map.iter().map(|(id, value)| (*id, value)).collect();
    entries.sort_unstable_by_key(|(id, _)| *id);
    entries
}

fn split_offsets<'a>(files: impl Iterator<Item = &'a DataFile>) -> ArrayRef {
    let lists = files.map(|file| file.split_offsets().map(|offsets| offsets.iter().copied().map(Some).collect::<Vec<_>>()));
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
}

fn equality_ids<'a>(files: impl Iterator<Item = &'a DataFile>) -> ArrayRef {
    let lists = files.map(|file| file.equality_ids().map(|ids| ids.into_iter().map(Some).collect::<Vec<_>>()));
    Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
}
