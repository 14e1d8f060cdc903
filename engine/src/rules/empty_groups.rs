//! `GROUP BY ()` is an aggregation of all rows, which gives a row also of none (SQL:2016, 7.9 "group by clause"). DataFusion has it as a grouping set without columns, of which
//! the plans that are sent to other processes say nothing: they would give no row.

use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::optimizer::AnalyzerRule;

/// The rule.
#[derive(Debug)]
pub(super) struct EmptyGroups;

impl AnalyzerRule for EmptyGroups {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) if is_of_all_rows(&aggregate) => of_all_rows(aggregate).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "empty_groups"
    }
}

/// Whether the only grouping set has no columns.
fn is_of_all_rows(aggregate: &Aggregate) -> bool {
    match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => matches!(sets.as_slice(), [set] if set.is_empty()),
        _ => false,
    }
}

/// The same columns of an aggregation without groups, and of nothing where nothing is aggregated.
fn of_all_rows(aggregate: Aggregate) -> Result<LogicalPlan> {
    let columns = aggregate.schema.iter().map(|(relation, field)| match field.name().as_str() {
        Aggregate::INTERNAL_GROUPING_ID => Ok(lit(ScalarValue::new_zero(field.data_type())?).alias(field.name())),
        name => Ok(Expr::Column(Column::new(relation.cloned(), name))),
    });
    let columns: Vec<Expr> = columns.collect::<Result<_>>()?;
    let rows = match aggregate.aggr_expr.is_empty() {
        true => LogicalPlanBuilder::empty(true),
        false => LogicalPlanBuilder::new_from_arc(aggregate.input).aggregate(Vec::<Expr>::new(), aggregate.aggr_expr)?,
    };
    rows.project(columns)?.build()
}
