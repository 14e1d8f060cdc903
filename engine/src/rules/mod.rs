//! Rules of our own for analysing and optimising plans, one a file.

mod decimals_and_floats;
mod in_subqueries;
mod single_subqueries;
mod temporal_comparisons;
mod window_filters;
mod yield_in_joins;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, LogicalPlan};
use datafusion::optimizer::{Analyzer, AnalyzerRule};

pub(crate) use decimals_and_floats::exact_float;
pub use yield_in_joins::YieldInJoins;

/// The rules by which plans are analysed: most of ours come before types are made alike.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let before: [Arc<dyn AnalyzerRule + Send + Sync>; 5] = [
        Arc::new(in_subqueries::InSubqueries),
        Arc::new(single_subqueries::SingleSubqueries),
        Arc::new(window_filters::WindowFilters),
        Arc::new(decimals_and_floats::DecimalsAndFloats),
        Arc::new(temporal_comparisons::TemporalComparisons),
    ];
    let after: Arc<dyn AnalyzerRule + Send + Sync> = Arc::new(decimals_and_floats::ExactFloats);
    before.into_iter().chain(Analyzer::new().rules).chain([after]).collect()
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

/// Changes what is compared with each other in the expressions of a plan: both sides of an operator, or a value and its bounds or those of a list.
fn map_compared(plan: LogicalPlan, adapt: &Adapt) -> Result<LogicalPlan> {
    map_expressions(plan, &|schema, expression| expression.transform_up(|expression| compared(schema, expression, adapt)))
}

/// Changes expressions that are compared with each other, and tells whether it has.
type Adapt = dyn Fn(&DFSchema, &mut [&mut Expr]) -> Result<bool>;

fn compared(schema: &DFSchema, expression: Expr, adapt: &Adapt) -> Result<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { mut left, op, mut right }) if op.supports_propagation() => {
            let changed = adapt(schema, &mut [left.as_mut(), right.as_mut()])?;
            Ok(Transformed::new_transformed(Expr::BinaryExpr(BinaryExpr { left, op, right }), changed))
        }
        Expr::Between(Between { mut expr, negated, mut low, mut high }) => {
            let changed = adapt(schema, &mut [expr.as_mut(), low.as_mut(), high.as_mut()])?;
            Ok(Transformed::new_transformed(Expr::Between(Between { expr, negated, low, high }), changed))
        }
        Expr::InList(InList { mut expr, mut list, negated }) => {
            let mut compared: Vec<&mut Expr> = std::iter::once(expr.as_mut()).chain(&mut list).collect();
            let changed = adapt(schema, &mut compared)?;
            Ok(Transformed::new_transformed(Expr::InList(InList { expr, list, negated }), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}
