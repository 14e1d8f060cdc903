//! Whole numbers that are written out are of type `integer`, if they are not too large for it; DataFusion makes them `bigint`.
//!
//! They stay what they are where DataFusion reads them itself (limits, most arguments of aggregate and window functions), beside what is no number (it counts days by them), and in
//! queries whose types are settled when they are planned: recursive ones, and those with subqueries that name columns of the query around them.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Values};

use super::map_node;
use super::outer_types::is_outer;
use super::value_rows::{column_mut, retyped};

/// A plan as it was made of a statement, with these types. It is no rule of the analysis, which comes by several times: what a write has cast to the types of its columns
/// stays.
///
/// Errors: those of types that do not go together.
pub(crate) fn with_integers(plan: LogicalPlan) -> Result<LogicalPlan> {
    if has_settled_types(&plan)? {
        return Ok(plan);
    }
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(_) => Ok(Transformed::no(node)),
        LogicalPlan::Values(values) => narrowed_rows(values),
        other => map_node(other, &narrowed)?.data.recompute_schema().map(Transformed::yes),
    })
    .data()
}

/// The same for an expression whose type is asked for while its plan is made.
///
/// Errors: those of changing expressions.
pub(crate) fn with_integers_within(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    narrowed(schema, expression).data()
}

fn has_settled_types(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::RecursiveQuery(_));
        node.apply_expressions(|expression| {
            found |= expression.exists(|part| Ok(is_outer(part)))?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The literal as an integer; `None` for any other expression.
fn integer(expression: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Int64(Some(number)), metadata) = expression else { return None };
    let number = i32::try_from(*number).ok()?;
    Some(Expr::Literal(ScalarValue::Int32(Some(number)), metadata.clone()))
}

fn narrowed(schema: &DFSchema, expression: Expr) -> Result<Transformed<Expr>> {
    expression.transform_down(|part| {
        if let Some(integer) = integer(&part) {
            return Ok(Transformed::yes(integer));
        }
        if !keeps_literals(schema, &part) {
            return Ok(Transformed::no(part));
        }
        let mut values = value_arguments(&part);
        let changed = part.map_children(|child| {
            let is_value = values > 0;
            values = values.saturating_sub(1);
            if matches!(child, Expr::Literal(..)) && !is_value { Ok(Transformed::no(child)) } else { narrowed(schema, child) }
        })?;
        Ok(Transformed::new(changed.data, changed.transformed, TreeNodeRecursion::Jump))
    })
}

/// Whether the literals right within an expression are read as they are.
fn keeps_literals(schema: &DFSchema, expression: &Expr) -> bool {
    match expression {
        Expr::AggregateFunction(AggregateFunction { func, .. }) => !matches!(func.name(), "min" | "max"),
        Expr::WindowFunction(_) => true,
        Expr::ScalarFunction(ScalarFunction { func, .. }) => {
            func.name().starts_with('$') || matches!(func.name(), "get_field" | "array_element" | "array_slice" | "map_extract")
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => is_arithmetic(*op) && [left, right].into_iter().any(|side| is_no_number(schema, side)),
        _ => false,
    }
}

/// How many arguments of an aggregate or window function, from the first one on, are values that its results are made of: their types show. Others are read by DataFusion
/// itself, or summed up as `bigint` anyway.
fn value_arguments(expression: &Expr) -> usize {
    let name = match expression {
        Expr::AggregateFunction(AggregateFunction { func, .. }) => func.name(),
        Expr::WindowFunction(window) => window.fun.name(),
        _ => return 0,
    };
    match name {
        "array_agg" | "arbitrary" | "any_value" | "histogram" | "min" | "max" | "first_value" | "last_value" | "nth_value" | "lag" | "lead" => 1,
        "map_agg" | "multimap_agg" | "max_by" | "min_by" => 2,
        _ => 0,
    }
}

fn is_arithmetic(operator: Operator) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    matches!(operator, Plus | Minus | Multiply | Divide | Modulo)
}

fn is_no_number(schema: &DFSchema, expression: &Expr) -> bool {
    // What has no type is a parameter without a value.
    expression.get_type(schema).is_ok_and(|data_type| !data_type.is_numeric() && !data_type.is_null())
}

/// A column of `VALUES` has one type: only all of its numbers together become integers. What stands within other expressions of several rows was seen to before.
fn narrowed_rows(rows: Values) -> Result<Transformed<LogicalPlan>> {
    let Values { schema, mut values } = rows;
    if let [row] = values.as_mut_slice() {
        let nothing = DFSchema::empty();
        for value in row {
            *value = with_integers_within(std::mem::take(value), &nothing)?;
        }
        return retyped(Values { schema, values }).map(Transformed::yes);
    }
    let is_whole = |value: &Expr| matches!(value, Expr::Literal(ScalarValue::Int64(None) | ScalarValue::Null, _)) || integer(value).is_some();
    let mut changed = false;
    for (column, field) in schema.fields().iter().enumerate() {
        let has_number = values.iter().filter_map(|row| row.get(column)).any(|value| integer(value).is_some());
        if *field.data_type() != DataType::Int64 || !has_number || !values.iter().filter_map(|row| row.get(column)).all(is_whole) {
            continue;
        }
        changed = true;
        for value in column_mut(&mut values, column) {
            *value = integer(value).unwrap_or(Expr::Literal(ScalarValue::Int32(None), None));
        }
    }
    let rows = Values { schema, values };
    if changed { retyped(rows).map(Transformed::yes) } else { Ok(Transformed::no(LogicalPlan::Values(rows))) }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema, TimeUnit};
    use datafusion::functions_aggregate::expr_fn::{array_agg, count, max, sum};
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};

    use super::*;

    fn shown(expression: Expr) -> String {
        let moment = Field::new("t", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        let schema = DFSchema::try_from(Schema::new(vec![Field::new("b", DataType::Int64, true), moment])).unwrap();
        narrowed(&schema, expression).unwrap().data.to_string()
    }

    #[test]
    fn small_numbers_are_integers() {
        assert_eq!(shown(col("b") + lit(1_i64)), "b + Int32(1)");
        assert_eq!(shown(lit(3_000_000_000_i64)), "Int64(3000000000)");
        assert_eq!(shown(max(lit(1_i64))), "max(Int32(1))");
    }

    #[test]
    fn what_is_read_as_it_is_stays() {
        assert_eq!(shown(count(lit(1_i64))), "count(Int64(1))");
        assert_eq!(shown(count(col("b") + lit(1_i64))), "count(b + Int32(1))");
        assert_eq!(shown(col("t") + lit(1_i64)), "t + Int64(1)");
    }

    #[test]
    fn values_that_aggregates_give_back_are_integers() {
        assert_eq!(shown(array_agg(lit(1_i64))), "array_agg(Int32(1))");
        assert_eq!(shown(sum(lit(1_i64))), "sum(Int64(1))");
    }

    #[test]
    fn columns_of_values_have_one_type() {
        let rows = vec![vec![lit(1_i64), lit(1_i64), lit("a")], vec![lit(ScalarValue::Int64(None)), lit(3_000_000_000_i64), lit("b")]];
        let plan = LogicalPlanBuilder::values(rows).unwrap().build().unwrap();
        let narrowed = with_integers(plan).unwrap();
        let types: Vec<&DataType> = narrowed.schema().fields().iter().map(|field| field.data_type()).collect();
        assert_eq!(types[..2], [&DataType::Int32, &DataType::Int64]);
    }
}
