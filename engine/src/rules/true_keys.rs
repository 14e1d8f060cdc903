//! Which columns decide others. DataFusion leaves out what is decided by the others in `GROUP BY`, `ORDER BY` and `DISTINCT`; but where rows are grouped by `k` and `v`, and `k`
//! alone is what another aggregation in the `FROM` was grouped by, it takes `k` to decide all the columns of a group, `v` too, however many rows of other tables `k` was joined
//! with. So before each rule that asks, aggregations say of their whole group only that it decides the rest.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Dependency, FunctionalDependence, FunctionalDependencies};
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, LogicalPlan};
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};

use crate::sql::without_keys;

/// The rules of DataFusion that ask which columns decide others.
const ASKING: [&str; 4] = ["optimize_projections", "eliminate_duplicated_expr", "eliminate_join", "replace_distinct_aggregate"];

/// The rule that takes away joins of which no column is wanted, and the last of those that make joins of subqueries: the former does not see what subqueries name.
const ELIMINATING: &str = "eliminate_join";
const LAST_OF_SUBQUERIES: &str = "decorrelate_lateral_join";

/// DataFusion's rules for logical plans, with ours before those that ask, and no joins taken away while there are subqueries.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut all = Optimizer::new().rules;
    let place = |all: &[Arc<dyn OptimizerRule + Send + Sync>], name: &str| all.iter().position(|rule| rule.name() == name);
    if let (Some(from), Some(to)) = (place(&all, ELIMINATING), place(&all, LAST_OF_SUBQUERIES)) {
        let eliminating = all.remove(from);
        all.insert(to.max(from), eliminating);
    }
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in all {
        if ASKING.contains(&rule.name()) {
            rules.push(Arc::new(TrueKeys));
        }
        rules.push(rule);
    }
    rules
}

/// The rule.
#[derive(Debug)]
struct TrueKeys;

impl OptimizerRule for TrueKeys {
    fn name(&self) -> &str {
        "true_keys"
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // As in few plans.
        let mut any = false;
        plan.apply_with_subqueries(|node| {
            any |= matches!(node, LogicalPlan::Aggregate(aggregate) if is_wrong(aggregate)?);
            Ok(if any { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if any { corrected(plan) } else { Ok(Transformed::no(plan)) }
    }
}

/// A plan in which nothing is decided by less than decides it. Above what was corrected nothing is said.
fn corrected(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let below = plan.map_children(corrected)?;
    let within = below.data.map_subqueries(corrected)?;
    let is_changed = below.transformed;
    let changed = match within.data {
        LogicalPlan::Aggregate(aggregate) if is_wrong(&aggregate)? => Transformed::yes(LogicalPlan::Aggregate(with_whole_group(aggregate)?)),
        plan @ LogicalPlan::Aggregate(_) => Transformed::new_transformed(plan, is_changed),
        plan if is_changed => Transformed::yes(without_keys(plan)?),
        plan => Transformed::no(plan),
    };
    Ok(Transformed::new(changed.data, changed.transformed || within.transformed, TreeNodeRecursion::Continue))
}

/// Whether a part of the group is said to decide the rest.
fn is_wrong(aggregate: &Aggregate) -> Result<bool> {
    let width = aggregate.group_expr_len()?;
    Ok(aggregate.schema.functional_dependencies().iter().any(|known| known.source_indices.len() < width))
}

fn with_whole_group(mut aggregate: Aggregate) -> Result<Aggregate> {
    let (group, all) = (0..aggregate.group_expr_len()?, 0..aggregate.schema.fields().len());
    let is_nullable = group.clone().any(|place| aggregate.schema.field(place).is_nullable());
    let known = FunctionalDependence::new(group.collect(), all.collect(), is_nullable).with_mode(Dependency::Single);
    let schema = aggregate.schema.as_ref().clone().with_functional_dependencies(FunctionalDependencies::new(vec![known]))?;
    aggregate.schema = Arc::new(schema);
    Ok(aggregate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_there() {
        let rules = optimizer_rules();
        let place = |name: &str| rules.iter().position(|rule| rule.name() == name).unwrap();
        assert!(ASKING.iter().all(|name| rules[place(name) - 1].name() == "true_keys"));
        assert!(place(ELIMINATING) > place(LAST_OF_SUBQUERIES));
    }
}
