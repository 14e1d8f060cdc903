//! What a task tells about what it did: one row for each data file it wrote, whose text becomes the [`DataFile`] that is committed, and one for each data file
//! with rows that are no longer.
//!
//! The form is our own: the iceberg crate's JSON of a data file loses binary, decimal and NaN partition values.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use nunatak_catalog::Table;
use nunatak_catalog::spec::{
    self, DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, PartitionSpec, PrimitiveType, Struct, Type,
};
use nunatak_core::{Error, Result};
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use super::changes::{DeletedRows, OfFile};

/// One data file. Partition values and bounds are in Iceberg's binary form.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct FileReport {
    pub(super) location: String,
    pub(super) spec_id: i32,
    pub(super) partition: Vec<Option<Vec<u8>>>,
    pub(super) sort_order_id: i32,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) column_sizes: BTreeMap<i32, u64>,
    pub(super) value_counts: BTreeMap<i32, u64>,
    pub(super) null_counts: BTreeMap<i32, u64>,
    pub(super) nan_counts: BTreeMap<i32, u64>,
    pub(super) lower_bounds: BTreeMap<i32, Vec<u8>>,
    pub(super) upper_bounds: BTreeMap<i32, Vec<u8>>,
    pub(super) split_offsets: Vec<i64>,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("data_file", DataType::Utf8, false),
        // Of all rows together: how many rows of the table were changed. A row that takes the place of another is one change with it.
        Field::new("record_count", DataType::Int64, false),
        // The positions of rows that are no longer, as a Roaring bitmap; then `data_file` is the number of their file.
        Field::new("deleted", DataType::Binary, true),
    ]))
});

/// The columns of the rows that a write gives.
pub(super) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// One row for each file.
pub(super) fn to_batch(reports: &[FileReport], deleted: &DeletedRows) -> Result<RecordBatch> {
    let failed = |error| Error::internal("what was written cannot be reported").with_source(error);
    let (mut texts, mut counts, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    for report in reports {
        texts.push(serde_json::to_string(report).map_err(|error| Error::internal("a data file cannot be reported").with_source(error))?);
        counts.push(i64::try_from(report.rows).unwrap_or(i64::MAX));
        positions.push(None);
    }
    for (file, rows) in deleted.iter() {
        let mut bytes = Vec::with_capacity(rows.positions.serialized_size());
        rows.positions.serialize_into(&mut bytes).map_err(|error| Error::internal("positions of rows cannot be reported").with_source(error))?;
        texts.push(file.to_string());
        counts.push(i64::try_from(rows.without_successor).unwrap_or(i64::MAX));
        positions.push(Some(bytes));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts)),
        Arc::new(Int64Array::from(counts)),
        Arc::new(positions.iter().map(Option::as_deref).collect::<BinaryArray>()),
    ];
    RecordBatch::try_new(schema(), columns).map_err(failed)
}

/// What a write has done to its table, and nobody sees before it is committed.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The data files that it wrote.
    pub files: Vec<DataFile>,
    /// The rows that are no longer.
    pub deleted: DeletedRows,
}

impl Written {
    /// Adds what a batch of the write's rows tells of `table`.
    ///
    /// Errors: `MERGE_TARGET_ROW_MULTIPLE_MATCHES` when two tasks have changed the same row.
    pub fn add(&mut self, batch: &RecordBatch, table: &Table) -> Result<()> {
        // An exchange may have changed the form of the columns.
        let column = |name: &str, data_type| {
            let column = batch.column_by_name(name).ok_or_else(|| Error::internal(format!("the result of a write has no column {name}")))?;
            cast(column, data_type).map_err(|error| Error::internal("the result of a write is of another type").with_source(error))
        };
        let (texts, deleted) = (column("data_file", &DataType::Utf8)?, column("deleted", &DataType::Binary)?);
        let counts = column("record_count", &DataType::Int64)?;
        let rows = texts.as_string::<i32>().iter().zip(deleted.as_binary::<i32>()).zip(counts.as_primitive::<Int64Type>().values());
        for ((text, deleted), count) in rows {
            let text = text.unwrap_or_default();
            match deleted {
                Some(bytes) => {
                    let positions = RoaringTreemap::deserialize_from(bytes)
                        .map_err(|error| Error::internal(format!("positions of rows of '{text}' cannot be read")).with_source(error))?;
                    let file = text.parse().map_err(|error| Error::internal(format!("'{text}' is no file's number")).with_source(error))?;
                    self.deleted.add(file, OfFile { positions, without_successor: count.unsigned_abs() })?;
                }
                None => {
                    let report: FileReport =
                        serde_json::from_str(text).map_err(|error| Error::internal("the report of a data file cannot be read").with_source(error))?;
                    self.files.push(data_file(report, table)?);
                }
            }
        }
        Ok(())
    }

