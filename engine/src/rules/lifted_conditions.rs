//! Conditions that name columns of the query around a subquery, brought to where joins can be made of them: above the derived tables and common tables that they stand in.
//!
//! DataFusion finds such conditions anywhere in a subquery, but takes the columns that they need only through projections and aggregations, not through aliases and joins.
//! It also tells these columns by their names alone: where two of them, or one and a column that the subquery gives, have the same name, it would compare the wrong ones.
//! So columns that have to be brought up get names of their own here.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, ExprSchemable, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Subquery,
    SubqueryAlias,
};
use datafusion::optimizer::AnalyzerRule;

use super::correlated_subqueries::gives_one_row;
use super::{common_conditions, map_node, tableless_subqueries};

/// How the names of columns begin that conditions need above a derived table. No statement can name them.
const TIE: &str = "\u{1}tie ";

/// The rule. It comes before all others that look at subqueries.
#[derive(Debug)]
pub(super) struct LiftedConditions;

impl AnalyzerRule for LiftedConditions {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let ties = Ties::of("");
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Subquery(subquery) => {
                let subquery = renewed(subquery);
                match subquery.data.outer_ref_columns.is_empty() {
                    true => Ok(subquery.update_data(LogicalPlan::Subquery)),
                    false => subquery.transform_data(|subquery| ties.prepared(subquery)),
                }
            }
            node if has_subqueries(&node)? => map_node(node, &|around, expression| expression.transform_up(|part| taken_out(part, around))),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "lifted_conditions"
    }
}

/// A subquery that knows which columns it names of the queries around: what was taken out of those within it may name more than it did.
fn renewed(subquery: Subquery) -> Transformed<Subquery> {
    let named = subquery.subquery.all_out_ref_exprs();
    match named.iter().all(|column| subquery.outer_ref_columns.contains(column)) {
        true => Transformed::no(subquery),
        false => Transformed::yes(Subquery { outer_ref_columns: named, ..subquery }),
    }
}

/// The value of a subquery of one row that is made of columns of the queries around it, as `(SELECT t.k + 1)` or `(SELECT t.k + max(v) FROM u)`, in the one right around it:
/// only what is left in it is one.
fn taken_out(part: Expr, around: &DFSchema) -> Result<Transformed<Expr>> {
    if let Some(value) = tableless_subqueries::value(&part)?.filter(tableless_subqueries::names_around) {
        return value.transform(|part| Ok(in_query(part, around)));
    }
    let Expr::ScalarSubquery(subquery) = &part else { return Ok(Transformed::no(part)) };
    let Some((value, input)) = value_of(&subquery.subquery) else { return Ok(Transformed::no(part)) };
    let is_other = |part: &Expr| match part {
        Expr::OuterReferenceColumn(_, column) => !around.has_column(column),
        part => is_subquery(part),
    };
    if !value.contains_outer() || value.exists(|part| Ok(is_other(part)))? {
        return Ok(Transformed::no(part));
    }
    let taken = value.clone().unalias().transform(|part| {
        Ok(match part {
            column @ Expr::Column(_) => {
                let rows = LogicalPlan::Projection(Projection::try_new(vec![column], Arc::clone(input))?);
                let outer_ref_columns = rows.all_out_ref_exprs();
                let spans = subquery.spans.clone();
                Transformed::yes(Expr::ScalarSubquery(Subquery { subquery: Arc::new(rows), outer_ref_columns, spans }))
            }
            other => in_query(other, around),
        })
    });
    taken.map(|taken| Transformed::yes(taken.data))
}

/// A column of the query around a subquery as it is named in that query; one of a query further out stays what it is.
fn in_query(part: Expr, around: &DFSchema) -> Transformed<Expr> {
    match part {
        Expr::OuterReferenceColumn(_, column) if around.has_column(&column) => Transformed::yes(Expr::Column(column)),
        other => Transformed::yes(other),
    }
}

