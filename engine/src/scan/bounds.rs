//! What Iceberg's metadata knows about one column of one data file: from the file's partition values and from its column bounds.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, SchemaRef};
use datafusion::common::ScalarValue;
use nunatak_catalog::snapshot::{ColumnMetrics, FileEntry};
use nunatak_catalog::spec::{self, Literal, PrimitiveLiteral, TableMetadata, Transform};

use super::partition::{Range, source_range};
use super::types::{INITIAL_DEFAULT, field_id};
use super::values::{datum_scalar, scalar};
use crate::transform::apply;

/// A partition field that is made from a column, and where its value stands in a partition of its spec.
#[derive(Clone, Debug)]
pub struct PartitionSource {
    /// The position within the spec.
    pub position: usize,
    /// What was done to the column's value.
    pub transform: Transform,
    /// The type that the result has in the table's metadata; `None` where the column has a type that the transform does not take.
    pub result_type: Option<spec::PrimitiveType>,
}

/// One column of the top level, together with everything in the table's metadata that says where to look for facts about it.
#[derive(Clone, Debug)]
pub struct ColumnSource {
    id: i32,
    data_type: DataType,
    has_default: bool,
    /// Every file, of whatever spec, holds a single value of this column.
    constant: bool,
    /// By spec id.
    partitions: HashMap<i32, Vec<PartitionSource>>,
    /// Knows the schemas that older files were written under.
    metadata: Arc<TableMetadata>,
}

/// What is known about one column of one file. All bounds are safe: no value lies outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnFacts {
    /// Bounds of the values that are not null.
    pub range: Range,
    /// Whether both bounds are values that really occur.
    pub exact: bool,
    /// How many values are null.
    pub null_count: Option<u64>,
    /// The column is not in the file at all, and its rows are null.
    pub absent: bool,
}

impl ColumnSource {
    /// The columns of a table's schema in its order; `None` for rows, lists and maps, of which metadata tells nothing.
    pub fn all(metadata: &Arc<TableMetadata>, iceberg: &spec::Schema, schema: &SchemaRef) -> Vec<Option<Self>> {
        let column = |field: &FieldRef| {
            let id = field_id(field)?;
            let source = iceberg.field_by_id(id)?;
            source.field_type.is_primitive().then(|| Self::new(metadata, field, id, &source.field_type))
        };
        schema.fields().iter().map(column).collect()
    }

    fn new(metadata: &Arc<TableMetadata>, field: &Field, id: i32, source_type: &spec::Type) -> Self {
        let partitions = partitions_of(metadata, id, source_type);
        let is_identity = |sources: &Vec<PartitionSource>| sources.iter().any(|source| source.transform == Transform::Identity);
        // Floats are left out: filters do not treat NaN and the two zeros as partitions do.
        let constant =
            !field.data_type().is_floating() && metadata.partition_specs_iter().all(|spec| partitions.get(&spec.spec_id()).is_some_and(is_identity));
        Self {
            id,
            data_type: field.data_type().clone(),
            has_default: field.metadata().contains_key(INITIAL_DEFAULT),
            constant,
            partitions,
            metadata: Arc::clone(metadata),
        }
    }

    /// The column's type in queries.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// The partition fields made from this column in one spec.
    pub fn partition_sources(&self, spec_id: i32) -> &[PartitionSource] {
        self.partitions.get(&spec_id).map_or(&[], Vec::as_slice)
    }

    /// Whether every file of the table holds a single value of this column, which [`Self::constant`] tells.
    pub fn is_constant(&self) -> bool {
        self.constant
    }

    /// Whether files of some partition spec hold a single value of this column. Rows may be deleted by it without it being asked for.
    pub fn is_partition_value(&self) -> bool {
        self.partitions.values().flatten().any(|source| source.transform == Transform::Identity)
    }

    /// Whether some partition spec has a field made from this column.
    pub fn is_partitioned(&self) -> bool {
        !self.partitions.is_empty()
    }

    /// What a file's partition values tell about this column.
    pub fn partition_facts(&self, entry: &FileEntry) -> ColumnFacts {
        match self.constant(entry) {
            Some(constant) => self.constant_facts(entry, constant),
            None => ColumnFacts { range: self.partition_range(entry), ..ColumnFacts::default() },
        }
    }

    /// What is known about this column in a file.
    pub fn facts(&self, entry: &FileEntry) -> ColumnFacts {
        if let Some(constant) = self.constant(entry) {
            return self.constant_facts(entry, constant);
        }
        let metrics = entry.file.metrics(self.id);
        if self.is_absent(entry, metrics.as_ref()) {
            return ColumnFacts { null_count: Some(entry.file.record_count()), absent: true, ..ColumnFacts::default() };
        }
        let metrics = metrics.unwrap_or_default();
        let (min, max) = (self.bound(&metrics, metrics.lower_bound.as_ref()), self.bound(&metrics, metrics.upper_bound.as_ref()));
        let exact = min.is_some() && max.is_some() && keeps_bounds_whole(&self.data_type);
        let from_partition = self.partition_range(entry);
        ColumnFacts {
            range: Range { min: min.or(from_partition.min), max: max.or(from_partition.max) },
            exact,
            null_count: metrics.null_value_count,
            absent: false,
        }
    }

