//! Partition values as rows, and the table of a table's partitions.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use nunatak_catalog::Table;
use nunatak_catalog::evolution::comparable_partition;
use nunatak_catalog::snapshot::{FileEntry, SnapshotFiles};
use nunatak_catalog::spec::{Literal, NestedField, Schema, TableMetadata, Transform, Type};
use nunatak_core::Result;

use super::{Named, long, longs};
use crate::error::from_datafusion;
use crate::scan::types::table_schema;
use crate::scan::values::scalar;

/// The fields that partitions of a table have or ever had, as one row type. A spec that lacks a field has null there. Where two have one name, the later one is
/// told apart by its id.
pub(super) struct PartitionRows {
    fields: Vec<(i32, String, DataType)>,
    /// For each spec, the id of each of its fields.
    specs: BTreeMap<i32, Vec<i32>>,
}

impl PartitionRows {
    pub(super) fn new(metadata: &TableMetadata) -> Result<Self> {
        let mut fields: BTreeMap<i32, (String, DataType)> = BTreeMap::new();
        let mut specs = BTreeMap::new();
        // The newest spec names a field that was renamed.
        let mut by_age: Vec<_> = metadata.partition_specs_iter().collect();
        by_age.sort_by_key(|spec| spec.spec_id());
        for spec in by_age {
            specs.insert(spec.spec_id(), spec.fields().iter().map(|field| field.field_id).collect());
            for field in spec.fields().iter().filter(|field| field.transform != Transform::Void) {
                let source = metadata.current_schema().field_by_id(field.source_id);
                let result_type = source.and_then(|source| field.transform.result_type(&source.field_type).ok());
                if let Some(data_type) = result_type.map(arrow_type).transpose()?.flatten() {
                    fields.insert(field.field_id, (field.name.clone(), data_type));
                }
            }
        }
        let mut names = HashSet::new();
        let named = |(id, (name, data_type)): (i32, (String, DataType))| {
            let name = if names.insert(name.clone()) { name } else { format!("{name}_{id}") };
            (id, name, data_type)
        };
        Ok(Self { fields: fields.into_iter().map(named).collect(), specs })
    }

    /// The partitions of files, one row each; `None` when the table was never partitioned.
    pub(super) fn rows<'a>(&self, entries: impl Iterator<Item = &'a FileEntry> + Clone) -> Result<Option<ArrayRef>> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(self.fields.len());
        for (id, _, data_type) in &self.fields {
            let null = ScalarValue::try_new_null(data_type).map_err(from_datafusion)?;
            let values: Vec<ScalarValue> = entries.clone().map(|entry| self.value(entry, *id, data_type).unwrap_or_else(|| null.clone())).collect();
            let array = if values.is_empty() { null.to_array_of_size(0) } else { ScalarValue::iter_to_array(values) };
            arrays.push(array.map_err(from_datafusion)?);
        }
        let fields: Fields = self.fields.iter().map(|(_, name, data_type)| Field::new(name, data_type.clone(), true)).collect();
        Ok(Some(Arc::new(StructArray::new(fields, arrays, None))))
    }

    fn value(&self, entry: &FileEntry, id: i32, data_type: &DataType) -> Option<ScalarValue> {
        let position = self.specs.get(&entry.spec_id)?.iter().position(|field| *field == id)?;
        match entry.file.partition().fields().get(position)? {
            Some(Literal::Primitive(value)) => scalar(value, data_type),
            _ => None,
        }
    }
}

/// The Arrow type of a partition value, by way of a schema with that one column.
fn arrow_type(iceberg: Type) -> Result<Option<DataType>> {
    let Ok(schema) = Schema::builder().with_fields([Arc::new(NestedField::optional(1, "value", iceberg))]).build() else { return Ok(None) };
    Ok(table_schema(&schema)?.fields().first().map(|field| field.data_type().clone()))
}

pub(super) fn partitions(table: &Table, files: &SnapshotFiles) -> Result<Vec<Named>> {
    let rows = PartitionRows::new(&table.metadata)?;
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut by_partition = std::collections::HashMap::new();
    for entry in &files.data {
        let index = *by_partition.entry((entry.spec_id, comparable_partition(entry.file.partition()))).or_insert_with(|| {
            groups.push(Group { first: entry, rows: 0, files: 0, bytes: 0 });
            groups.len() - 1
        });
        groups[index].add(entry);
    }
    let mut columns: Vec<Named> = Vec::new();
    if let Some(partitions) = rows.rows(groups.iter().map(|group| group.first))? {
        columns.push(("partition", partitions));
    }
    columns.push(("record_count", longs(groups.iter().map(|group| long(group.rows)))));
    columns.push(("file_count", longs(groups.iter().map(|group| group.files))));
    columns.push(("total_size", longs(groups.iter().map(|group| long(group.bytes)))));
    Ok(columns)
}

/// The files of one partition.
struct Group<'a> {
    first: &'a FileEntry,
    rows: u64,
    files: i64,
    bytes: u64,
}

impl Group<'_> {
    fn add(&mut self, entry: &FileEntry) {
        self.rows += entry.file.record_count();
        self.files += 1;
        self.bytes += entry.file.file_size_in_bytes();
    }
}