/// The one value of a plan that gives one row, whatever there is in its tables, and what it is made of.
fn value_of(plan: &LogicalPlan) -> Option<(&Expr, &Arc<LogicalPlan>)> {
    let LogicalPlan::Projection(Projection { expr, input, .. }) = plan else { return None };
    match expr.as_slice() {
        [value] if gives_one_row(input) => Some((value, input)),
        _ => None,
    }
}

/// Whether a node asks for subqueries.
fn has_subqueries(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expression| {
        found |= expression.exists(|part| Ok(is_subquery(part)))?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Counts the columns that it has given names to, which are those of one rule.
pub(super) struct Ties {
    rule: &'static str,
    count: Cell<usize>,
}

impl Ties {
    /// Those of a rule by its word, which is part of their names: other rules may have given some before.
    pub(super) fn of(rule: &'static str) -> Ties {
        Ties { rule, count: Cell::new(0) }
    }

    /// The same subquery with its conditions where they are found, and no two columns for one.
    fn prepared(&self, subquery: Subquery) -> Result<Transformed<LogicalPlan>> {
        let columns = subquery.subquery.schema().columns();
        let mut changed = self.lifted(subquery.subquery.as_ref().clone())?;
        if are_mistakable(&changed.data) {
            changed = Transformed::yes(self.told_apart(changed.data)?.data);
        }
        if !changed.transformed {
            return Ok(Transformed::no(LogicalPlan::Subquery(subquery)));
        }
        let mut plan = changed.data;
        if plan.schema().columns() != columns {
            plan = LogicalPlanBuilder::from(plan).project(columns.into_iter().map(Expr::Column).collect::<Vec<_>>())?.build()?;
        }
        Ok(Transformed::yes(LogicalPlan::Subquery(Subquery { subquery: Arc::new(plan), ..subquery })))
    }

    /// A plan with such conditions above its derived tables, and above its inner joins.
    pub(super) fn lifted(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        if matches!(plan, LogicalPlan::Subquery(_)) {
            return Ok(Transformed::no(plan));
        }
        let Transformed { data, transformed, .. } = plan.map_children(|child| self.lifted(child))?;
        let plan = if transformed { data.recompute_schema()? } else { data };
        match plan {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                let apart = common_conditions::taken_out(predicate);
                // DataFusion forgets the columns that a condition needs, if another one stands right above it.
                let (predicate, input, is_joined) = match input.as_ref() {
                    LogicalPlan::Filter(below) if below.predicate.contains_outer() && apart.data.contains_outer() => {
                        (below.predicate.clone().and(apart.data), Arc::clone(&below.input), true)
                    }
                    _ => (apart.data, input, false),
                };
                let filter = Filter::try_new(predicate, input)?;
                Ok(Transformed::new_transformed(LogicalPlan::Filter(filter), transformed || apart.transformed || is_joined))
            }
            LogicalPlan::SubqueryAlias(derived) if names_around_within(&derived.input) => {
                let (input, conditions) = self.lift(derived.input.as_ref().clone())?;
                let alias = derived.alias.clone();
                let conditions =
                    conditions.into_iter().map(|condition| renamed(condition, &mut |column| Column::new(Some(alias.clone()), &column.name)));
                let conditions = conditions.collect::<Result<Vec<_>>>()?;
                Ok(Transformed::yes(filtered(aliased(input, derived.alias)?, conditions)?))
            }
            LogicalPlan::Join(mut join) if join.join_type == JoinType::Inner && join.filter.as_ref().is_some_and(Expr::contains_outer) => {
                let conditions = join.filter.take().map(split_conjunction_owned).unwrap_or_default();
                let (around, within): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(names_around);
                join.filter = conjunction(within);
                Ok(Transformed::yes(filtered(LogicalPlan::Join(join), around)?))
            }
            LogicalPlan::Unnest(unnest) if names_around_within(&unnest.input) => {
                let (rows, conditions) = self.lift(LogicalPlan::Unnest(unnest))?;
                Ok(Transformed::yes(filtered(rows, conditions)?))
            }
            other => Ok(Transformed::new_transformed(other, transformed)),
        }
    }

    /// A plan without those conditions that can as well stand above it, and the latter, over its columns.
    pub(super) fn lift(&self, plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Expr>)> {
        match plan {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                let (input, mut conditions) = self.lift(Arc::unwrap_or_clone(input))?;
                let (around, within): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(predicate).into_iter().partition(names_around);
                conditions.extend(around);
                Ok((filtered(input, within)?, conditions))
            }
            LogicalPlan::Projection(Projection { mut expr, input, .. }) => {
                let (input, conditions) = self.lift(Arc::unwrap_or_clone(input))?;
                let conditions = conditions.into_iter().map(|condition| {
                    renamed(condition, &mut |column| match expr.contains(&Expr::Column(column.clone())) {
                        true => column.clone(),
                        false => self.tied(column, &mut expr),
                    })
                });
                let conditions = conditions.collect::<Result<Vec<_>>>()?;
                Ok((LogicalPlan::Projection(Projection::try_new(expr, Arc::new(input))?), conditions))
            }
            LogicalPlan::Join(mut join) => {
                let (left, right) = kept_rows(&join);
                let mut conditions = Vec::new();
                if left {
                    let (input, lifted) = self.lift(join.left.as_ref().clone())?;
                    join.left = Arc::new(input);
                    conditions.extend(lifted);
                }
                if right {
                    let (input, lifted) = self.lift(join.right.as_ref().clone())?;
                    join.right = Arc::new(input);
                    conditions.extend(lifted);
                }
                Ok((LogicalPlan::Join(join).recompute_schema()?, conditions))
            }
            // The columns of the rows beside the elements are the same for all of them.
            LogicalPlan::Unnest(unnest) => {
                let (input, conditions) = self.lift(Arc::unwrap_or_clone(unnest.input))?;
                let rows = LogicalPlanBuilder::from(input).unnest_columns_with_options(unnest.exec_columns, unnest.options)?;
                Ok((rows.build()?, conditions))
            }
            LogicalPlan::Sort(mut sort) if sort.fetch.is_none() => {
                let (input, conditions) = self.lift(Arc::unwrap_or_clone(sort.input))?;
                sort.input = Arc::new(input);
                Ok((LogicalPlan::Sort(sort), conditions))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let known = input.schema().columns();
                let (distinct, conditions) = self.lift(input.as_ref().clone())?;
                let is_known = |condition: &Expr| condition.column_refs().into_iter().all(|column| known.contains(column));
                Ok(match conditions.iter().all(|condition| is_known(condition) || is_tied(condition, distinct.schema())) {
                    true => (LogicalPlan::Distinct(Distinct::All(Arc::new(distinct))), conditions),
                    false => (LogicalPlan::Distinct(Distinct::All(input)), Vec::new()),
                })
            }
            LogicalPlan::Aggregate(aggregate) if is_grouped(&aggregate) => {
                let (input, conditions) = self.lift(aggregate.input.as_ref().clone())?;
                let missing = |condition: &Expr| {
                    let columns = condition.column_refs().into_iter().map(|column| Expr::Column(column.clone()));
                    columns.filter(|column| !aggregate.group_expr.contains(column)).collect::<Vec<_>>()
                };
                if conditions.is_empty() || conditions.iter().any(|condition| !missing(condition).is_empty() && !is_tied(condition, input.schema())) {
                    return Ok((LogicalPlan::Aggregate(aggregate), Vec::new()));
                }
                let mut groups = aggregate.group_expr.clone();
                for column in conditions.iter().flat_map(missing) {
                    if !groups.contains(&column) {
                        groups.push(column);
                    }
                }
                Ok((LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, aggregate.aggr_expr)?), conditions))
            }
            other => Ok((other, Vec::new())),
        }
    }

    /// A plan in which the columns that such conditions name have names of their own.
    fn told_apart(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        if matches!(plan, LogicalPlan::Subquery(_)) {
            return Ok(Transformed::no(plan));
        }
        let Transformed { data, transformed, .. } = plan.map_children(|child| self.told_apart(child))?;
        let plan = if transformed { data.recompute_schema()? } else { data };
        match plan {
            LogicalPlan::Filter(Filter { predicate, input, .. }) if split_conjunction(&predicate).into_iter().any(names_around) => {
                let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
                let conditions = split_conjunction_owned(predicate).into_iter().map(|condition| match names_around(&condition) {
                    true => renamed(condition, &mut |column| self.tied(column, &mut columns)),
                    false => Ok(condition),
                });
                let conditions = conditions.collect::<Result<Vec<_>>>()?;
                let input = LogicalPlan::Projection(Projection::try_new(columns, input)?);
                Ok(Transformed::yes(filtered(input, conditions)?))
            }
            other => Ok(Transformed::new_transformed(other, transformed)),
        }
    }

    /// The name under which a projection of these expressions gives a column that it has to have.
    fn tied(&self, column: &Column, expressions: &mut Vec<Expr>) -> Column {
        let wanted = Expr::Column(column.clone());
        if column.name.starts_with(TIE) && expressions.contains(&wanted) {
            return column.clone();
        }
        let known = expressions.iter().find_map(|expression| match expression {
            Expr::Alias(alias) if *alias.expr == wanted && alias.name.starts_with(TIE) => Some(Column::new_unqualified(&alias.name)),
            _ => None,
        });
        known.unwrap_or_else(|| {
            let name = format!("{TIE}{}{}", self.rule, self.count.replace(self.count.get() + 1));
            expressions.push(wanted.alias(&name));
            Column::new_unqualified(name)
        })
    }
}

