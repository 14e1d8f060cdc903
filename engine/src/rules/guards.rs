//! `x <> 0 AND 10 / x > 1`, `x = 0 OR 10 / x > 1`: the second condition is asked only where the first one does not decide. DataFusion computes both for all rows of a batch,
//! and takes `CASE WHEN x <> 0 THEN 10 / x > 1 ELSE false END` for the first of these: a condition that may fail is given those that cannot as its guard, in a `CASE` which
//! computes it for the rows that are left. This is done to the plan that is about to become physical, as DataFusion would take such a `CASE` away again.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, binary_expr, is_not_false, is_not_true, lit, when};

use super::{input_schema, with_types};
use crate::functions::apart;

/// How many conditions guard another one. They are computed once more for each.
const GUARDS_MAX: usize = 16;

/// Functions that fail for no value. For all others it is worth little to know.
const NEVER_FAIL: [&str; 20] = [
    apart::NAME,
    "coalesce",
    "concat",
    "date_part",
    "day",
    "get_field",
    "hour",
    "length",
    "lower",
    "ltrim",
    "minute",
    "month",
    "quarter",
    "rtrim",
    "starts_with",
    "strpos",
    "substr",
    "trim",
    "upper",
    "year",
];

/// An optimised plan in which no condition fails for rows of which the others decide.
pub fn guarded(plan: LogicalPlan) -> Result<LogicalPlan> {
    // Conditions of a table, which stand side by side in its scan, choose files there. Those that rows are asked stand above it as well.
    plan.transform_up_with_subqueries(|node| {
        let (schema, names) = (input_schema(&node), NamePreserver::new(&node));
        let changed = node.map_expressions(|expression| {
            if !has_chain(&schema, &expression) {
                return Ok(Transformed::no(expression));
            }
            let name = names.save(&expression);
            Ok(Transformed::yes(name.restore(within(&schema, expression)?)))
        })?;
        match changed.transformed {
            true => with_types(changed.data).map(Transformed::yes),
            false => Ok(changed),
        }
    })
    .data()
}

/// Whether an expression that may fail has conditions that are joined.
fn has_chain(schema: &DFSchema, expression: &Expr) -> bool {
    let is_chain = |part: &Expr| matches!(part, Expr::BinaryExpr(BinaryExpr { op: Operator::And | Operator::Or, .. }));
    expression.exists(|part| Ok(is_chain(part))).unwrap_or(false) && may_fail(schema, expression)
}

/// An expression with the guards that are wanted in it.
fn within(schema: &DFSchema, expression: Expr) -> Result<Expr> {
    let changed = expression.transform_down(|part| match part {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => {
            if !may_fail(schema, &part) {
                return Ok(Transformed::new(part, false, TreeNodeRecursion::Jump));
            }
            let operands = operands_guarded(schema, operands(part, op), op)?;
            Ok(Transformed::new(joined(operands, op), true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    });
    changed.data()
}

/// What is joined by an operator, however it is nested.
fn operands(expression: Expr, op: Operator) -> Vec<Expr> {
    let (mut stack, mut operands) = (vec![expression], Vec::new());
    while let Some(next) = stack.pop() {
        match next {
            Expr::BinaryExpr(BinaryExpr { left, op: other, right }) if other == op => {
                stack.push(*right);
                stack.push(*left);
            }
            operand => operands.push(operand),
        }
    }
    operands
}

/// The same joined again, as a flat tree.
fn joined(mut operands: Vec<Expr>, op: Operator) -> Expr {
    while operands.len() > 1 {
        let mut rest = operands.into_iter();
        let mut pairs = Vec::new();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => binary_expr(left, op, right),
                None => left,
            });
        }
        operands = pairs;
    }
    operands.pop().unwrap_or_else(|| lit(op == Operator::And))
}

