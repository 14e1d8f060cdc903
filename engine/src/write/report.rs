//! What a task tells about the data files it wrote: one row a file, whose text becomes the [`DataFile`] that is committed.
//!
//! The form is our own: the iceberg crate's JSON of a data file loses binary, decimal and NaN partition values.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use nunatak_catalog::Table;
use nunatak_catalog::spec::{
    self, DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, PartitionSpec, PrimitiveType, Struct, Type,
};
use nunatak_core::{Error, Result};
use serde::{Deserialize, Serialize};

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

static SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("data_file", DataType::Utf8, false), Field::new("record_count", DataType::Int64, false)])));

/// The columns of the rows that a write gives.
pub(super) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

/// One row for each file.
pub(super) fn to_batch(reports: &[FileReport]) -> Result<RecordBatch> {
    let texts: Vec<String> = reports
        .iter()
        .map(|report| serde_json::to_string(report).map_err(|error| Error::internal("a data file cannot be reported").with_source(error)))
        .collect::<Result<_>>()?;
    let rows = reports.iter().map(|report| i64::try_from(report.rows).unwrap_or(i64::MAX));
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(texts)), Arc::new(Int64Array::from_iter_values(rows))];
    RecordBatch::try_new(schema(), columns).map_err(|error| Error::internal("data files cannot be reported").with_source(error))
}

/// The data files that the batches of a write tell of.
pub(super) fn from_batches(batches: &[RecordBatch], table: &Table) -> Result<Vec<DataFile>> {
    let mut files = Vec::new();
    for batch in batches {
        // An exchange may have changed the form of the text.
        let column = batch.column_by_name("data_file").ok_or_else(|| Error::internal("the result of a write has no column data_file"))?;
        let texts = cast(column, &DataType::Utf8).map_err(|error| Error::internal("the result of a write is not text").with_source(error))?;
        for text in texts.as_string::<i32>().iter().flatten() {
            let report: FileReport =
                serde_json::from_str(text).map_err(|error| Error::internal("the report of a data file cannot be read").with_source(error))?;
            files.push(data_file(report, table)?);
        }
    }
    Ok(files)
}

fn data_file(report: FileReport, table: &Table) -> Result<DataFile> {
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
        let data_type = partition_type(field, schema)?;
        Ok(Some(Literal::from(datum(&value, data_type)?)))
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
        let batch = to_batch(std::slice::from_ref(&report)).unwrap();
        let text = batch.column(0).as_string::<i32>().value(0);
        assert_eq!(serde_json::from_str::<FileReport>(text).unwrap(), report);
        assert_eq!(to_batch(&[]).unwrap().num_rows(), 0);
    }
}
