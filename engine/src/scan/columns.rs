//! What a scan reads of a file: the columns of its table, and what else hidden columns and deletes need.
//!
//! Where a row lies is known without reading: a file's values go along with it as those of partition columns do, and the Parquet reader counts rows. Which
//! row it is (row lineage, spec version 3) may be written in the file, and follows from its place where it is not. Rows may be deleted by columns that the
//! table no longer has, or by fields within rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, binary, case, is_not_null, lit};
use datafusion::physical_expr::projection::{ProjectionExpr, ProjectionExprs};
use nunatak_catalog::snapshot::FileEntry;
use nunatak_catalog::spec::{self, NestedField, NestedFieldRef, StructType, TableMetadata, Type};
use nunatak_core::{Code, Error, Result};
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, RowNumber};

use super::hidden::{HiddenColumn, file_number, modified_type};
use super::types::table_schema;

/// Names of columns that no query sees. No name that a user writes begins like them.
mod source {
    pub(super) const PATH: &str = "\u{1}path";
    pub(super) const FILE: &str = "\u{1}file";
    pub(super) const MODIFIED: &str = "\u{1}file_modified_time";
    pub(super) const FIRST_ROW_ID: &str = "\u{1}first_row_id";
    pub(super) const SEQUENCE_NUMBER: &str = "\u{1}sequence_number";
    pub(super) const POSITION: &str = "\u{1}pos";
    pub(super) const ROW_ID: &str = "\u{1}row_id";
    pub(super) const KEY: &str = "\u{1}key";
    pub(super) const LAST_UPDATED: &str = "\u{1}last_updated_sequence_number";
}

/// The columns that a scan reads.
#[derive(Debug)]
pub(super) struct ScanColumns {
    schema: TableSchema,
}

impl ScanColumns {
    /// The columns of a table, what these hidden columns are made of, and what rows are deleted by: their numbers in their files (if `counts`), and `keys` that the
    /// table does not have as a column.
    pub(super) fn new(table: &SchemaRef, wanted: &[HiddenColumn], keys: Vec<FieldRef>, counts: bool) -> Self {
        if wanted.is_empty() && keys.is_empty() && !counts {
            return Self { schema: TableSchema::from(Arc::clone(table)) };
        }
        let wants = |column| wanted.contains(&column);
        let stored = |name: &str, column: HiddenColumn| {
            let metadata = column.stored().map(|field| (PARQUET_FIELD_ID_META_KEY.to_owned(), field.id.to_string()));
            Arc::new(Field::new(name, DataType::Int64, true).with_metadata(metadata.into_iter().collect()))
        };
        let mut of_file: Vec<FieldRef> = table.fields().iter().cloned().collect();
        let mut constants: Vec<FieldRef> = Vec::new();
        let mut constant = |name: &str, data_type, nullable| constants.push(Arc::new(Field::new(name, data_type, nullable)));
        if wants(HiddenColumn::Path) {
            constant(source::PATH, DataType::Utf8View, false);
        }
        if wants(HiddenColumn::File) {
            constant(source::FILE, DataType::Int64, false);
        }
        if wants(HiddenColumn::FileModifiedTime) {
            constant(source::MODIFIED, modified_type(), true);
        }
        if wants(HiddenColumn::RowId) {
            of_file.push(stored(source::ROW_ID, HiddenColumn::RowId));
            constant(source::FIRST_ROW_ID, DataType::Int64, true);
        }
        if wants(HiddenColumn::LastUpdatedSequenceNumber) {
            of_file.push(stored(source::LAST_UPDATED, HiddenColumn::LastUpdatedSequenceNumber));
            constant(source::SEQUENCE_NUMBER, DataType::Int64, true);
        }
        let mut counted: Vec<FieldRef> = Vec::new();
        if counts || wants(HiddenColumn::Position) || wants(HiddenColumn::RowId) {
            counted.push(Arc::new(Field::new(source::POSITION, DataType::Int64, false).with_extension_type(RowNumber)));
        }
        of_file.extend(keys);
        let of_file = Arc::new(Schema::new_with_metadata(of_file, table.metadata().clone()));
        let schema = TableSchema::builder(of_file).with_table_partition_cols(constants).with_virtual_columns(counted).build();
        Self { schema }
    }

