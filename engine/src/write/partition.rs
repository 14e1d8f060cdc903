//! Splits batches by partition.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use nunatak_catalog::spec::{PartitionSpec, PrimitiveType, Schema, Transform, Type};
use nunatak_core::{Code, Error, Result};

use super::location::partition_folder;
use super::metrics::column;
use super::report::partition_type;
use super::value::{encode, to_text};
use crate::transform::apply;

/// One partition: the values of the spec's fields in Iceberg's binary form, and the folder of its files.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    pub(super) values: Vec<Option<Vec<u8>>>,
    pub(super) folder: String,
}

/// The rows of one batch that belong to the partition with that number.
pub(super) struct Part {
    pub(super) partition: usize,
    pub(super) rows: RecordBatch,
}

#[derive(Debug)]
struct Field {
    name: String,
    transform: Transform,
    /// Where the source column lies, and the type of the partition values; `None` for `void`.
    source: Option<(Vec<usize>, PrimitiveType)>,
}

/// Numbers partitions in the order in which they are first seen.
pub(super) struct Partitioner {
    fields: Vec<Field>,
    converter: Option<RowConverter>,
    numbers: HashMap<Box<[u8]>, usize>,
    partitions: Vec<Partition>,
}

impl Partitioner {
    pub(super) fn new(spec: &PartitionSpec, schema: &Schema) -> Result<Self> {
        let fields = spec
            .fields()
            .iter()
            .map(|field| {
                let source = match field.transform {
                    Transform::Void => None,
                    Transform::Unknown => return Err(crate::transform::unknown()),
                    _ => {
                        let path = source_path(schema, field.source_id).ok_or_else(|| {
                            Error::new(Code::IcebergInvalidMetadata, format!("partition field '{}' has no source column", field.name))
                        })?;
                        Some((path, partition_type(field, schema)?))
                    }
                };
                Ok(Field { name: field.name.clone(), transform: field.transform, source })
            })
            .collect::<Result<_>>()?;
        Ok(Self { fields, converter: None, numbers: HashMap::new(), partitions: Vec::new() })
    }

    pub(super) fn partition(&self, number: usize) -> &Partition {
        &self.partitions[number]
    }

    /// The rows of `batch` by partition, in their order within each. Without partition fields all rows are of one.
    pub(super) fn split(&mut self, batch: RecordBatch) -> Result<Vec<Part>> {
        let arrays = self.values(&batch)?;
        if arrays.is_empty() {
            let partition = self.number(&[], 0, &[])?;
            return Ok(vec![Part { partition, rows: batch }]);
        }
        let rows = self.numbers_of_rows(&arrays)?;
        let Some(first) = rows.first() else {
            return Ok(Vec::new());
        };
        if rows.iter().all(|number| number == first) {
            return Ok(vec![Part { partition: *first, rows: batch }]);
        }
        cut(&batch, &rows)
    }

    /// The values of the partition fields that have any, row by row.
    fn values(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let sources = self.fields.iter().filter_map(|field| field.source.as_ref().map(|(path, _)| (field.transform, path)));
        sources.map(|(transform, path)| apply(transform, &column(batch, path)?)).collect()
    }