/// Whether the rows of the sides of a join are those of its result, so that a condition for one of them may as well stand behind it.
fn kept_rows(join: &Join) -> (bool, bool) {
    match join.join_type {
        JoinType::Inner => (true, true),
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => (false, true),
        _ => (false, false),
    }
}

fn is_grouped(aggregate: &Aggregate) -> bool {
    !aggregate.group_expr.is_empty() && !aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)))
}

/// Whether a condition leaves one value of its column: what is grouped by that column too has the same groups.
pub(super) fn is_tied(condition: &Expr, schema: &DFSchema) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let (column, value) = match (left.as_ref(), right.as_ref()) {
        (column @ Expr::Column(_), value) | (value, column @ Expr::Column(_)) if !value.any_column_refs() => (column, value),
        _ => return false,
    };
    match (column.get_type(schema), value.get_type(schema)) {
        (Ok(column), Ok(value)) => column == value || column.is_integer() && value.is_integer(),
        _ => false,
    }
}

pub(super) fn is_subquery(part: &Expr) -> bool {
    subquery_of(part).is_some()
}

/// The subquery that an expression asks for, whichever of the four ways it does.
pub(super) fn subquery_of(part: &Expr) -> Option<&Subquery> {
    match part {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

/// Whether it asks for one that names columns of the query around.
pub(super) fn is_correlated(part: &Expr) -> bool {
    subquery_of(part).is_some_and(|subquery| !subquery.outer_ref_columns.is_empty())
}

/// Whether a condition names columns of a query around, by itself and not in a subquery of its own.
pub(super) fn names_around(condition: &Expr) -> bool {
    condition.contains_outer() && !condition.exists(|part| Ok(is_subquery(part))).unwrap_or(true)
}

/// Whether anything in a plan does, but for what stands behind `LATERAL`.
pub(super) fn names_around_within(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let searched = plan.apply(|node| {
        if matches!(node, LogicalPlan::Subquery(_)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        found |= node.contains_outer_reference();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    searched.is_ok() && found
}

/// Whether two of the columns that such conditions name, or one and another column that the plan gives, have the same name.
fn are_mistakable(plan: &LogicalPlan) -> bool {
    let mut columns: Vec<Column> = Vec::new();
    let searched = plan.apply(|node| {
        match node {
            LogicalPlan::Subquery(_) => return Ok(TreeNodeRecursion::Jump),
            LogicalPlan::Filter(filter) => {
                let conditions = split_conjunction(&filter.predicate).into_iter().filter(|condition| names_around(condition));
                columns.extend(conditions.flat_map(Expr::column_refs).cloned());
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let given = plan.schema().columns();
    let is_other = |column: &Column, other: &Column| column.name == other.name && column != other;
    searched.is_ok() && columns.iter().any(|column| columns.iter().chain(&given).any(|other| is_other(column, other)))
}

fn renamed(condition: Expr, name: &mut dyn FnMut(&Column) -> Column) -> Result<Expr> {
    let renamed = condition.transform(|part| {
        Ok(match part {
            Expr::Column(column) => {
                let mut other = name(&column);
                *other.spans_mut() = column.spans().clone();
                Transformed::yes(Expr::Column(other))
            }
            other => Transformed::no(other),
        })
    });
    renamed.data()
}

pub(super) fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    match conjunction(conditions) {
        Some(condition) => Filter::try_new(condition, Arc::new(plan)).map(LogicalPlan::Filter),
        None => Ok(plan),
    }
}

/// A derived table: as a projection if what it is made of still names columns around.
fn aliased(input: LogicalPlan, alias: TableReference) -> Result<LogicalPlan> {
    if !names_around_within(&input) {
        return SubqueryAlias::try_new(Arc::new(input), alias).map(LogicalPlan::SubqueryAlias);
    }
    let columns = input.schema().iter().map(|(relation, field)| Expr::from((relation, field)).alias_qualified(Some(alias.clone()), field.name()));
    let columns = columns.collect();
    Projection::try_new(columns, Arc::new(input)).map(LogicalPlan::Projection)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::logical_expr::{col, lit, out_ref_col};

    use super::*;

    /// `SELECT u.column2 FROM u WHERE u.column1 = t.k`.
    fn selected() -> LogicalPlanBuilder {
        let rows = LogicalPlanBuilder::values(vec![vec![lit(1_i64), lit(2_i64)]]).and_then(|rows| rows.alias("u")).unwrap();
        let condition = col("u.column1").eq(out_ref_col(DataType::Int64, "t.k"));
        rows.filter(condition).and_then(|rows| rows.project([col("u.column2")])).unwrap()
    }

    #[test]
    fn conditions_come_out_of_derived_tables() {
        let plan = selected().alias("d").and_then(|rows| rows.project([col("d.column2")])).and_then(LogicalPlanBuilder::build).unwrap();
        let lifted = Ties::of("").lifted(plan).unwrap();
        let LogicalPlan::Projection(Projection { input, .. }) = lifted.data else { panic!("a projection is one") };
        let LogicalPlan::Filter(Filter { predicate, input, .. }) = input.as_ref() else { panic!("{} is no filter", input.display()) };
        assert!(predicate.contains_outer() && !names_around_within(input), "{predicate}");
        assert_eq!(input.schema().fields().len(), 2);
    }

    #[test]
    fn conditions_right_above_each_other_become_one() {
        let above = col("d.column2").eq(out_ref_col(DataType::Int64, "t.v"));
        let plan = selected().alias("d").and_then(|rows| rows.filter(above)).and_then(LogicalPlanBuilder::build).unwrap();
        let lifted = Ties::of("test").lifted(plan).unwrap();
        let LogicalPlan::Filter(Filter { predicate, input, .. }) = lifted.data else { panic!("a condition is one") };
        assert_eq!(split_conjunction(&predicate).len(), 2, "{predicate}");
        assert!(!names_around_within(&input) && !matches!(input.as_ref(), LogicalPlan::Filter(_)));
    }

    #[test]
    fn only_columns_of_one_name_are_told_apart() {
        let plan = selected().build().unwrap();
        assert!(!are_mistakable(&plan));
        let plan = LogicalPlanBuilder::from(plan).project([col("u.column2").alias("column1")]).and_then(LogicalPlanBuilder::build).unwrap();
        assert!(are_mistakable(&plan));
        assert!(!are_mistakable(&Ties::of("").told_apart(plan).unwrap().data));
    }
}
