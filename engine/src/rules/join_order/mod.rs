//! The order of inner joins: DataFusion joins tables in the order of the text. Here the conditions of a tree of inner joins are taken as a graph, of which the cheapest tree is
//! made: by dynamic programming over the connected sets of its inputs (Moerkotte and Neumann, "Analysis of Two Existing and One New Dynamic Programming Algorithm for the
//! Generation of Optimal Bushy Join Trees without Cross Products", VLDB 2006), or greedily if there are many. The order of the text stays where nothing much better is found.

mod estimate;
mod graph;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::datasource::{TableProvider, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Filter, Join, JoinConstraint, LogicalPlan, Projection};

use self::estimate::relation;
use self::graph::Graph;
use self::tree::{Inputs, Order, Tree, inputs_of_inner_joins, is_inner_join};
use crate::scan::IcebergTable;

/// Trees of fewer inputs have no order.
const INPUTS_MIN: usize = 3;

/// Of tables with more data files, only what the snapshot's summary says is asked: their manifests are read but as far as the conditions of a scan want them.
const DATA_FILES_MAX: u64 = 5_000;

/// An optimised plan of which the inner joins are in the order that costs least.
pub async fn with_join_order(plan: LogicalPlan) -> Result<LogicalPlan> {
    let tables = tables_of_trees(&plan)?;
    if tables.is_empty() {
        return Ok(plan);
    }
    for table in &tables {
        let table = table.as_ref();
        let Some(iceberg) = table.downcast_ref::<IcebergTable>() else { continue };
        let files = iceberg.snapshot().and_then(|snapshot| snapshot.summary().additional_properties.get("total-data-files")?.parse().ok());
        // What cannot be read is an error of the scan, if it wants that at all.
        if files.is_some_and(|files: u64| files <= DATA_FILES_MAX)
            && let Err(error) = iceberg.load_files().await
        {
            tracing::debug!(%error, "the order of joins is chosen without the files of a table");
        }
    }
    ordered(plan, LIMITS)
}

/// The tables of trees that have an order.
fn tables_of_trees(plan: &LogicalPlan) -> Result<Vec<Arc<dyn TableProvider>>> {
    let mut tables = Vec::new();
    plan.apply_with_subqueries(|node| {
        let asks_inner_joins = matches!(node, LogicalPlan::Join(join) if is_semi_join(join));
        if !asks_inner_joins && (!is_inner_join(node) || inputs_of_inner_joins(node) < INPUTS_MIN) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                tables.extend(source_as_provider(&scan.source));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(TreeNodeRecursion::Jump)
    })?;
    Ok(tables)
}

/// When another plan is taken.
#[derive(Clone, Copy)]
struct Limits {
    /// What costs less than this many rows is left as it is.
    cost_min: f64,
    /// The part of what the written order costs that another one may cost, as far as estimates can be trusted.
    order_part_max: f64,
    /// The same of semi joins that come first, with which less can go wrong.
    semi_join_part_max: f64,
}

const LIMITS: Limits = Limits { cost_min: 100_000.0, order_part_max: 0.6, semi_join_part_max: 0.9 };

/// The plan with its trees in order, those within the inputs of others too.
fn ordered(plan: LogicalPlan, limits: Limits) -> Result<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| match cheaper(&node, limits)? {
        Some(cheaper) => Ok(Transformed::new(cheaper, true, TreeNodeRecursion::Jump)),
        None => Ok(Transformed::no(node)),
    })
    .data()
}

/// The same rows and columns by other joins, if that is worth it.
fn cheaper(plan: &LogicalPlan, limits: Limits) -> Result<Option<LogicalPlan>> {
    let found = match plan {
        LogicalPlan::Join(join) if is_semi_join(join) => asked_first(join, limits)?,
        plan if is_inner_join(plan) => in_other_order(plan, limits),
        _ => None,
    };
    let Some((inputs, graph, order)) = found else { return Ok(None) };
    let inputs = inputs.into_iter().map(|input| ordered(input, limits)).collect::<Result<Vec<_>>>()?;
    let columns = plan.schema().columns();
    let (joined, _) = Joins { graph: &graph, inputs: &inputs, columns: &columns }.of(&order)?;
    let columns = columns.into_iter().map(Expr::Column).collect();
    Projection::try_new_with_schema(columns, Arc::new(joined), Arc::clone(plan.schema())).map(|plan| Some(LogicalPlan::Projection(plan)))
}

type Found = (Vec<LogicalPlan>, Graph, Order);

