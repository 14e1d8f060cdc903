//! Equality deletes: rows of values, of which each deletes the rows that have the same, NULLs included.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::row::{Row, RowConverter, SortField};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::PhysicalExprAdapterFactory;
use nunatak_core::{Error, Result};

use super::EqualityDeletes;
use super::read::bad;
use crate::error::from_datafusion;
use crate::scan::adapter::IcebergExprAdapterFactory;
use crate::scan::types::field_id;

/// What a set is kept under: its files, and its columns with their types (which may be wider than when it was written).
pub(super) type Name = (Vec<String>, String);

/// The name of the set of such files.
pub(super) fn name(files: &[&EqualityDeletes], schema: &Schema) -> Name {
    let columns: Vec<String> = schema.fields().iter().map(|field| format!("{:?} {}", field.metadata(), field.data_type())).collect();
    (files.iter().map(|deletes| deletes.file.path.clone()).collect(), columns.join(","))
}

/// Values that delete rows.
pub(super) struct KeySet {
    converter: RowConverter,
    /// For each row of values the youngest sequence number that deletes it.
    sequence_numbers: HashMap<Box<[u8]>, i64>,
    bytes: usize,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("rows", &self.sequence_numbers.len()).finish_non_exhaustive()
    }
}

impl KeySet {
    pub(super) fn new(schema: &SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(|error| Error::not_supported(format!("equality deletes of such columns: {error}")))?;
        Ok(Self { converter, sequence_numbers: HashMap::new(), bytes: 0 })
    }

    /// Adds the rows of a delete file.
    pub(super) fn add(&mut self, rows: &RecordBatch, sequence_number: i64) -> Result<()> {
        let rows = self.converter.convert_columns(rows.columns()).map_err(|error| Error::internal(error.to_string()))?;
        for row in &rows {
            let youngest = self.sequence_numbers.entry(row.as_ref().into()).or_insert_with(|| {
                self.bytes += row.as_ref().len() + 64;
                sequence_number
            });
            *youngest = sequence_number.max(*youngest);
        }
        Ok(())
    }

    /// Which rows with these values are left of a data file with this sequence number.
    pub(super) fn left(&self, values: &[ArrayRef], sequence_number: i64) -> Result<BooleanArray> {
        let rows = self.converter.convert_columns(values).map_err(|error| Error::internal(error.to_string()))?;
        let is_left = |row: Row<'_>| self.sequence_numbers.get(row.as_ref()).is_none_or(|youngest| *youngest <= sequence_number);
        Ok(rows.iter().map(|row| Some(is_left(row))).collect())
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> u32 {
        u32::try_from(self.bytes).unwrap_or(u32::MAX)
    }
}

/// How the columns of a schema are made of those of a file.
pub(super) struct Columns {
    schema: SchemaRef,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
}

/// The columns of `schema` in a file, by field id. Errors: `ICEBERG_BAD_DATA` if one is missing.
pub(super) fn columns(schema: &SchemaRef, file: &SchemaRef, path: &str) -> Result<Columns> {
    let missing = schema.fields().iter().find(|field| {
        let id = field_id(field);
        !file.fields().iter().any(|found| field_id(found) == id)
    });
    if let Some(missing) = missing {
        return Err(bad(path, &format!("it has no column '{}'", missing.name())));
    }
    let adapter = IcebergExprAdapterFactory.create(Arc::clone(schema), Arc::clone(file)).map_err(from_datafusion)?;
    let column = |(index, field): (usize, &FieldRef)| adapter.rewrite(Arc::new(Column::new(field.name(), index)));
    let expressions = schema.fields().iter().enumerate().map(column).collect::<datafusion::error::Result<_>>().map_err(from_datafusion)?;
    Ok(Columns { schema: Arc::clone(schema), expressions })
}

impl Columns {
    /// The columns of a batch of the file.
    pub(super) fn of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let evaluate = |expression: &Arc<dyn PhysicalExpr>| expression.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
        let columns = self.expressions.iter().map(evaluate).collect::<datafusion::error::Result<Vec<_>>>().map_err(from_datafusion)?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| Error::internal(error.to_string()))
    }
}