    fn numbers_of_rows(&mut self, arrays: &[ArrayRef]) -> Result<Vec<usize>> {
        let converter = match self.converter.take() {
            Some(converter) => converter,
            None => {
                let fields = arrays.iter().map(|array| SortField::new(array.data_type().clone())).collect();
                RowConverter::new(fields).map_err(cannot_compare)?
            }
        };
        let converter = self.converter.insert(converter);
        let keys = converter.convert_columns(arrays).map_err(cannot_compare)?;
        let mut numbers = Vec::with_capacity(keys.num_rows());
        for row in 0..keys.num_rows() {
            // Rows of a partition often follow each other.
            let number = match numbers.last() {
                Some(last) if keys.row(row) == keys.row(row - 1) => *last,
                _ => self.number(keys.row(row).as_ref(), row, arrays)?,
            };
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn number(&mut self, key: &[u8], row: usize, arrays: &[ArrayRef]) -> Result<usize> {
        if let Some(number) = self.numbers.get(key) {
            return Ok(*number);
        }
        let number = self.partitions.len();
        let partition = self.describe(row, arrays)?;
        self.partitions.push(partition);
        self.numbers.insert(key.into(), number);
        Ok(number)
    }

    fn describe(&self, row: usize, arrays: &[ArrayRef]) -> Result<Partition> {
        let arrays_given = !arrays.is_empty();
        let mut arrays = arrays.iter();
        let mut values = Vec::with_capacity(self.fields.len());
        let mut texts = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let value = match (&field.source, field.source.as_ref().and_then(|_| arrays.next())) {
                (Some((_, data_type)), Some(array)) => {
                    let value = encode(array.as_ref(), row)?;
                    texts.push((field.name.as_str(), to_text(field.transform, data_type, value.as_deref())));
                    value
                }
                _ => {
                    texts.push((field.name.as_str(), "null".to_owned()));
                    None
                }
            };
            values.push(value);
        }
        // A table whose partition fields are all void is not partitioned any more.
        let folder = if arrays_given { partition_folder(texts.into_iter()) } else { String::new() };
        Ok(Partition { values, folder })
    }
}

fn cannot_compare(error: arrow::error::ArrowError) -> Error {
    Error::internal("partition values cannot be compared").with_source(error)
}

/// One copy of the batch in the order of partitions, and its slices.
fn cut(batch: &RecordBatch, numbers: &[usize]) -> Result<Vec<Part>> {
    let mut order: Vec<u32> = (0..).take(numbers.len()).collect();
    order.sort_by_key(|row| numbers[*row as usize]);
    let sorted = take_record_batch(batch, &UInt32Array::from(order.clone()))
        .map_err(|error| Error::internal("rows cannot be split by partition").with_source(error))?;
    let mut start = 0;
    let parts = order.chunk_by(|left, right| numbers[*left as usize] == numbers[*right as usize]).map(|rows| {
        let part = Part { partition: numbers[rows[0] as usize], rows: sorted.slice(start, rows.len()) };
        start += rows.len();
        part
    });
    Ok(parts.collect())
}

/// Where the column with that field id lies: its index, or that of its struct followed by the index in it.
pub(super) fn source_path(schema: &Schema, field_id: i32) -> Option<Vec<usize>> {
    fn search(fields: &[nunatak_catalog::spec::NestedFieldRef], field_id: i32) -> Option<Vec<usize>> {
        fields.iter().enumerate().find_map(|(index, field)| {
            if field.id == field_id {
                return Some(vec![index]);
            }
            match field.field_type.as_ref() {
                Type::Struct(inner) => search(inner.fields(), field_id).map(|rest| [index].into_iter().chain(rest).collect()),
                _ => None,
            }
        })
    }
    search(schema.as_struct().fields(), field_id)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringViewArray};
    use arrow::datatypes::Int64Type;
    use nunatak_catalog::spec::NestedField;

    use super::*;

    #[test]
    fn rows_are_split_in_order() {
        let schema = Schema::builder()
            .with_fields(vec![
                Arc::new(NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long))),
                Arc::new(NestedField::optional(2, "s", Type::Primitive(PrimitiveType::String))),
            ])
            .build()
            .unwrap();
        let spec = PartitionSpec::builder(schema.clone())
            .add_partition_field("id", "id_trunc", Transform::Truncate(10))
            .unwrap()
            .add_partition_field("s", "s_void", Transform::Void)
            .unwrap()
            .build()
            .unwrap();
        let mut partitioner = Partitioner::new(&spec, &schema).unwrap();
        let ids = Int64Array::from(vec![Some(11), Some(1), None, Some(12), Some(2)]);
        let columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(ids)), ("s", Arc::new(StringViewArray::from(vec!["a"; 5])))];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
        let parts = partitioner.split(batch.clone()).unwrap();
        let rows: Vec<_> =
            parts.iter().map(|part| (part.partition, part.rows.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>())).collect();
        assert_eq!(rows, [(0, vec![Some(11), Some(12)]), (1, vec![Some(1), Some(2)]), (2, vec![None])]);
        assert_eq!(partitioner.partition(0).folder, "id_trunc=10/s_void=null");
        assert_eq!(partitioner.partition(0).values, [Some(10_i64.to_le_bytes().to_vec()), None]);
        assert_eq!(partitioner.partition(2).folder, "id_trunc=null/s_void=null");
        assert_eq!(partitioner.split(batch.slice(3, 1)).unwrap()[0].partition, 0);
        assert!(partitioner.split(batch.slice(0, 0)).unwrap().is_empty());
    }

    #[test]
    fn nested_sources_are_found() {
        let inner = nunatak_catalog::spec::StructType::new(vec![Arc::new(NestedField::optional(3, "lat", Type::Primitive(PrimitiveType::Int)))]);
        let schema = Schema::builder().with_fields(vec![Arc::new(NestedField::optional(2, "place", Type::Struct(inner)))]).build().unwrap();
        assert_eq!(source_path(&schema, 3), Some(vec![0, 0]));
        assert_eq!(source_path(&schema, 9), None);
    }
}
