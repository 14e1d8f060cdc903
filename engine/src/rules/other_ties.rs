//! Subqueries that are aggregated or limited for each row of the query around them, and tied to it by something else than `=`: `(SELECT min(u.at) FROM u WHERE u.at > t.at)`.
//!
//! DataFusion finds joins for them only where `column = value of the query around` ties the two together: what is grouped by that column then has the rows of each value.
//! So the rows are joined here, by whatever conditions they have, with the different values that the query around has in its columns, and it is these that are compared by
//! `=` (a "magic set": Seshadri, Pirahesh, Leung, "Complex Query Decorrelation", ICDE 1996). `=` finds no NULL, so that of a column with NULLs it is two columns that are
//! compared: the value with something in the place of NULL, and whether it is NULL.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, JoinType, ScalarValue, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, SubqueryAlias, lit, when};
use datafusion::optimizer::AnalyzerRule;

use super::common_conditions;
use super::correlated_limits::any_row;
use super::lateral_rows::is_lateral;
use super::lifted_conditions::{filtered, is_correlated, is_subquery, is_tied, names_around, names_around_within};

/// How the names of the columns of such values begin. No statement can name them.
const AROUND: &str = "\u{1}around ";

/// The rule. It comes before those that want `=`.
#[derive(Debug)]
pub(super) struct OtherTies;

impl AnalyzerRule for OtherTies {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        with_equal_ties(plan, "")
    }

    fn name(&self) -> &str {
        "other_ties"
    }
}

/// A plan whose subqueries are tied by `=`. Who calls this says a word, which is part of the names of columns: others may have given some before.
pub(super) fn with_equal_ties(plan: LogicalPlan, word: &'static str) -> Result<LogicalPlan> {
    let names = Names { word, count: Cell::new(0) };
    tied_to_rows_around(plan, &|rows, subquery| Around { rows: Arc::clone(rows), names: &names }.tied(subquery))
}

/// Ties a subquery to the rows of the query around it.
pub(super) type Tie<'a> = dyn Fn(&Arc<LogicalPlan>, Subquery) -> Result<Transformed<Subquery>> + 'a;

/// A plan whose subqueries, and those behind `LATERAL`, are tied to the rows around them.
pub(super) fn tied_to_rows_around(plan: LogicalPlan, tie: &Tie<'_>) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) => lateral(join, tie),
        node => match node.inputs().as_slice() {
            [input] if has_correlated(&node)? => {
                let rows = Arc::new((*input).clone());
                node.map_expressions(|expression| expression.transform_up(|part| within(part, &rows, tie)))
            }
            _ => Ok(Transformed::no(node)),
        },
    })
    .data()
}

/// Gives names to columns.
struct Names {
    word: &'static str,
    count: Cell<usize>,
}

impl Names {
    /// That of a column of the query around, and those of the two that are compared.
    fn next(&self) -> [String; 3] {
        let number = self.count.replace(self.count.get() + 1);
        ["", "known ", "missing "].map(|what| format!("{AROUND}{what}{}{number}", self.word))
    }
}

/// The rows of the query around a subquery.
struct Around<'a> {
    rows: Arc<LogicalPlan>,
    names: &'a Names,
}

fn has_correlated(node: &LogicalPlan) -> Result<bool> {
    node.expressions().iter().try_fold(false, |found, expression| Ok(found || expression.exists(|part| Ok(is_correlated(part)))?))
}

fn within(part: Expr, rows: &Arc<LogicalPlan>, tie: &Tie<'_>) -> Result<Transformed<Expr>> {
    // `EXISTS` without a limit needs no other ties.
    let Transformed { data: part, transformed, .. } = any_row(part)?;
    let changed = match part {
        Expr::ScalarSubquery(subquery) => tie(rows, subquery)?.update_data(Expr::ScalarSubquery),
        Expr::Exists(Exists { subquery, negated }) => tie(rows, subquery)?.update_data(|subquery| Expr::Exists(Exists { subquery, negated })),
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            tie(rows, subquery)?.update_data(|subquery| Expr::InSubquery(InSubquery { expr, subquery, negated }))
        }
        Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
            tie(rows, subquery)?.update_data(|subquery| Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }))
        }
        other => Transformed::no(other),
    };
    Ok(Transformed::new_transformed(changed.data, changed.transformed || transformed))
}

