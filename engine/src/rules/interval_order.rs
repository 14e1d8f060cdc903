//! Comparisons of intervals by how long they are: see [`interval_order`]. What is compared by a key (`GROUP BY`, `DISTINCT`, `ORDER BY`) goes by Arrow's order.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, Operator, binary_expr, lit, not};
use datafusion::optimizer::AnalyzerRule;

use super::groups::is_comparison;
use super::map_expressions;
use crate::functions::interval_order;

/// The rule. It comes before types are made alike: DataFusion would make intervals of the times between two moments.
#[derive(Debug)]
pub(super) struct IntervalOrder;

impl AnalyzerRule for IntervalOrder {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| {
            expression.transform_up(|expression| {
                Ok(match compares_intervals(schema, &expression) {
                    true => Transformed::yes(by_length(expression)),
                    false => Transformed::no(expression),
                })
            })
        })
    }

    fn name(&self) -> &str {
        "interval_order"
    }
}

/// Whether intervals are compared with each other or with durations. Durations alone are compared well.
fn compares_intervals(schema: &DFSchema, expression: &Expr) -> bool {
    let operands: Vec<&Expr> = match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => vec![left.as_ref(), right.as_ref()],
        Expr::Between(Between { expr, low, high, .. }) => vec![expr.as_ref(), low.as_ref(), high.as_ref()],
        Expr::InList(InList { expr, list, .. }) => std::iter::once(expr.as_ref()).chain(list).collect(),
        Expr::Case(Case { expr: Some(expr), when_then_expr, .. }) => {
            std::iter::once(expr.as_ref()).chain(when_then_expr.iter().map(|(when, _)| when.as_ref())).collect()
        }
        _ => return false,
    };
    let mut has_interval = false;
    for operand in operands {
        match operand.get_type(schema) {
            Ok(DataType::Interval(_)) => has_interval = true,
            Ok(DataType::Duration(_) | DataType::Null) => {}
            _ => return false,
        }
    }
    has_interval
}

fn by_length(expression: Expr) -> Expr {
    let zero = || lit(0_i64);
    let equal = |left: &Expr, right: Expr| interval_order::call(left.clone(), right).eq(zero());
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::IsDistinctFrom | Operator::IsNotDistinctFrom), right }) => {
            let both_null = left.as_ref().clone().is_null().and(right.as_ref().clone().is_null());
            let same = both_null.or(equal(&left, *right).is_true());
            if op == Operator::IsDistinctFrom { not(same) } else { same }
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => binary_expr(interval_order::call(*left, *right), op, zero()),
        Expr::Between(Between { expr, negated, low, high }) => {
            let from = interval_order::call(expr.as_ref().clone(), *low).gt_eq(zero());
            let within = from.and(interval_order::call(*expr, *high).lt_eq(zero()));
            if negated { not(within) } else { within }
        }
        Expr::InList(InList { expr, list, negated }) => {
            let any = list.into_iter().map(|value| equal(&expr, value)).reduce(Expr::or).unwrap_or_else(|| lit(false));
            if negated { not(any) } else { any }
        }
        Expr::Case(Case { expr: Some(expr), when_then_expr, else_expr }) => {
            let branches = when_then_expr.into_iter().map(|(when, then)| (Box::new(equal(&expr, *when)), then));
            Expr::Case(Case { expr: None, when_then_expr: branches.collect(), else_expr })
        }
        other => other,
    }
}