    /// What all batches of a write tell of `table`. Errors: as those of [`Self::add`].
    pub fn from_batches<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>, table: &Table) -> Result<Self> {
        let mut written = Self::default();
        batches.into_iter().try_for_each(|batch| written.add(batch, table))?;
        Ok(written)
    }

    /// How many rows of the table it changed.
    pub fn changed_rows(&self) -> u64 {
        self.files.iter().map(DataFile::record_count).sum::<u64>() + self.deleted.without_successor()
    }
}

/// The data file that a report is about.
pub(super) fn data_file(report: FileReport, table: &Table) -> Result<DataFile> {
    let schema = table.metadata.current_schema();
    let spec = table
        .metadata
        .partition_spec_by_id(report.spec_id)
        .ok_or_else(|| Error::internal(format!("table {} has no partition spec {}", table.name, report.spec_id)))?;
    let bounds = |bounds: BTreeMap<i32, Vec<u8>>| -> Result<HashMap<i32, Datum>> {
        bounds.into_iter().map(|(id, value)| Ok((id, datum(&value, primitive(schema, id)?)?))).collect()
    };
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_format(DataFileFormat::Parquet)
        .partition_spec_id(report.spec_id)
        .partition(partition(spec, schema, report.partition)?)
        .sort_order_id(report.sort_order_id)
        .record_count(report.rows)
        .file_size_in_bytes(report.bytes)
        .column_sizes(report.column_sizes.into_iter().collect())
        .value_counts(report.value_counts.into_iter().collect())
        .null_value_counts(report.null_counts.into_iter().collect())
        .nan_value_counts(report.nan_counts.into_iter().collect())
        .lower_bounds(bounds(report.lower_bounds)?)
        .upper_bounds(bounds(report.upper_bounds)?)
        .split_offsets(Some(report.split_offsets))
        .file_path(report.location);
    builder.build().map_err(|error| Error::internal("a data file is described incompletely").with_source(error))
}

fn partition(spec: &PartitionSpec, schema: &spec::Schema, values: Vec<Option<Vec<u8>>>) -> Result<Struct> {
    if values.len() != spec.fields().len() {
        let (given, wanted) = (values.len(), spec.fields().len());
        return Err(Error::internal(format!("a data file has {given} partition values where its partition spec has {wanted} fields")));
    }
    let literals = spec.fields().iter().zip(values).map(|(field, value)| {
        let Some(value) = value else {
            return Ok(None);
        };
        Ok(Some(match partition_type(field, schema)? {
            // As manifests have them.
            PrimitiveType::Uuid => Literal::fixed(value),
            data_type => Literal::from(datum(&value, data_type)?),
        }))
    });
    literals.collect()
}

/// The type of a partition field's values.
pub(super) fn partition_type(field: &spec::PartitionField, schema: &spec::Schema) -> Result<PrimitiveType> {
    let source = Type::Primitive(primitive(schema, field.source_id)?);
    match field.transform.result_type(&source) {
        Ok(Type::Primitive(data_type)) => Ok(data_type),
        _ => Err(Error::not_supported(format!("partition field '{}' cannot be made from values of type {source}", field.name))),
    }
}

fn primitive(schema: &spec::Schema, field_id: i32) -> Result<PrimitiveType> {
    match schema.field_by_id(field_id).map(|field| field.field_type.as_ref()) {
        Some(Type::Primitive(data_type)) => Ok(data_type.clone()),
        _ => Err(Error::internal(format!("the table has no column of single values with field id {field_id}"))),
    }
}

fn datum(value: &[u8], data_type: PrimitiveType) -> Result<Datum> {
    Datum::try_from_bytes(value, data_type).map_err(|error| Error::internal("a value of a data file cannot be read").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_their_text() {
        let report = FileReport {
            location: "file:///w/t/data/x=%2F/a.parquet".to_owned(),
            partition: vec![None, Some(vec![0xff, 0x00]), Some(f64::NAN.to_le_bytes().to_vec())],
            rows: 3,
            lower_bounds: BTreeMap::from([(1, vec![1, 2])]),
            split_offsets: vec![4],
            ..FileReport::default()
        };
        let mut deleted = DeletedRows::default();
        let gone = OfFile { positions: RoaringTreemap::from_iter([1, 5_000_000_000]), without_successor: 1 };
        deleted.add(-7, gone).unwrap();
        let batch = to_batch(std::slice::from_ref(&report), &deleted).unwrap();
        let text = batch.column(0).as_string::<i32>().value(0);
        assert_eq!(serde_json::from_str::<FileReport>(text).unwrap(), report);
        let rows = RoaringTreemap::deserialize_from(batch.column(2).as_binary::<i32>().value(1)).unwrap();
        assert_eq!(rows, RoaringTreemap::from_iter([1, 5_000_000_000]));
        assert_eq!(to_batch(&[], &DeletedRows::default()).unwrap().num_rows(), 0);
    }
}
