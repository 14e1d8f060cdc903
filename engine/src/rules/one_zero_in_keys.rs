//! Zero and minus zero within arrays, rows and maps, and the entries of maps in any order, are one value, too, where rows are grouped, counted once, sorted, and joined: DataFusion
//! tells them apart by their bytes. What expressions compare is changed in `one_zero`.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, DFSchema};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, JoinConstraint, LogicalPlan, Projection, Sort};
use datafusion::optimizer::AnalyzerRule;

use super::one_zero::{has_nested_twins, is_one_zero, make_one_zero};
use super::with_types;

/// The rule. It comes when types have been made alike.
#[derive(Debug)]
pub(super) struct OneZeroInKeys;

impl AnalyzerRule for OneZeroInKeys {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let has_changed = Cell::new(false);
        plan.transform_up_with_subqueries(|node| {
            let changed = changed(node)?;
            has_changed.set(has_changed.get() || changed.transformed);
            // What was changed below may have another type: it may be NULL.
            if has_changed.get() { with_types(changed.data).map(Transformed::yes) } else { Ok(changed) }
        })
        .data()
    }

    fn name(&self) -> &str {
        "one_zero_in_keys"
    }
}

fn changed(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Aggregate(aggregate) => {
            let input = with_one_zero(&aggregate.input, &grouped(&aggregate))?;
            let mut keys = aggregate.group_expr.clone();
            let mut is_changed = input.is_some();
            for key in &mut keys {
                is_changed |= change_computed(aggregate.input.schema(), key)?;
            }
            if !is_changed {
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            }
            let input = input.unwrap_or(aggregate.input);
            Aggregate::try_new(input, keys, aggregate.aggr_expr).map(LogicalPlan::Aggregate).map(Transformed::yes)
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let changed = with_one_zero(&input, &input.schema().columns())?;
            let is_changed = changed.is_some();
            Ok(Transformed::new_transformed(LogicalPlan::Distinct(Distinct::All(changed.unwrap_or(input))), is_changed))
        }
        LogicalPlan::Sort(mut sort) => {
            let is_changed = change_sort(&mut sort)?;
            Ok(Transformed::new_transformed(LogicalPlan::Sort(sort), is_changed))
        }
        LogicalPlan::Join(mut join) => {
            let is_changed = change_join(&mut join)?;
            if is_changed {
                // The keys of `USING` are columns.
                join.join_constraint = JoinConstraint::On;
            }
            Ok(Transformed::new_transformed(LogicalPlan::Join(join), is_changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The columns that rows are grouped by.
fn grouped(aggregate: &Aggregate) -> Vec<Column> {
    let column = |expression: &Expr| match expression {
        Expr::Column(column) => Some(column.clone()),
        _ => None,
    };
    let keys = aggregate.group_expr.iter().flat_map(|key| match key {
        Expr::GroupingSet(sets) => sets.distinct_expr(),
        key => vec![key],
    });
    keys.filter_map(column).collect()
}

/// Changes a key that is neither a column nor a set of them, and keeps its name; whether it had to.
fn change_computed(schema: &DFSchema, key: &mut Expr) -> Result<bool> {
    let is_done = match &*key {
        Expr::Column(_) | Expr::GroupingSet(_) => true,
        Expr::Alias(alias) => is_one_zero(&alias.expr),
        _ => false,
    };
    if is_done || !has_nested_twins(schema, key) {
        return Ok(false);
    }
    let (relation, name) = key.qualified_name();
    make_one_zero(key)?;
    *key = std::mem::take(key).alias_qualified(relation, name);
    Ok(true)
}

/// A plan whose columns have one zero, of those named that may have two; `None` if there is none.
fn with_one_zero(input: &Arc<LogicalPlan>, columns: &[Column]) -> Result<Option<Arc<LogicalPlan>>> {
    let schema = input.schema();
    // As in most plans.
    if !schema.fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(None);
    }
    let is_changed =
        |column: &Column| columns.contains(column) && has_nested_twins(schema, &Expr::Column(column.clone())) && !has_one_zero(input, column);
    if !schema.columns().iter().any(is_changed) {
        return Ok(None);
    }
    let columns = schema.iter().map(|(relation, field)| {
        let column = Column::new(relation.cloned(), field.name());
        let is_changed = is_changed(&column);
        let mut value = Expr::Column(column);
        if is_changed {
            make_one_zero(&mut value)?;
            value = value.alias_qualified(relation.cloned(), field.name());
        }
        Ok(value)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Some(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, Arc::clone(input))?))))
}

/// Whether a column of a plan was changed before: a plan may be analysed again.
fn has_one_zero(plan: &LogicalPlan, column: &Column) -> bool {
    let LogicalPlan::Projection(projection) = plan else { return false };
    let place = projection.schema.maybe_index_of_column(column);
    place.and_then(|place| projection.expr.get(place)).is_some_and(|value| match value {
        Expr::Alias(alias) => is_one_zero(&alias.expr),
        value => is_one_zero(value),
    })
}

/// Changes a value that is compared by its bytes; whether it had to.
fn change(schema: &DFSchema, value: &mut Expr) -> Result<bool> {
    let is_changed = has_nested_twins(schema, value) && !is_one_zero(value);
    if is_changed {
        make_one_zero(value)?;
    }
    Ok(is_changed)
}

fn change_sort(sort: &mut Sort) -> Result<bool> {
    let schema = Arc::clone(sort.input.schema());
    let mut is_changed = false;
    for key in &mut sort.expr {
        is_changed |= change(&schema, &mut key.expr)?;
    }
    Ok(is_changed)
}

fn change_join(join: &mut Join) -> Result<bool> {
    let (left_schema, right_schema) = (Arc::clone(join.left.schema()), Arc::clone(join.right.schema()));
    let mut is_changed = false;
    for (left, right) in &mut join.on {
        is_changed |= change(&left_schema, left)?;
        is_changed |= change(&right_schema, right)?;
    }
    Ok(is_changed)
}
