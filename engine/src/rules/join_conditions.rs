//! `t LEFT JOIN u ON CASE WHEN t.x <> 0 THEN 10 / t.x > u.y END`: what is asked for some rows only stays within the condition of its join. DataFusion's `ProjectionPushdown`
//! computes what a nested loop join asks of one side below that side, for all of its rows, `10 / t.x` too.

use std::sync::Arc;

use datafusion::common::tree_node::{TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::CaseExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::projection::remove_unnecessary_projections;

/// The name of DataFusion's rule.
const PUSHDOWN: &str = "ProjectionPushdown";

/// DataFusion's rule, but for plans with such joins: for these only what else it does.
#[derive(Debug)]
struct JoinConditions(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

/// A rule that leaves such conditions as they are.
pub(super) fn with_conditions_kept(rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>) -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
    if rule.name() == PUSHDOWN { Arc::new(JoinConditions(rule)) } else { rule }
}

impl PhysicalOptimizerRule for JoinConditions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        match plan.exists(|node| Ok(has_cases(node)))? {
            true => plan.transform_down(remove_unnecessary_projections).data(),
            false => self.0.optimize(plan, config),
        }
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

fn has_cases(node: &Arc<dyn ExecutionPlan>) -> bool {
    let condition = node.downcast_ref::<NestedLoopJoinExec>().and_then(NestedLoopJoinExec::filter);
    condition.is_some_and(|condition| condition.expression().exists(|part| Ok(part.downcast_ref::<CaseExpr>().is_some())).unwrap_or(true))
}

#[cfg(test)]
mod tests {
    use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

    use super::*;

    #[test]
    fn the_rule_is_there() {
        let rules = PhysicalOptimizer::new().rules;
        assert!(rules.iter().any(|rule| rule.name() == PUSHDOWN));
    }
}