    /// What the scan reads: the table's columns first.
    pub(super) fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// What all rows of a file have in common. `modified` is when it was written, in milliseconds since 1970.
    pub(super) fn constants(&self, entry: &FileEntry, modified: Option<i64>) -> Vec<ScalarValue> {
        let value = |field: &FieldRef| match field.name().as_str() {
            source::PATH => ScalarValue::Utf8View(Some(entry.file.file_path().to_owned())),
            source::FILE => ScalarValue::Int64(Some(file_number(entry.file.file_path()))),
            source::MODIFIED => ScalarValue::TimestampMillisecond(modified, Some("UTC".into())),
            source::FIRST_ROW_ID => ScalarValue::Int64(entry.first_row_id),
            _ => ScalarValue::Int64(entry.first_row_id.map(|_| entry.data_sequence_number)),
        };
        self.schema.table_partition_cols().iter().map(value).collect()
    }

    /// The columns of a scan: those of the table's schema by index, the hidden ones behind them.
    pub(super) fn projection(&self, columns: &[usize], hidden: &[HiddenColumn], table: &Schema) -> DataFusionResult<ProjectionExprs> {
        let visible = table.fields().len();
        let column = |index: &usize| match index.checked_sub(visible) {
            None => {
                let name = table.field(*index).name();
                Ok(ProjectionExpr::new(Arc::new(Column::new(name, *index)), name.clone()))
            }
            Some(index) => Ok(ProjectionExpr::new(self.value(hidden[index])?, hidden[index].name().to_owned())),
        };
        Ok(ProjectionExprs::new(columns.iter().map(column).collect::<DataFusionResult<Vec<_>>>()?))
    }

    fn value(&self, column: HiddenColumn) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        match column {
            HiddenColumn::Path => self.source(source::PATH),
            HiddenColumn::File => self.source(source::FILE),
            HiddenColumn::FileModifiedTime => self.source(source::MODIFIED),
            // A column as it is would pass on what marks it as a row number.
            HiddenColumn::Position => binary(self.source(source::POSITION)?, Operator::Plus, lit(0_i64), self.schema.table_schema()),
            HiddenColumn::RowId => {
                let schema = self.schema.table_schema();
                let by_place = binary(self.source(source::FIRST_ROW_ID)?, Operator::Plus, self.source(source::POSITION)?, schema)?;
                self.stored_or(source::ROW_ID, by_place)
            }
            HiddenColumn::LastUpdatedSequenceNumber => self.stored_or(source::LAST_UPDATED, self.source(source::SEQUENCE_NUMBER)?),
        }
    }

    fn source(&self, name: &str) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Column::new_with_schema(name, self.schema.table_schema())?))
    }

    /// What the file says of a row, and `inherited` where it says nothing.
    fn stored_or(&self, name: &str, inherited: Arc<dyn PhysicalExpr>) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        let stored = self.source(name)?;
        case(None, vec![(is_not_null(Arc::clone(&stored))?, stored)], Some(inherited))
    }
}

/// The name of the column for a key that is no column of the table.
pub(super) fn key_name(id: i32) -> String {
    format!("{}{id}", source::KEY)
}

/// A column for the field of that id, by which rows are deleted: the field itself if it was once a column of the table, or the rows around it, with it as
/// their only field.
///
/// Errors: `ICEBERG_INVALID_METADATA` for an id that no schema of the table has.
pub(super) fn key_column(metadata: &TableMetadata, id: i32) -> Result<FieldRef> {
    // What a column has grown into last.
    let mut schemas: Vec<&spec::SchemaRef> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
    let column = schemas.iter().find_map(|schema| narrowed(schema.as_struct(), id)).ok_or_else(|| {
        Error::new(Code::IcebergInvalidMetadata, format!("rows are deleted by the field of id {id}, which is in no schema of the table"))
    })?;
    let schema = spec::Schema::builder().with_fields([column]).build();
    let schema = table_schema(&schema.map_err(|error| Error::internal("a column alone is no schema").with_source(error))?)?;
    Ok(Arc::new(schema.field(0).clone().with_name(key_name(id)).with_nullable(true)))
}

/// The field of that id with the rows around it and nothing else.
fn narrowed(fields: &StructType, id: i32) -> Option<NestedFieldRef> {
    fields.fields().iter().find_map(|field| match &*field.field_type {
        _ if field.id == id => Some(Arc::clone(field)),
        Type::Struct(children) => {
            let child = narrowed(children, id)?;
            Some(Arc::new(NestedField { field_type: Box::new(Type::Struct(StructType::new(vec![child]))), ..NestedField::clone(field) }))
        }
        _ => None,
    })
}
