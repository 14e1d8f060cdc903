//! Casts of what an `INSERT` gives to the types of the table's columns: their errors name the column, and of `VALUES` the row.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, Values};

use crate::functions::column_cast::{cast_at, cast_to_column};
use crate::scan::types::plain_type;

/// The rows of an `INSERT` as DataFusion plans them: its casts to the types of these columns become ones that name them.
pub(super) fn with_named_casts(rows: LogicalPlan, columns: &Schema) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(Projection { expr, input, .. }) = rows else { return Ok(rows) };
    let input = match Arc::unwrap_or_clone(input) {
        LogicalPlan::Values(values) => cast_values(values, &expr, columns)?,
        other => other,
    };
    let values = expr
        .into_iter()
        .zip(columns.fields())
        .map(|(value, column)| Ok(cast_to_column(without_cast(value.unalias()), column, input.schema())?.alias(column.name())));
    let values = values.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(input).project(values)?.build()
}

/// `VALUES` were cast to the types of the columns that they go to, as the projection above them says.
fn cast_values(values: Values, projection: &[Expr], columns: &Schema) -> Result<LogicalPlan> {
    let Values { schema, values } = values;
    let mut targets: Vec<Option<&FieldRef>> = vec![None; schema.fields().len()];
    for (value, column) in projection.iter().zip(columns.fields()) {
        if let Expr::Column(source) = without_cast(value.clone().unalias())
            && let Some(place) = schema.maybe_index_of_column(&source)
        {
            targets[place] = Some(column);
        }
    }
    let cast = |row: usize, value: Expr, target: &Option<&FieldRef>| match target {
        Some(column) => {
            let place = format!("column '{}', row {row}", column.name());
            cast_at(without_cast(value), column.data_type(), &place, &DFSchema::empty())
        }
        None => Ok(value),
    };
    let rows = (1..).zip(values).map(|(row, values)| {
        let values = values.into_iter().zip(&targets).map(|(value, target)| cast(row, value, target));
        values.collect::<Result<Vec<Expr>>>()
    });
    let fields = schema.fields().iter().zip(&targets).map(|(field, target)| {
        Field::new(field.name(), target.map_or_else(|| field.data_type().clone(), |column| plain_type(column.data_type())), true)
    });
    let schema = DFSchema::try_from(Schema::new(fields.collect::<Vec<_>>()))?;
    Ok(LogicalPlan::Values(Values { schema: Arc::new(schema), values: rows.collect::<Result<_>>()? }))
}

/// The value that is cast, if it is one that is.
fn without_cast(value: Expr) -> Expr {
    match value {
        Expr::Cast(Cast { expr, .. }) => *expr,
        other => other,
    }
}
