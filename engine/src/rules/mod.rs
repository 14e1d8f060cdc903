//! Rules of our own for analysing and optimising plans, one a file.

mod alike;
mod arithmetic;
mod common_conditions;
mod common_types;
mod computed_keys;
mod correlated_limits;
mod correlated_subqueries;
mod distinct_values;
mod empty_groups;
mod exact_casts;
mod groups;
mod guards;
mod in_subqueries;
mod interval_order;
mod join_conditions;
mod join_order;
mod join_subqueries;
mod json_casts;
mod lambdas;
mod lateral_rows;
mod lateral_values;
mod lifted_conditions;
mod looked_up_values;
mod one_zero;
mod one_zero_in_keys;
mod other_ties;
mod outer_types;
mod read_once;
mod recursion_depth;
mod recursive_columns;
mod refused_casts;
mod row_comparisons;
mod same_names;
mod set_comparisons;
mod set_counts;
mod single_subqueries;
mod subqueries_as_values;
mod tableless_subqueries;
mod temporal_arithmetic;
mod true_keys;
mod unnests_around;
mod value_rows;
mod whole_literals;
mod window_filters;
mod window_offsets;
mod window_order;
mod yield_in_joins;
mod zeros_in_lists;
mod zoned_times;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

pub(crate) use alike::{alike_arguments, alike_rows};
pub use computed_keys::with_computed_keys;
pub use distinct_values::DistinctValues;
pub(crate) use exact_casts::{exact_float, with_exact_casts};
pub use guards::guarded;
pub use join_order::with_join_order;
pub(crate) use read_once::OnceExec;
pub(crate) use recursive_columns::with_plain_recursion;
pub(crate) use refused_casts::is_refused;
pub use true_keys::optimizer_rules;
pub(crate) use whole_literals::{with_integers, with_integers_within};
pub use yield_in_joins::YieldInJoins;
pub use zeros_in_lists::ZerosInLists;

/// The rules by which plans are analysed: most of ours come before types are made alike.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let before: [Arc<dyn AnalyzerRule + Send + Sync>; 21] = [
        Arc::new(join_subqueries::JoinSubqueries),
        Arc::new(set_counts::SetCounts),
        Arc::new(empty_groups::EmptyGroups),
        Arc::new(json_casts::JsonCasts),
        Arc::new(refused_casts::RefusedCasts),
        Arc::new(arithmetic::Arithmetic),
        Arc::new(unnests_around::UnnestsAround),
        Arc::new(lateral_rows::LateralRows),
        Arc::new(lateral_values::LateralValues),
        Arc::new(other_ties::OtherTies),
        Arc::new(correlated_limits::CorrelatedLimits),
        Arc::new(looked_up_values::LookedUpValues),
        Arc::new(lifted_conditions::LiftedConditions),
        Arc::new(in_subqueries::InSubqueries),
        Arc::new(single_subqueries::SingleSubqueries),
        Arc::new(window_filters::WindowFilters),
        Arc::new(window_offsets::WindowOffsets),
        Arc::new(window_order::WindowOrder),
        Arc::new(interval_order::IntervalOrder),
        Arc::new(zoned_times::ZonedTimes),
        Arc::new(alike::Alike),
    ];
    // What was made alike may have been cast between zones.
    let after: [Arc<dyn AnalyzerRule + Send + Sync>; 6] = [
        Arc::new(zoned_times::ZonedTimes),
        Arc::new(exact_casts::ExactCasts),
        Arc::new(temporal_arithmetic::TemporalArithmetic),
        Arc::new(row_comparisons::RowComparisons),
        Arc::new(one_zero::OneZero),
        Arc::new(one_zero_in_keys::OneZeroInKeys),
    ];
    before.into_iter().chain(Analyzer::new().rules).chain(after).collect()
}

/// The rules by which physical plans are optimised: those of DataFusion behind what has to be done before it merges operators.
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let first: [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 1] = [Arc::new(lambdas::FarLambdas)];
    let last: [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 2] = [Arc::new(read_once::ReadOnce), Arc::new(recursion_depth::RecursionDepth)];
    let own = PhysicalOptimizer::new().rules.into_iter().map(join_conditions::with_conditions_kept).map(same_names::told_apart);
    first.into_iter().chain(own).chain(last).collect()
}

/// Changes the expressions of a plan and of the subqueries in it; columns keep their names. `change` is given the schema that an expression is of.
fn map_expressions(plan: LogicalPlan, change: &Change<'_>) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| map_node(node, change)).map(|changed| changed.data)
}

/// An expression whose lambdas have parameters of the types that the values have now which they are called with.
fn with_parameter_types(schema: &DFSchema, changed: Transformed<Expr>) -> Result<Transformed<Expr>> {
    if !changed.data.exists(|part| Ok(matches!(part, Expr::HigherOrderFunction(_))))? {
        return Ok(changed);
    }
    // Where values are parameters of the query that have no type yet, it is done when they have one.
    match changed.data.clone().resolve_lambda_variables(schema) {
        Ok(resolved) => Ok(Transformed::new_transformed(resolved.data, changed.transformed || resolved.transformed)),
        Err(_) => Ok(changed),
    }
}

/// A node with the types of its expressions.
fn with_types(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Values(rows) => value_rows::retyped(rows),
        other => other.recompute_schema(),
    }
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
    let changed_under_name = |expression: Expr| -> Result<Transformed<Expr>> {
        let name = names.save(&expression);
        let changed = with_parameter_types(&schema, change(&schema, expression)?)?;
        Ok(changed.update_data(|expression| name.restore(expression)))
    };
    let changed = node.map_expressions(|expression| match expression {
        // The columns have the names of what is in the sets.
        sets @ Expr::GroupingSet(_) => sets.map_children(changed_under_name),
        other => changed_under_name(other),
    })?;
    match changed.transformed {
        true => changed.map_data(with_types).map(|changed| Transformed::new(changed.data, true, TreeNodeRecursion::Continue)),
        false => Ok(changed),
    }
}