/// The same for what stands behind `LATERAL`.
fn lateral(join: Join, tie: &Tie<'_>) -> Result<Transformed<LogicalPlan>> {
    let (alias, right) = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => (Some(alias.alias.clone()), alias.input.as_ref()),
        other => (None, other),
    };
    let LogicalPlan::Subquery(subquery) = right else { return Ok(Transformed::no(LogicalPlan::Join(join))) };
    if !is_lateral(&join, subquery) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let tied = tie(&join.left, subquery.clone())?;
    if !tied.transformed {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let mut right = LogicalPlan::Subquery(tied.data);
    if let Some(alias) = alias {
        right = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(right), alias)?);
    }
    Ok(Transformed::yes(LogicalPlan::Join(Join { right: Arc::new(right), ..join })))
}

impl Around<'_> {
    /// A subquery that is tied to these rows by `=`.
    fn tied(&self, subquery: Subquery) -> Result<Transformed<Subquery>> {
        if subquery.outer_ref_columns.is_empty() || names_around_within(&self.rows) || is_volatile(&self.rows)? {
            return Ok(Transformed::no(subquery));
        }
        let changed = self.tied_within(subquery.subquery.as_ref().clone(), false)?;
        if !changed.transformed {
            return Ok(Transformed::no(subquery));
        }
        let outer_ref_columns = changed.data.all_out_ref_exprs();
        Ok(Transformed::yes(Subquery { subquery: Arc::new(changed.data), outer_ref_columns, spans: subquery.spans }))
    }

    fn tied_within(&self, plan: LogicalPlan, is_below: bool) -> Result<Transformed<LogicalPlan>> {
        if matches!(plan, LogicalPlan::Subquery(_)) {
            return Ok(Transformed::no(plan));
        }
        let is_below = is_below || matches!(plan, LogicalPlan::Aggregate(_) | LogicalPlan::Limit(_));
        let Transformed { data, transformed, .. } = plan.map_children(|child| self.tied_within(child, is_below))?;
        let plan = if transformed { data.recompute_schema()? } else { data };
        match plan {
            LogicalPlan::Filter(filter) if is_below => Ok(match self.joined(&filter)? {
                Some(joined) => Transformed::yes(joined),
                None => Transformed::new_transformed(LogicalPlan::Filter(filter), transformed),
            }),
            other => Ok(Transformed::new_transformed(other, transformed)),
        }
    }

    /// The rows for which the conditions hold beside each of the values around, and those of them that a row around has; `None` where `=` is the tie already, or it cannot be.
    fn joined(&self, filter: &Filter) -> Result<Option<LogicalPlan>> {
        let predicate = common_conditions::taken_out(filter.predicate.clone()).data;
        let (ties, own): (Vec<&Expr>, Vec<&Expr>) = split_conjunction(&predicate).into_iter().partition(|condition| names_around(condition));
        let schema = filter.input.schema();
        if ties.iter().all(|tie| is_tied(tie, schema) || is_cast(tie))
            || own.iter().any(|condition| condition.contains_outer() || is_membership(condition))
        {
            return Ok(None);
        }
        let Some(values) = self.values(&ties)? else { return Ok(None) };
        let conditions = ties.into_iter().map(|tie| {
            let over_values = tie.clone().transform(|part| {
                Ok(match part {
                    Expr::OuterReferenceColumn(_, column) => match values.columns.iter().find(|value| value.of == column) {
                        Some(value) => Transformed::yes(Expr::Column(Column::new_unqualified(&value.name))),
                        None => return internal_err!("column '{column}' has no values"),
                    },
                    other => Transformed::no(other),
                })
            });
            over_values.data()
        });
        let conditions: Vec<Expr> = conditions.collect::<Result<_>>()?;
        let rows = filtered(filter.input.as_ref().clone(), own.into_iter().cloned().collect())?;
        let joined = LogicalPlanBuilder::from(rows).join_on(values.rows, JoinType::Inner, conditions)?.build()?;
        let tied = filtered(joined, values.columns.iter().flat_map(|value| value.ties.clone()).collect())?;
        let columns: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
        LogicalPlanBuilder::from(tied).project(columns)?.build().map(Some)
    }

    /// The different values of the columns around that conditions name; `None` if some are of a query further out, or of a type that has no value to stand for NULL.
    fn values(&self, conditions: &[&Expr]) -> Result<Option<Values>> {
        let mut columns: Vec<Value> = Vec::new();
        let (mut distinct, mut compared) = (Vec::new(), Vec::new());
        for (reference, column) in conditions.iter().flat_map(|condition| references(condition)) {
            if columns.iter().any(|value| value.of == column) {
                continue;
            }
            let Ok(field) = self.rows.schema().field_from_column(&column) else { return Ok(None) };
            let [name, known, missing] = self.names.next();
            let whole = || Expr::Column(Column::new_unqualified(&name));
            distinct.push(Expr::Column(column.clone()).alias(&name));
            compared.push(whole());
            let ties = if field.is_nullable() {
                let Ok(in_place) = ScalarValue::new_default(field.data_type()) else { return Ok(None) };
                let some = |value: Expr| when(value.clone().is_null(), lit(in_place.clone())).otherwise(value);
                compared.push(some(whole())?.alias(&known));
                compared.push(whole().is_null().alias(&missing));
                let [known, missing] = [known, missing].map(|name| Expr::Column(Column::new_unqualified(name)));
                vec![known.eq(some(reference.clone())?), missing.eq(reference.is_null())]
            } else {
                vec![whole().eq(reference)]
            };
            columns.push(Value { of: column, name, ties });
        }
        let rows = LogicalPlanBuilder::new_from_arc(Arc::clone(&self.rows)).project(distinct)?.distinct()?.project(compared)?.build()?;
        Ok(Some(Values { rows, columns }))
    }
}

