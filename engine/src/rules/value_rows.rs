//! The types of `VALUES` whose expressions were changed: DataFusion never looks at them again.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Values};

/// The same rows with columns of the types that their values have; where these differ they are cast to the type that the column had.
pub(super) fn retyped(rows: Values) -> Result<LogicalPlan> {
    let Values { schema, mut values } = rows;
    let nothing = DFSchema::empty();
    let mut fields = Vec::with_capacity(schema.fields().len());
    for (column, (qualifier, field)) in schema.iter().enumerate() {
        // What has no type is a parameter without a value.
        let type_of = |value: &Expr| value.get_type(&nothing).unwrap_or(DataType::Null);
        let types: Vec<DataType> = values.iter().filter_map(|row| row.get(column)).map(type_of).collect();
        let mut known = types.iter().filter(|data_type| !data_type.is_null());
        let first = known.next();
        let data_type: DataType = match first {
            Some(first) if known.all(|data_type| data_type == first) => first.clone(),
            _ => field.data_type().clone(),
        };
        for (value, has) in column_mut(&mut values, column).zip(&types) {
            if !has.is_null() && *has != data_type {
                *value = std::mem::take(value).cast_to(&data_type, &nothing)?;
            }
        }
        fields.push((qualifier.cloned(), Arc::new(field.as_ref().clone().with_data_type(data_type))));
    }
    let schema = DFSchema::new_with_metadata(fields, schema.metadata().clone())?;
    Ok(LogicalPlan::Values(Values { schema: Arc::new(schema), values }))
}

/// The expressions of one column.
pub(super) fn column_mut(values: &mut [Vec<Expr>], column: usize) -> impl Iterator<Item = &mut Expr> {
    values.iter_mut().filter_map(move |row| row.get_mut(column))
}