/// A tree of inner joins in the order that costs least.
fn in_other_order(plan: &LogicalPlan, limits: Limits) -> Option<Found> {
    let (tree, as_written) = Tree::of(plan).filter(|(tree, _)| tree.inputs.len() >= INPUTS_MIN)?;
    let (inputs, graph) = graph_of(tree);
    let written = graph.priced(&as_written);
    let best = graph.cheapest()?;
    (written.cost > limits.cost_min && best.cost < written.cost * limits.order_part_max).then_some((inputs, graph, best.order))
}

fn graph_of(mut tree: Tree) -> (Vec<LogicalPlan>, Graph) {
    let inputs = std::mem::take(&mut tree.inputs);
    let relations = inputs.iter().map(relation).collect();
    (inputs, Graph::new(tree, relations))
}

fn is_semi_join(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) && !join.null_aware && is_inner_join(&join.left)
}

/// A semi join of inner joins that asks for columns of one of their inputs only: that input's rows are asked before they are joined.
fn asked_first(join: &Join, limits: Limits) -> Result<Option<Found>> {
    let Some((mut tree, _)) = Tree::of(&join.left) else { return Ok(None) };
    let right = join.right.schema();
    let of_filter = join.filter.iter().flat_map(Expr::column_refs).filter(|column| !right.has_column(column));
    let of_left: HashSet<&Column> = join.on.iter().flat_map(|(left, _)| left.column_refs()).chain(of_filter).collect();
    let has_all = |input: &LogicalPlan| of_left.iter().all(|column| input.schema().has_column(column));
    let Some(place) = tree.inputs.iter().position(has_all).filter(|_| !of_left.is_empty()) else { return Ok(None) };
    let (_, graph) = graph_of(tree.clone());
    let Some(asked_last) = graph.cheapest() else { return Ok(None) };
    let asked = tree.inputs[place].clone();
    let rows_asked = relation(&asked).rows;
    let (on, filter) = (join.on.clone(), join.filter.clone());
    let semi_join =
        Join::try_new(Arc::new(asked), Arc::clone(&join.right), on, filter, join.join_type, join.join_constraint, join.null_equality, false)?;
    tree.inputs[place] = LogicalPlan::Join(semi_join);
    let (inputs, graph) = graph_of(tree);
    let Some(best) = graph.cheapest() else { return Ok(None) };
    let last = asked_last.cost + asked_last.rows;
    Ok((last > limits.cost_min && best.cost + rows_asked < last * limits.semi_join_part_max).then_some((inputs, graph, best.order)))
}

/// Makes the joins of an order.
struct Joins<'a> {
    graph: &'a Graph,
    inputs: &'a [LogicalPlan],
    /// The columns of the result.
    columns: &'a [Column],
}

impl Joins<'_> {
    fn of(&self, order: &Order) -> Result<(LogicalPlan, Inputs)> {
        match order {
            Order::Input(place) => {
                let input = self.inputs[*place].clone();
                let plan = match conjunction(self.graph.conditions_of(*place)) {
                    Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, Arc::new(input))?),
                    None => input,
                };
                Ok((plan, 1 << place))
            }
            Order::Join(left, right) => {
                let ((left, of_left), (right, of_right)) = (self.of(left)?, self.of(right)?);
                let (keys, filter) = (self.graph.keys(of_left, of_right), conjunction(self.graph.conditions(of_left, of_right)));
                let (left, right) = (Arc::new(left), Arc::new(right));
                let join = Join::try_new(left, right, keys, filter, JoinType::Inner, JoinConstraint::On, NullEquality::NullEqualsNothing, false)?;
                let inputs = of_left | of_right;
                self.wanted(LogicalPlan::Join(join), inputs).map(|plan| (plan, inputs))
            }
        }
    }

    /// A join without the columns that nobody wants any more.
    fn wanted(&self, join: LogicalPlan, inputs: Inputs) -> Result<LogicalPlan> {
        let mut wanted: HashSet<&Column> = self.columns.iter().collect();
        wanted.extend(self.graph.wanted_after(inputs).into_iter().flat_map(Expr::column_refs));
        let all = join.schema().columns();
        let kept: Vec<Expr> = all.iter().filter(|column| wanted.contains(column)).cloned().map(Expr::Column).collect();
        if kept.len() == all.len() || kept.is_empty() {
            return Ok(join);
        }
        Projection::try_new(kept, Arc::new(join)).map(LogicalPlan::Projection)
    }
}