/// The values of the query around.
struct Values {
    rows: LogicalPlan,
    columns: Vec<Value>,
}

/// One of their columns.
struct Value {
    /// That of the query around.
    of: Column,
    name: String,
    /// The conditions by which a row around has the value.
    ties: Vec<Expr>,
}

/// The columns around that a condition names.
fn references(condition: &Expr) -> Vec<(Expr, Column)> {
    let mut found = Vec::new();
    // It cannot fail.
    let _ = condition.apply(|part| {
        if let Expr::OuterReferenceColumn(_, column) = part {
            found.push((part.clone(), column.clone()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// Whether a condition is `CAST(column AS ...) = value`, as it is where a plan is analysed once more. DataFusion takes it.
fn is_cast(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let of_column = |side: &Expr| matches!(side, Expr::Cast(cast) if matches!(cast.expr.as_ref(), Expr::Column(_)));
    of_column(left) && !right.any_column_refs() || of_column(right) && !left.any_column_refs()
}

fn is_membership(condition: &Expr) -> bool {
    condition.exists(|part| Ok(is_subquery(part))).unwrap_or(true)
}

/// Whether rows are others when they are read once more.
pub(super) fn is_volatile(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(node.expressions().iter().any(Expr::is_volatile)))
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, out_ref_col};

    use super::*;

    fn table(name: &str) -> LogicalPlanBuilder {
        LogicalPlanBuilder::values(vec![vec![lit(ScalarValue::Int64(None)), lit(2_i64)]]).and_then(|rows| rows.alias(name)).unwrap()
    }

    /// The subquery of `SELECT (SELECT max(u.column2) FROM u WHERE <tie>) FROM t`, behind the rule.
    fn tied(tie: Expr) -> Transformed<Subquery> {
        let largest = datafusion::functions_aggregate::expr_fn::max(col("u.column2"));
        let rows = table("u").filter(tie).and_then(|rows| rows.aggregate(Vec::<Expr>::new(), [largest])).and_then(LogicalPlanBuilder::build).unwrap();
        let outer_ref_columns = rows.all_out_ref_exprs();
        let subquery = Subquery { subquery: Arc::new(rows), outer_ref_columns, spans: Default::default() };
        let names = Names { word: "", count: Cell::new(0) };
        Around { rows: Arc::new(table("t").build().unwrap()), names: &names }.tied(subquery).unwrap()
    }

    #[test]
    fn what_ties_is_equality() {
        let around = || out_ref_col(datafusion::arrow::datatypes::DataType::Int64, "t.column1");
        assert!(!tied(col("u.column1").eq(around())).transformed);
        let changed = tied(col("u.column1").gt(around()));
        assert!(changed.transformed);
        let mut ties = Vec::new();
        changed
            .data
            .subquery
            .apply(|node| {
                if let LogicalPlan::Filter(filter) = node {
                    ties.extend(split_conjunction(&filter.predicate).into_iter().map(|tie| is_tied(tie, filter.input.schema())));
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
        // The column may have NULLs.
        assert_eq!(ties, [true, true]);
    }
}
