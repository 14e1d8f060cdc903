//! Functions within statements, `x -> x + 1`: the places of their parameters in rows.
//!
//! DataFusion numbers parameters behind the columns of the rows that a function is called with. When it merges operators, rows get other columns, whose numbers change in
//! expressions while those of parameters stay: they would be taken for columns then.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::LambdaVariable;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

/// More columns than rows have.
const FAR: usize = 1 << 20;

/// Gives parameters numbers that no column gets, before operators are merged.
#[derive(Debug, Default)]
pub(super) struct FarLambdas;

impl PhysicalOptimizerRule for FarLambdas {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(far).data()
    }

    fn name(&self) -> &str {
        "far_lambdas"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn far(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let moved = projection.expr().iter().map(|item| Ok((moved(&item.expr)?, item.alias.clone()))).collect::<Result<Vec<_>>>()?;
        if moved.iter().any(|(expression, _)| expression.transformed) {
            let items = moved.into_iter().map(|(expression, alias)| ProjectionExpr { expr: expression.data, alias });
            let changed = ProjectionExec::try_new(items.collect::<Vec<_>>(), Arc::clone(projection.input()))?;
            return Ok(Transformed::yes(Arc::new(changed)));
        }
    }
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        let moved = moved(filter.predicate())?;
        if moved.transformed {
            let changed = FilterExecBuilder::from(filter).with_predicate(moved.data).build()?;
            return Ok(Transformed::yes(Arc::new(changed)));
        }
    }
    Ok(Transformed::no(node))
}

fn moved(expression: &Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    Arc::clone(expression).transform_up(|part| match part.downcast_ref::<LambdaVariable>() {
        Some(parameter) if parameter.index() < FAR => {
            let far: Arc<dyn PhysicalExpr> = Arc::new(LambdaVariable::new(parameter.index() + FAR, Arc::clone(parameter.field())));
            Ok(Transformed::yes(far))
        }
        _ => Ok(Transformed::no(part)),
    })
}
