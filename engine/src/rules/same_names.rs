//! Columns that have the name of another one, as `l.id` and `r.id` behind a join. DataFusion's `FilterPushdown` takes filters down by the names of their columns alone, so that
//! `l.id IS NULL` could become a filter of `r.id`. Such filters stay above here, as those of a union do whose parts call the column otherwise.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter_pushdown::{ChildFilterDescription, FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use crate::one_input;

/// How the names of DataFusion's rule begin, which there is twice.
const PUSHDOWN: &str = "FilterPushdown";

/// DataFusion's rule, over plans in which such columns are out of its reach.
#[derive(Debug)]
struct SameNames(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

/// A rule that takes no column for another one of its name.
pub(super) fn told_apart(rule: Arc<dyn PhysicalOptimizerRule + Send + Sync>) -> Arc<dyn PhysicalOptimizerRule + Send + Sync> {
    if rule.name().starts_with(PUSHDOWN) { Arc::new(SameNames(rule)) } else { rule }
}

impl PhysicalOptimizerRule for SameNames {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|node| {
            Ok(match sure_columns(node.as_ref()) {
                Some(columns) => Transformed::yes(Arc::new(SureColumnsExec { input: node, columns })),
                None => Transformed::no(node),
            })
        })?;
        if !guarded.transformed {
            return self.0.optimize(guarded.data, config);
        }
        let pushed = self.0.optimize(guarded.data, config)?;
        pushed
            .transform_up(|node| {
                Ok(match node.downcast_ref::<SureColumnsExec>() {
                    Some(guard) => Transformed::yes(Arc::clone(&guard.input)),
                    None => Transformed::no(node),
                })
            })
            .data()
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// The places of the columns that a filter above a node finds below it by their names; `None` if it finds all of them.
fn sure_columns(node: &dyn ExecutionPlan) -> Option<HashSet<usize>> {
    let (own, children) = (node.schema(), node.children());
    let below: Vec<_> = children.iter().map(|child| child.schema()).collect();
    let is_below = |name: &str| below.iter().all(|schema| is_single(schema, name));
    // It tells the columns of its sides from each other.
    if children.is_empty() || node.is::<HashJoinExec>() && own.fields().iter().all(|field| is_below(field.name())) {
        return None;
    }
    let is_sure = |(place, name): (usize, &str)| {
        is_single(&own, name)
            && if node.is::<ProjectionExec>() {
                true
            } else if node.is::<UnionExec>() {
                below.iter().all(|schema| schema.fields().get(place).is_some_and(|field| field.name() == name))
            } else if let Some(groups) = node.downcast_ref::<AggregateExec>() {
                let key = groups.group_expr().expr().get(place).and_then(|(key, _)| key.downcast_ref::<Column>());
                is_below(name) && key.is_none_or(|key| key.name() == name)
            } else {
                is_below(name)
            }
    };
    let names = own.fields().iter().map(|field| field.name().as_str()).enumerate();
    let sure: HashSet<usize> = names.filter(|&column| is_sure(column)).map(|(place, _)| place).collect();
    (sure.len() < own.fields().len()).then_some(sure)
}

/// Whether at most one column has a name.
fn is_single(schema: &Schema, name: &str) -> bool {
    schema.fields().iter().filter(|field| field.name() == name).count() < 2
}

/// Lets filters of these columns through, and is there only while the rule runs.
#[derive(Debug)]
struct SureColumnsExec {
    input: Arc<dyn ExecutionPlan>,
    columns: HashSet<usize>,
}

impl DisplayAs for SureColumnsExec {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SureColumnsExec")
    }
}

impl ExecutionPlan for SureColumnsExec {
    fn name(&self) -> &'static str {
        "SureColumnsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>, _options: ReplaceChildrenOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let input = one_input::only(children, self.as_ref())?;
        Ok(Arc::new(Self { input, columns: self.columns.clone() }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let child = ChildFilterDescription::from_child_with_allowed_indices(&parent_filters, self.columns.clone(), &self.input)?;
        Ok(FilterDescription::new().with_child(child))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
