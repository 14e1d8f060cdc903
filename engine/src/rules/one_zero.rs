//! Zero and minus zero are one number, and maps with the same entries are one map, in whatever order these are. DataFusion compares numbers so, but not those within arrays, rows
//! and maps, nor in `CASE x WHEN`, among the constants of `IN`, and where `PARTITION BY` tells rows apart, and maps nowhere: there both zeros become zero, and maps have the order
//! of their keys. Rows that are grouped or sorted are in `one_zero_in_keys`.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunctionParams, InList, WindowFunctionParams};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Projection};
use datafusion::optimizer::AnalyzerRule;

use super::groups::is_comparison;
use super::map_expressions;

/// The function that makes one zero of both, and one map of those with the same entries.
const ONE_ZERO: &str = "$one_zero";

/// The rule. It comes when types have been made alike.
#[derive(Debug)]
pub(super) struct OneZero;

impl AnalyzerRule for OneZero {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| expression.transform_up(|part| with_one_zero(schema, part)))
    }

    fn name(&self) -> &str {
        "one_zero"
    }
}

fn with_one_zero(schema: &DFSchema, mut expression: Expr) -> Result<Transformed<Expr>> {
    let mut changed = false;
    for value in told_apart(schema, &mut expression) {
        if !has_twins(schema, value) || is_one_zero(value) {
            continue;
        }
        make_one_zero(value)?;
        changed = true;
    }
    if let Expr::InSubquery(within) = &mut expression
        && has_nested_twins(schema, &within.expr)
        && !is_one_zero(&within.expr)
    {
        make_one_zero(&mut within.expr)?;
        let rows = Arc::clone(&within.subquery.subquery);
        let mut values = rows.schema().columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
        values.iter_mut().try_for_each(make_one_zero)?;
        within.subquery = within.subquery.with_plan(Arc::new(LogicalPlan::Projection(Projection::try_new(values, rows)?)));
        changed = true;
    }
    Ok(Transformed::new_transformed(expression, changed))
}

/// Makes one zero of both in a value.
pub(super) fn make_one_zero(value: &mut Expr) -> Result<()> {
    let Some(function) = nunatak_functions::scalar(ONE_ZERO) else { return internal_err!("function {ONE_ZERO} is missing") };
    *value = function.call(vec![std::mem::take(value)]);
    Ok(())
}

/// The operands of an expression that are compared by their bits, if they are numbers.
fn told_apart<'a>(schema: &DFSchema, expression: &'a mut Expr) -> Vec<&'a mut Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            [left.as_mut(), right.as_mut()].into_iter().filter(|value| is_nested(schema, value)).collect()
        }
        Expr::InList(InList { expr, list, .. }) => {
            // Where a column is looked for among constants, which tell what to read, these get both zeros: see `zeros_in_lists`.
            let is_looked_up = expr.any_column_refs() && !list.iter().any(Expr::any_column_refs) && !is_nested(schema, expr);
            if is_looked_up { Vec::new() } else { std::iter::once(expr.as_mut()).chain(list.iter_mut()).collect() }
        }
        Expr::Case(Case { expr: Some(expr), when_then_expr, .. }) => {
            std::iter::once(expr.as_mut()).chain(when_then_expr.iter_mut().map(|(when, _)| when.as_mut())).collect()
        }
        Expr::WindowFunction(window) => {
            let WindowFunctionParams { partition_by, order_by, .. } = &mut window.params;
            let order_by = order_by.iter_mut().map(|key| &mut key.expr).filter(|key| is_nested(schema, key));
            partition_by.iter_mut().chain(order_by).collect()
        }
        Expr::AggregateFunction(call) if call.params.distinct => {
            let AggregateFunctionParams { args, order_by, .. } = &mut call.params;
            args.iter_mut().chain(order_by.iter_mut().map(|key| &mut key.expr)).filter(|value| is_nested(schema, value)).collect()
        }
        _ => Vec::new(),
    }
}

fn is_nested(schema: &DFSchema, value: &Expr) -> bool {
    value.get_type(schema).is_ok_and(|data_type| data_type.is_nested())
}

/// Whether a value is an array, a row or a map that may be equal to one of other bytes.
pub(super) fn has_nested_twins(schema: &DFSchema, value: &Expr) -> bool {
    is_nested(schema, value) && has_twins(schema, value)
}

fn has_twins(schema: &DFSchema, value: &Expr) -> bool {
    // What has no type is a parameter without a value.
    value.get_type(schema).is_ok_and(|data_type| nunatak_functions::has_twins(&data_type))
}

/// A plan may be analysed again.
pub(super) fn is_one_zero(value: &Expr) -> bool {
    matches!(value, Expr::ScalarFunction(call) if call.func.name() == ONE_ZERO)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::{case, col, in_list, lit};

    use super::*;

    fn shown(expression: Expr) -> String {
        let list = DataType::new_list(DataType::Float64, true);
        let pair = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)];
        let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false);
        let fields = vec![
            Field::new("x", DataType::Float64, true),
            Field::new("a", list, true),
            Field::new("i", DataType::Int64, true),
            Field::new("m", map, true),
        ];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        let once = with_one_zero(&schema, expression).unwrap();
        let again = with_one_zero(&schema, once.data.clone()).unwrap();
        assert!(!again.transformed);
        once.data.to_string()
    }

    #[test]
    fn what_is_compared_by_its_bits() {
        assert_eq!(shown(col("a").eq(col("a"))), "$one_zero(a) = $one_zero(a)");
        assert_eq!(shown(col("m").not_eq(col("m"))), "$one_zero(m) != $one_zero(m)");
        assert_eq!(shown(case(col("x")).when(lit(0.0), col("x")).end().unwrap()), "CASE $one_zero(x) WHEN $one_zero(Float64(0)) THEN x END");
        assert_eq!(shown(in_list(lit(0.0), vec![lit(1.0)], false)), "$one_zero(Float64(0)) IN ([$one_zero(Float64(1))])");
    }

    #[test]
    fn what_is_compared_as_it_should_be() {
        for expression in [col("x").eq(lit(0.0)), in_list(col("x"), vec![lit(0.0)], false), case(col("i")).when(lit(1_i64), col("x")).end().unwrap()]
        {
            let text = expression.to_string();
            assert_eq!(shown(expression), text);
        }
    }
}
