//! From the columns of a table to the columns of one file, by field id: renamed, moved, added and widened columns read as they should.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::physical_expr::expressions::{CastExpr, Column, lit};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};
use nunatak_core::Error;

use super::field_id_cast::{FieldIdCastExpr, check_castable, may_hide_nulls};
use super::types::{INITIAL_DEFAULT, field_id};
use super::values::default_scalar;
use crate::error::into_datafusion;

/// Makes an adapter for each file. It has no state: field ids and defaults are in the metadata of the table's fields.
#[derive(Clone, Debug, Default)]
pub struct IcebergExprAdapterFactory;

impl PhysicalExprAdapterFactory for IcebergExprAdapterFactory {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let by_id = file.fields().iter().enumerate().filter_map(|(index, field)| Some((field_id(field)?, index))).collect();
        Ok(Arc::new(IcebergExprAdapter { table, file, by_id }))
    }
}

/// Rewrites expressions over the table's columns into expressions over one file's columns.
#[derive(Debug)]
struct IcebergExprAdapter {
    table: SchemaRef,
    file: SchemaRef,
    by_id: HashMap<i32, usize>,
}

impl PhysicalExprAdapter for IcebergExprAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        expr.transform_down(|expr| {
            if let Some(access) = self.field_access(&expr)? {
                return Ok(Transformed::new(access, true, TreeNodeRecursion::Jump));
            }
            match expr.downcast_ref::<Column>() {
                Some(column) => Ok(Transformed::new(self.column(column)?, true, TreeNodeRecursion::Jump)),
                None => Ok(Transformed::no(expr)),
            }
        })
        .data()
    }
}

impl IcebergExprAdapter {
    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        // By name and not by index: projections may have changed the index since the column was made.
        let target = self.table.field_with_name(column.name())?;
        let Some(index) = self.file_index(target, column) else { return missing(target) };
        let source = self.file.field(index);
        let plain = Arc::new(Column::new(source.name(), index));
        if source.data_type() == target.data_type() && !may_hide_nulls(source.data_type()) {
            return Ok(plain);
        }
        check_castable(target.name(), source.data_type(), target.data_type()).map_err(into_datafusion)?;
        let target_field = Arc::new(target.clone());
        if target.data_type().is_nested() || has_coarser_unit(source.data_type(), target.data_type()) {
            return Ok(Arc::new(FieldIdCastExpr::new(plain, target_field)));
        }
        // DataFusion moves this cast to the other side of a comparison, so that pruning still works.
        Ok(Arc::new(CastExpr::new_with_target_field(plain, target_field, None)))
    }

    fn file_index(&self, target: &Field, column: &Column) -> Option<usize> {
        match field_id(target) {
            Some(id) => self.by_id.get(&id).copied(),
            // A column that the reader makes up, such as a row number, is no column of the table.
            None => self.file.index_of(column.name()).ok(),
        }
    }

    /// A field of a row, taken from the file's row as it is. A cast of the whole row would read fields that nobody asked for.
    fn field_access(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(access) = ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref()) else { return Ok(None) };
        let Some(column) = access.args().first().and_then(|row| row.downcast_ref::<Column>()) else { return Ok(None) };
        let target = self.table.field_with_name(column.name())?;
        let Some(index) = self.file_index(target, column) else { return Ok(None) };
        let source = self.file.field(index);
        if access.return_type().is_nested() || may_hide_nulls(source.data_type()) || !same_rows(source.data_type(), target.data_type()) {
            return Ok(None);
        }
        let mut args = access.args().to_vec();
        args[0] = Arc::new(Column::new(source.name(), index));
        Arc::clone(expr).with_new_children(args).map(Some)
    }
}

/// Whether a file has moments in a coarser unit than the table. DataFusion would cut off the other side of a comparison to that unit, and leave out rows.
fn has_coarser_unit(file: &DataType, table: &DataType) -> bool {
    matches!((file, table), (DataType::Timestamp(file, _), DataType::Timestamp(table, _)) if file < table)
}

