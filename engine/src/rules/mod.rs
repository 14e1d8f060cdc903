//! Rules of our own for analysing and optimising plans, one a file.

mod alike;
mod common_types;
mod correlated_subqueries;
mod exact_casts;
mod groups;
mod in_subqueries;
mod interval_order;
mod lateral_rows;
mod lifted_conditions;
mod map_keys;
mod refused_casts;
mod set_comparisons;
mod single_subqueries;
mod subqueries_as_values;
mod temporal_arithmetic;
mod whole_decimals;
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

pub(crate) use alike::{alike_arguments, alike_rows};
pub(crate) use exact_casts::{exact_float, with_exact_casts};
pub(crate) use refused_casts::is_refused;
pub use yield_in_joins::YieldInJoins;

/// The rules by which plans are analysed: most of ours come before types are made alike.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let before: [Arc<dyn AnalyzerRule + Send + Sync>; 9] = [
        Arc::new(refused_casts::RefusedCasts),
        Arc::new(lateral_rows::LateralRows),
        Arc::new(lifted_conditions::LiftedConditions),
        Arc::new(in_subqueries::InSubqueries),
        Arc::new(single_subqueries::SingleSubqueries),
        Arc::new(window_filters::WindowFilters),
        Arc::new(whole_decimals::WholeDecimals),
        Arc::new(interval_order::IntervalOrder),
        Arc::new(alike::Alike),
    ];
    let after: [Arc<dyn AnalyzerRule + Send + Sync>; 3] =
        [Arc::new(exact_casts::ExactCasts), Arc::new(temporal_arithmetic::TemporalArithmetic), Arc::new(map_keys::MapKeys)];
    before.into_iter().chain(Analyzer::new().rules).chain(after).collect()
}

/// Changes the expressions of a plan and of the subqueries in it; columns keep their names. `change` is given the schema that an expression is of.
fn map_expressions(plan: LogicalPlan, change: &Change<'_>) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| map_node(node, change)).map(|changed| changed.data)
}

type Change<'a> = dyn Fn(&DFSchema, Expr) -> Result<Transformed<Expr>> + 'a;

/// The schema that the expressions of a node are of.
fn input_schema(node: &LogicalPlan) -> DFSchema {
    match node {
        LogicalPlan::TableScan(scan) => scan.projected_schema.as_ref().clone(),
        node => merge_schema(&node.inputs()),
    }
}

/// The same for the expressions of one node.
fn map_node(node: LogicalPlan, change: &Change<'_>) -> Result<Transformed<LogicalPlan>> {
    let schema = input_schema(&node);
    let names = NamePreserver::new(&node);
    let changed = node.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(change(&schema, expression)?.update_data(|expression| name.restore(expression)))
    })?;
    match changed.transformed {
        true => changed.map_data(LogicalPlan::recompute_schema).map(|changed| Transformed::new(changed.data, true, TreeNodeRecursion::Continue)),
        false => Ok(changed),
    }
}
