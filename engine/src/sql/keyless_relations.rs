//! Relations whose columns are no keys. Where a derived table is grouped by `k`, DataFusion adds what `k` decides to `GROUP BY k` of the query around it, so that this may be
//! selected too. That is no SQL of Trino; and what it takes for decided is more than is, see `rules/true_keys.rs`.

use std::sync::Arc;

use datafusion::common::{DFSchemaRef, FunctionalDependencies};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Distinct, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Ident, TableFactor};

/// Marks a relation that is being planned. No statement can name a partition so.
const PLANNED: &str = "\u{1}planned";

/// Takes the keys from derived tables and from queries of `WITH`. It has to be the first planner.
#[derive(Debug)]
pub(crate) struct Keyless;

impl RelationPlanner for Keyless {
    fn plan_relation(&self, mut relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        if !marks(&mut relation) {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        }
        // It comes here once more, marked.
        let plan = without_keys(context.plan(relation)?)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, None))))
    }
}

/// Marks what may have keys, or takes the mark away. Whether it has one now.
fn marks(relation: &mut TableFactor) -> bool {
    match relation {
        TableFactor::Derived { subquery, .. } => {
            let is_marked = subquery.settings.take().is_none();
            subquery.settings = is_marked.then(Vec::new);
            is_marked
        }
        // Queries of WITH have one name.
        TableFactor::Table { name, args: None, partitions, .. } if name.0.len() == 1 => {
            let mark = Ident::new(PLANNED);
            let is_marked = !partitions.contains(&mark);
            partitions.retain(|partition| *partition != mark);
            partitions.extend(is_marked.then_some(mark));
            is_marked
        }
        _ => false,
    }
}

/// The same plan, whose schema says of no columns that they decide others.
///
/// Errors: none that a text could lead to.
pub(crate) fn without_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    if plan.schema().functional_dependencies().is_empty() {
        return Ok(plan);
    }
    Ok(match plan {
        LogicalPlan::SubqueryAlias(mut node) => {
            // Behind LATERAL the name is given once more.
            node.input = below(node.input)?;
            node.schema = keyless(&node.schema)?;
            LogicalPlan::SubqueryAlias(node)
        }
        LogicalPlan::Projection(mut node) => {
            node.schema = keyless(&node.schema)?;
            LogicalPlan::Projection(node)
        }
        LogicalPlan::Aggregate(mut node) => {
            node.schema = keyless(&node.schema)?;
            LogicalPlan::Aggregate(node)
        }
        LogicalPlan::Join(mut node) => {
            node.schema = keyless(&node.schema)?;
            LogicalPlan::Join(node)
        }
        LogicalPlan::Window(mut node) => {
            node.schema = keyless(&node.schema)?;
            LogicalPlan::Window(node)
        }
        LogicalPlan::Filter(mut node) => {
            node.input = below(node.input)?;
            LogicalPlan::Filter(node)
        }
        LogicalPlan::Sort(mut node) => {
            node.input = below(node.input)?;
            LogicalPlan::Sort(node)
        }
        LogicalPlan::Limit(mut node) => {
            node.input = below(node.input)?;
            LogicalPlan::Limit(node)
        }
        LogicalPlan::Distinct(Distinct::All(input)) => LogicalPlan::Distinct(Distinct::All(below(input)?)),
        other => other,
    })
}

fn below(plan: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    without_keys(Arc::unwrap_or_clone(plan)).map(Arc::new)
}

fn keyless(schema: &DFSchemaRef) -> Result<DFSchemaRef> {
    schema.as_ref().clone().with_functional_dependencies(FunctionalDependencies::empty()).map(Arc::new)
}