/// Whether two types are rows with the same fields under the same names. Whether a field may be null, and its metadata, do not matter.
fn same_rows(file: &DataType, table: &DataType) -> bool {
    match (file, table) {
        (DataType::Struct(file), DataType::Struct(table)) => same_fields(file, table),
        (file, table) => file.equals_datatype(table),
    }
}

fn same_fields(file: &Fields, table: &Fields) -> bool {
    let same = |target: &Arc<Field>| {
        let source = file.iter().find(|source| field_id(source) == field_id(target));
        source.is_some_and(|source| source.name() == target.name() && same_rows(source.data_type(), target.data_type()))
    };
    table.iter().all(same)
}

/// A column that was added to the table after the file was written.
fn missing(field: &Field) -> Result<Arc<dyn PhysicalExpr>> {
    let value = match field.metadata().get(INITIAL_DEFAULT) {
        Some(text) => default_scalar(text, field.data_type()).map_err(into_datafusion)?,
        None if field.is_nullable() => ScalarValue::try_new_null(field.data_type())?,
        None => {
            let name = field.name();
            return Err(into_datafusion(Error::not_supported(format!(
                "a data file does not have column '{name}', which is required and has no default"
            ))));
        }
    };
    Ok(lit(value))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Schema, TimeUnit};
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::binary;
    use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

    use super::*;

    fn schema(fields: &[(i32, &str, DataType)]) -> SchemaRef {
        let field = |(id, name, data_type): &(i32, &str, DataType)| {
            let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
            Field::new(*name, data_type.clone(), true).with_metadata(metadata)
        };
        Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
    }

    fn rewrite(table: &SchemaRef, file: &SchemaRef, expr: Arc<dyn PhysicalExpr>) -> Result<String> {
        let adapter = IcebergExprAdapterFactory.create(Arc::clone(table), Arc::clone(file))?;
        Ok(adapter.rewrite(expr)?.to_string())
    }

    #[test]
    fn columns_follow_their_ids() {
        let file = schema(&[(1, "a", DataType::Int32), (2, "b", DataType::Utf8)]);
        // The names were swapped, one column was widened, one was added.
        let table = schema(&[(2, "a", DataType::Utf8), (1, "b", DataType::Int64), (3, "c", DataType::Date32)]);
        let column = |name: &str| Arc::new(Column::new_with_schema(name, &table).unwrap()) as Arc<dyn PhysicalExpr>;
        assert_eq!(rewrite(&table, &file, column("a")).unwrap(), "b@1");
        assert_eq!(rewrite(&table, &file, column("b")).unwrap(), "CAST(a@0 AS Int64)");
        assert_eq!(rewrite(&table, &file, column("c")).unwrap(), "NULL");
        let sum = binary(column("b"), Operator::Eq, lit(5_i64), &table).unwrap();
        assert_eq!(rewrite(&table, &file, sum).unwrap(), "CAST(a@0 AS Int64) = 5");
    }

    #[test]
    fn moments_are_compared_in_the_unit_of_the_table() {
        let with_unit = |unit| schema(&[(1, "at", DataType::Timestamp(unit, None))]);
        let (table, file) = (with_unit(TimeUnit::Microsecond), with_unit(TimeUnit::Millisecond));
        let column = Arc::new(Column::new("at", 0)) as Arc<dyn PhysicalExpr>;
        assert_eq!(rewrite(&table, &file, column).unwrap(), "field_id_cast(at@0 as at)");
    }

    #[test]
    fn added_columns_have_their_default() {
        let file = schema(&[(1, "a", DataType::Int32)]);
        let added = schema(&[(2, "b", DataType::Date32)]).field(0).clone();
        let metadata = added.metadata().clone().into_iter().chain([(INITIAL_DEFAULT.to_owned(), "2024-02-29".to_owned())]).collect();
        let with_default = Arc::new(Schema::new(vec![added.clone().with_metadata(metadata)]));
        let required = Arc::new(Schema::new(vec![added.with_nullable(false)]));
        let column = Arc::new(Column::new("b", 0)) as Arc<dyn PhysicalExpr>;
        assert_eq!(rewrite(&with_default, &file, Arc::clone(&column)).unwrap(), "2024-02-29");
        assert!(rewrite(&required, &file, column).is_err());
    }
}
