//! `INSERT INTO t VALUES (ARRAY[1], ...)`: DataFusion gives the rows the table's types, and then fails to make a batch of them, since the casts of its
//! constants lose what the types say of the fields within (their ids). So such rows get plain types, and are cast above.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Values, cast, ident};

/// Makes `VALUES` of nested types plain, with casts above.
pub(super) fn with_casts_above(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|plan| match plan {
        LogicalPlan::Values(values) if values.schema.fields().iter().any(|field| plain_type(field.data_type()) != *field.data_type()) => {
            cast_above(values).map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    })
    .data()
}

fn cast_above(values: Values) -> Result<LogicalPlan> {
    let fields = values.schema.fields().clone();
    let plain: Vec<Field> = fields.iter().map(|field| Field::new(field.name(), plain_type(field.data_type()), true)).collect();
    let rows = values.values.into_iter().map(|row| row.into_iter().map(plain_value).collect()).collect::<Result<_>>()?;
    let plain = LogicalPlan::Values(Values { schema: Arc::new(DFSchema::try_from(Schema::new(plain))?), values: rows });
    let casts = fields.iter().map(|field| cast(ident(field.name()), field.data_type().clone()).alias(field.name()));
    LogicalPlanBuilder::from(plain).project(casts.collect::<Vec<_>>())?.build()
}

/// A value of `VALUES` with a plain type: it was cast to that of its column, or is a NULL of it.
fn plain_value(value: Expr) -> Result<Expr> {
    Ok(match value {
        Expr::Cast(Cast { expr, field }) => Expr::Cast(Cast::new(expr, plain_type(field.data_type()))),
        Expr::Literal(null, metadata) if null.is_null() => Expr::Literal(ScalarValue::try_from(&plain_type(&null.data_type()))?, metadata),
        other => other,
    })
}

/// The type without what its nested fields carry beside name, type and nullability.
fn plain_type(data_type: &DataType) -> DataType {
    let plain = |field: &FieldRef| Arc::new(Field::new(field.name(), plain_type(field.data_type()), field.is_nullable()));
    match data_type {
        DataType::List(element) => DataType::List(plain(element)),
        DataType::LargeList(element) => DataType::LargeList(plain(element)),
        DataType::FixedSizeList(element, length) => DataType::FixedSizeList(plain(element), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain(entries), *sorted),
        other => other.clone(),
    }
}