fn operands_guarded(schema: &DFSchema, operands: Vec<Expr>, op: Operator) -> Result<Vec<Expr>> {
    let fail: Vec<bool> = operands.iter().map(|operand| may_fail(schema, operand)).collect();
    let guard = guard(operands.iter().zip(&fail).filter_map(|(operand, fails)| (!fails && can_be_repeated(operand)).then_some(operand)), op);
    let guarded = operands.into_iter().zip(fail).map(|(operand, fails)| {
        let operand = within(schema, operand)?;
        match &guard {
            Some(guard) if fails => when(guard.clone(), operand).otherwise(lit(op == Operator::Or)),
            _ => Ok(operand),
        }
    });
    guarded.collect()
}

/// What is true where none of these conditions decides.
fn guard<'a>(safe: impl Iterator<Item = &'a Expr>, op: Operator) -> Option<Expr> {
    let guard = safe.take(GUARDS_MAX).cloned().reduce(|left, right| binary_expr(left, op, right))?;
    Some(if op == Operator::Or { is_not_true(guard) } else { is_not_false(guard) })
}

/// Whether a condition has one value for a row, and may be asked twice for it.
fn can_be_repeated(condition: &Expr) -> bool {
    let has_subquery = condition.exists(|part| {
        Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)) || part.is_volatile_node())
    });
    !has_subquery.unwrap_or(true)
}

/// Whether there may be values for which an expression fails.
fn may_fail(schema: &DFSchema, expression: &Expr) -> bool {
    let found = expression.exists(|part| {
        Ok(match part {
            Expr::ScalarFunction(call) => !NEVER_FAIL.contains(&call.func.name()),
            Expr::HigherOrderFunction(_) => true,
            Expr::Cast(cast) => !is_text(cast.field.data_type()) && cast.expr.get_type(schema).is_ok_and(|from| is_text(&from)),
            _ => false,
        })
    });
    found.unwrap_or(true)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::logical_expr::col;

    use super::*;

    fn guarded(expression: Expr) -> String {
        let schema = Schema::new(vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Int64, true)]);
        within(&DFSchema::try_from(schema).unwrap(), expression).unwrap().to_string()
    }

    fn quotient() -> Expr {
        nunatak_functions::scalar("$divide").unwrap().call(vec![lit(10_i64), col("x")]).gt(lit(1_i64))
    }

    #[test]
    fn what_may_fail_is_guarded_by_what_cannot() {
        let is_zero = || col("x").eq(lit(0_i64));
        assert_eq!(
            guarded(is_zero().or(quotient())),
            "x = Int64(0) OR CASE WHEN x = Int64(0) IS NOT TRUE THEN $divide(Int64(10), x) > Int64(1) ELSE Boolean(true) END"
        );
        // Conditions of derived tables come behind those that are put to them.
        assert!(guarded(quotient().and(col("x").gt(lit(0_i64)))).starts_with("CASE WHEN x > Int64(0) IS NOT FALSE THEN $divide"));
        let nested = guarded(col("y").gt(lit(0_i64)).and(is_zero().or(quotient())));
        assert!(
            nested.contains("CASE WHEN y > Int64(0) IS NOT FALSE THEN x = Int64(0) OR CASE WHEN x = Int64(0) IS NOT TRUE THEN $divide"),
            "{nested}"
        );
    }

    #[test]
    fn other_conditions_stay() {
        let plain = || col("x").gt(lit(0_i64)).and(col("y").gt(lit(0_i64)));
        assert_eq!(guarded(plain()), plain().to_string());
        assert_eq!(guarded(quotient().and(quotient())), quotient().and(quotient()).to_string());
    }

    #[test]
    fn chains_are_joined_as_flat_trees() {
        let chain = (0..5).map(|number| col("x").gt(lit(number))).reduce(Expr::and).unwrap();
        let again = joined(operands(chain.clone(), Operator::And), Operator::And);
        assert_eq!(operands(again, Operator::And), operands(chain, Operator::And));
    }
}
