//! Rules of our own for analysing and optimising plans, one a file.

mod decimal_literals;
mod single_subqueries;
mod window_filters;
mod yield_in_joins;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{Analyzer, AnalyzerRule};

pub use yield_in_joins::YieldInJoins;

/// The rules by which plans are analysed: ours come before types are made alike.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let ours: [Arc<dyn AnalyzerRule + Send + Sync>; 3] =
        [Arc::new(single_subqueries::SingleSubqueries), Arc::new(window_filters::WindowFilters), Arc::new(decimal_literals::DecimalLiterals)];
    ours.into_iter().chain(Analyzer::new().rules).collect()
}

/// Changes the expressions of a plan and of the subqueries in it; columns keep their names. `change` is given the schema that an expression is of.
fn map_expressions(plan: LogicalPlan, change: &dyn Fn(&DFSchema, Expr) -> Result<Transformed<Expr>>) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        let schema = match &node {
            LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
            node => merge_schema(&node.inputs()),
        };
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expression| {
            let name = names.save(&expression);
            Ok(change(&schema, expression)?.update_data(|expression| name.restore(expression)))
        })?;
        let recursion = TreeNodeRecursion::Continue;
        match changed.transformed {
            true => changed.map_data(LogicalPlan::recompute_schema).map(|changed| Transformed::new(changed.data, true, recursion)),
            false => Ok(changed),
        }
    });
    changed.map(|changed| changed.data)
}
