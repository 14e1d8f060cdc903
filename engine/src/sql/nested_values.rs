//! `INSERT INTO t VALUES (ARRAY[1], ...)`: DataFusion casts the rows to the table's types, and then fails to make a batch of them, since casts of constants lose what
//! the types say of the fields within (their ids). So what is inserted has plain types, and the writer gives the ids to what it writes.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Values};

use crate::scan::types::plain_type;

/// Makes the types of `VALUES` and of all casts plain. `VALUES` take NULL in any column: where the table has none the writer says so, and names the column.
pub(super) fn with_plain_types(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plain_casts =
        |plan: LogicalPlan| plan.map_expressions(|expression| expression.transform_up(|value| plain_value(value).map(Transformed::yes)));
    plan.transform_up(|plan| match plan {
        LogicalPlan::Values(Values { schema, values }) => {
            let fields: Vec<Field> = schema.fields().iter().map(|field| Field::new(field.name(), plain_type(field.data_type()), true)).collect();
            let typed = |(value, field): (Expr, &Field)| match field.data_type().is_nested() {
                // A row has fields that are never NULL if none of its values is.
                true => plain_value(value)?.cast_to(field.data_type(), &DFSchema::empty()),
                false => plain_value(value),
            };
            let values = values.into_iter().map(|row| row.into_iter().zip(&fields).map(typed).collect()).collect::<Result<_>>()?;
            Ok(Transformed::yes(LogicalPlan::Values(Values { schema: Arc::new(DFSchema::try_from(Schema::new(fields))?), values })))
        }
        other => Ok(Transformed::yes(plain_casts(other)?.data.recompute_schema()?)),
    })
    .data()
}

/// A value of a plain type, if it is one that was cast, or a NULL.
fn plain_value(value: Expr) -> Result<Expr> {
    Ok(match value {
        Expr::Cast(Cast { expr, field }) => Expr::Cast(Cast::new(expr, plain_type(field.data_type()))),
        Expr::Literal(null, metadata) if null.is_null() => Expr::Literal(ScalarValue::try_from(&plain_type(&null.data_type()))?, metadata),
        other => other,
    })
}