    /// The one value that all rows of a file have, if the file's partition tells it. The value may be null.
    pub fn constant(&self, entry: &FileEntry) -> Option<ScalarValue> {
        let source = self.partition_sources(entry.spec_id).iter().find(|source| source.transform == Transform::Identity)?;
        match partition_value(entry, source.position)? {
            None => ScalarValue::try_new_null(&self.data_type).ok(),
            Some(value) if value.is_nan() => None,
            Some(value) => scalar(value, &self.data_type),
        }
    }

    /// The buckets that values of this column fall into; `None` when one of them has none.
    pub fn buckets<'a>(&self, values: impl IntoIterator<Item = &'a ScalarValue>, count: u32) -> Option<Vec<i32>> {
        // A filter's literal may be a plain string where the column is one of views: the bytes, and so the hash, are the same.
        let values = values.into_iter().map(|value| value.cast_to(&self.data_type)).collect::<Result<Vec<_>, _>>().ok()?;
        let buckets = apply(Transform::Bucket(count), &ScalarValue::iter_to_array(values).ok()?).ok()?;
        buckets.as_primitive_opt::<Int32Type>()?.iter().collect()
    }

    /// The value of a partition field of a file: `None` where the file has no such field, `Some(None)` where its value is null.
    pub fn partition_value<'a>(&self, entry: &'a FileEntry, source: &PartitionSource) -> Option<Option<&'a PrimitiveLiteral>> {
        partition_value(entry, source.position)
    }

    fn constant_facts(&self, entry: &FileEntry, constant: ScalarValue) -> ColumnFacts {
        if constant.is_null() {
            return ColumnFacts { null_count: Some(entry.file.record_count()), ..ColumnFacts::default() };
        }
        ColumnFacts { range: Range { min: Some(constant.clone()), max: Some(constant) }, exact: true, null_count: Some(0), absent: false }
    }

    fn bound(&self, metrics: &ColumnMetrics, bound: Option<&spec::Datum>) -> Option<ScalarValue> {
        // Arrow puts NaN above all numbers, Iceberg's bounds leave it out.
        if self.data_type.is_floating() && metrics.nan_value_count != Some(0) {
            return None;
        }
        if !has_ordered_bounds(&self.data_type) {
            return None;
        }
        datum_scalar(bound?, &self.data_type)
    }

    fn partition_range(&self, entry: &FileEntry) -> Range {
        let ranges = self.partition_sources(entry.spec_id).iter().filter_map(|source| {
            let value = partition_value(entry, source.position)??;
            Some(source_range(&source.transform, &self.data_type, Some(value), Some(value)))
        });
        ranges.fold(Range::default(), narrower)
    }

    /// The snapshot that brought the file had no such column yet, and the file's own counts do not know it either.
    fn is_absent(&self, entry: &FileEntry, metrics: Option<&ColumnMetrics>) -> bool {
        let is_counted = metrics.is_some_and(|metrics| metrics.value_count.is_some());
        if self.has_default || !entry.file.has_value_counts() || is_counted {
            return false;
        }
        let snapshot = self.metadata.snapshot_by_id(entry.snapshot_id);
        let schema = snapshot.and_then(|snapshot| self.metadata.schema_by_id(snapshot.schema_id()?));
        schema.is_some_and(|schema| self.id > schema.highest_field_id())
    }
}

/// Where two partition fields bound the same column, the tighter bounds of the two.
pub fn narrower(left: Range, right: Range) -> Range {
    let min = match (left.min, right.min) {
        (Some(left), Some(right)) => Some(if right > left { right } else { left }),
        (left, right) => left.or(right),
    };
    let max = match (left.max, right.max) {
        (Some(left), Some(right)) => Some(if right < left { right } else { left }),
        (left, right) => left.or(right),
    };
    Range { min, max }
}

/// `None` where the file has no such partition field, `Some(None)` where its value is null.
fn partition_value(entry: &FileEntry, position: usize) -> Option<Option<&PrimitiveLiteral>> {
    match entry.file.partition().fields().get(position)? {
        None => Some(None),
        Some(Literal::Primitive(value)) => Some(Some(value)),
        Some(_) => None,
    }
}

fn partitions_of(metadata: &TableMetadata, id: i32, source_type: &spec::Type) -> HashMap<i32, Vec<PartitionSource>> {
    let sources = |spec: &spec::PartitionSpec| {
        let of_column = spec.fields().iter().enumerate().filter(|(_, field)| field.source_id == id);
        let known = of_column.filter(|(_, field)| !matches!(field.transform, Transform::Void | Transform::Unknown));
        known
            .map(|(position, field)| {
                let result_type = field.transform.result_type(source_type).ok().and_then(|result| result.as_primitive_type().cloned());
                PartitionSource { position, transform: field.transform, result_type }
            })
            .collect::<Vec<_>>()
    };
    metadata.partition_specs_iter().map(|spec| (spec.spec_id(), sources(spec))).filter(|(_, sources)| !sources.is_empty()).collect()
}

/// Types whose bounds writers store whole: not cut off like strings, not without NaN like floats.
fn keeps_bounds_whole(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int32
            | DataType::Int64
            | DataType::Date32
            | DataType::Time64(_)
            | DataType::Timestamp(..)
            | DataType::Decimal128(..)
    )
}

/// Writers do not agree on how binaries and UUIDs are ordered.
fn has_ordered_bounds(data_type: &DataType) -> bool {
    keeps_bounds_whole(data_type) || data_type.is_floating() || matches!(data_type, DataType::Utf8View | DataType::Utf8)
}
