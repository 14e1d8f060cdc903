//! The files of a table's current snapshot, with the metrics that their writers noted.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int32Builder, Int64Builder, ListArray, MapBuilder, StringBuilder};
use arrow::datatypes::{Int32Type, Int64Type};
use nunatak_catalog::Table;
use nunatak_catalog::snapshot::{ColumnMetrics, FileEntry, ListedFile, SnapshotFiles};
use nunatak_catalog::spec::{Datum, PrimitiveLiteral, PrimitiveType};
use nunatak_core::Result;
use serde_json::{Value, json};

use super::partitions::PartitionRows;
use super::{Named, bound_text, integers, long, longs, texts};

pub(super) fn files(table: &Table, files: &SnapshotFiles) -> Result<Vec<Named>> {
    let entries: Vec<&FileEntry> = files.data.iter().chain(&files.deletes).map(Arc::as_ref).collect();
    let mut columns = columns_of(table, &entries)?;
    columns.push(("readable_metrics", readable_metrics(table, &entries)));
    Ok(columns)
}

/// The metrics of each file by the names of columns, as JSON like Trino's.
fn readable_metrics(table: &Table, entries: &[&FileEntry]) -> ArrayRef {
    let schema = table.metadata.current_schema();
    texts(entries.iter().map(|entry| {
        let columns = entry.file.all_metrics().into_iter().filter_map(|(id, column)| {
            let metrics = json!({
                "column_size": column.column_size,
                "value_count": column.value_count,
                "null_value_count": column.null_value_count,
                "nan_value_count": column.nan_value_count,
                "lower_bound": column.lower_bound.as_ref().map(readable),
                "upper_bound": column.upper_bound.as_ref().map(readable),
            });
            Some((schema.name_by_field_id(id)?.to_owned(), metrics))
        });
        Value::Object(columns.collect()).to_string()
    }))
}

/// A bound as JSON: numbers and booleans as such, all else as text.
fn readable(bound: &Datum) -> Value {
    match (bound.data_type(), bound.literal()) {
        (PrimitiveType::Int | PrimitiveType::Long, PrimitiveLiteral::Int(number)) => json!(number),
        (PrimitiveType::Int | PrimitiveType::Long, PrimitiveLiteral::Long(number)) => json!(number),
        (_, PrimitiveLiteral::Boolean(value)) => json!(value),
        (_, PrimitiveLiteral::Float(number)) => json!(number.0),
        (_, PrimitiveLiteral::Double(number)) => json!(number.0),
        _ => json!(bound_text(bound)),
    }
}

/// What manifests say about files, a column each.
pub(super) fn columns_of(table: &Table, entries: &[&FileEntry]) -> Result<Vec<Named>> {
    let of_files = || entries.iter().map(|entry| &entry.file);
    let metrics: Vec<Vec<(i32, ColumnMetrics)>> = of_files().map(ListedFile::all_metrics).collect();
    let mut columns: Vec<Named> = vec![
        ("content", integers(of_files().map(|file| file.content_type() as i32))),
        ("file_path", texts(of_files().map(ListedFile::file_path))),
        ("file_format", texts(of_files().map(|file| file.file_format().to_string().to_uppercase()))),
        ("spec_id", integers(entries.iter().map(|entry| entry.spec_id))),
    ];
    if let Some(partitions) = PartitionRows::new(&table.metadata)?.rows(entries.iter().copied())? {
        columns.push(("partition", partitions));
    }
    columns.extend([
        ("record_count", longs(of_files().map(|file| long(file.record_count())))),
        ("file_size_in_bytes", longs(of_files().map(|file| long(file.file_size_in_bytes())))),
        ("column_sizes", counts(&metrics, |column| column.column_size)),
        ("value_counts", counts(&metrics, |column| column.value_count)),
        ("null_value_counts", counts(&metrics, |column| column.null_value_count)),
        ("nan_value_counts", counts(&metrics, |column| column.nan_value_count)),
        ("lower_bounds", bounds(&metrics, |column| column.lower_bound.as_ref())),
        ("upper_bounds", bounds(&metrics, |column| column.upper_bound.as_ref())),
        ("key_metadata", Arc::new(of_files().map(ListedFile::key_metadata).collect::<BinaryArray>())),
        ("split_offsets", split_offsets(of_files())),
        ("equality_ids", equality_ids(of_files())),
        ("sort_order_id", integers(of_files().map(ListedFile::sort_order_id))),
    ]);
    Ok(columns)
}

fn counts(files: &[Vec<(i32, ColumnMetrics)>], count: impl Fn(&ColumnMetrics) -> Option<u64>) -> ArrayRef {
    let mut builder = MapBuilder::new(None, Int32Builder::new(), Int64Builder::new());
    for columns in files {
        let mut found = false;
        for (id, count) in columns.iter().filter_map(|(id, column)| Some((id, count(column)?))) {
            builder.keys().append_value(*id);
            builder.values().append_value(long(count));
            found = true;
        }
        // As many keys as values were appended: this cannot fail.
        let _ = builder.append(found);
    }
    Arc::new(builder.finish())
}

fn bounds(files: &[Vec<(i32, ColumnMetrics)>], bound: impl Fn(&ColumnMetrics) -> Option<&Datum>) -> ArrayRef {
    let mut builder = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    for columns in files {
        let mut found = false;
        for (id, bound) in columns.iter().filter_map(|(id, column)| Some((id, bound(column)?))) {
            builder.keys().append_value(*id);
            builder.values().append_value(bound_text(bound));
            found = true;
        }
        // As many keys as values were appended: this cannot fail.
        let _ = builder.append(found);
    }
    Arc::new(builder.finish())
}

fn split_offsets<'a>(files: impl Iterator<Item = &'a ListedFile>) -> ArrayRef {
    let lists = files.map(|file| file.split_offsets().map(|offsets| offsets.iter().copied().map(Some).collect::<Vec<_>>()));
    Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
}

fn equality_ids<'a>(files: impl Iterator<Item = &'a ListedFile>) -> ArrayRef {
    let lists = files.map(|file| file.equality_ids().map(|ids| ids.iter().copied().map(Some).collect::<Vec<_>>()));
    Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))
}
