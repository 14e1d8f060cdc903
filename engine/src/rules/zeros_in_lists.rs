//! Zero and minus zero are one number, but not among the values of `IN`, which DataFusion looks up by their bits: `x IN (0e0, 1e0, ...)`, and `x = 0e0 OR x = 1e0 OR ...`,
//! which it makes such a list, gets the other zero too.

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule. It comes after conditions are simplified.
#[derive(Debug)]
pub struct ZerosInLists;

impl OptimizerRule for ZerosInLists {
    fn name(&self) -> &str {
        "zeros_in_lists"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            if !expression.exists(|part| Ok(matches!(part, Expr::InList(InList { list, .. }) if missing_zero(list).is_some())))? {
                return Ok(Transformed::no(expression));
            }
            let name = names.save(&expression);
            Ok(expression.transform_up(with_both_zeros)?.update_data(|expression| name.restore(expression)))
        })
    }
}

fn with_both_zeros(expression: Expr) -> Result<Transformed<Expr>> {
    match expression {
        Expr::InList(InList { expr, mut list, negated }) => {
            let missing = missing_zero(&list);
            let is_changed = missing.is_some();
            list.extend(missing.map(|zero| Expr::Literal(zero, None)));
            Ok(Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), is_changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The zero that a list lacks which has the other one.
fn missing_zero(list: &[Expr]) -> Option<ScalarValue> {
    let other = |value: &Expr| match value {
        Expr::Literal(ScalarValue::Float64(Some(zero)), _) if *zero == 0.0 => Some(ScalarValue::from(-zero)),
        Expr::Literal(ScalarValue::Float32(Some(zero)), _) if *zero == 0.0 => Some(ScalarValue::from(-zero)),
        _ => None,
    };
    let is_there = |zero: &ScalarValue| list.iter().any(|value| matches!(value, Expr::Literal(known, _) if known == zero));
    list.iter().filter_map(other).find(|zero| !is_there(zero))
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, in_list, lit};

    use super::*;

    #[test]
    fn lists_have_both_zeros_or_none() {
        let changed = |list: Vec<Expr>| with_both_zeros(in_list(col("x"), list, true)).unwrap();
        let once = changed(vec![lit(0.0), lit(1.0)]);
        assert_eq!(once.data, in_list(col("x"), vec![lit(0.0), lit(1.0), lit(-0.0)], true));
        assert!(once.transformed && !with_both_zeros(once.data).unwrap().transformed);
        assert_eq!(changed(vec![lit(-0.0_f32)]).data, in_list(col("x"), vec![lit(-0.0_f32), lit(0.0_f32)], true));
        assert!(!changed(vec![lit(1.0), lit(2.0)]).transformed && !changed(vec![lit(0)]).transformed);
    }
}
