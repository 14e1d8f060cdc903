//! `UNNEST` of columns of the query around a subquery, and behind `LATERAL`: `(SELECT sum(x) FROM UNNEST(t.a) AS u (x) WHERE x > t.k)`.
//!
//! DataFusion makes joins of conditions only. So what is unnested here are the different values that the query around has in those of its columns that the subquery names,
//! and a condition `key = key of the row around` ties the elements to the rows that have these values: from there on it is a subquery as any other (see `other_ties`). The key is
//! one of bytes, of all these values, so that it may be compared whatever their types are, and NULL is a value as others are. Zero and minus zero within them are one, as they
//! are in `DISTINCT`. The values stand beside the elements up to where rows are aggregated, limited, ordered or made different, and other parts of the subquery that name
//! columns of the query around have them from there.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, JoinType, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::r#struct;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Aggregate, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, Subquery, SubqueryAlias, Window};
use datafusion::optimizer::AnalyzerRule;

use super::distinct_values::identity;
use super::lifted_conditions::{filtered, names_around_within};
use super::one_zero::make_one_zero;
use super::other_ties::{is_volatile, tied_to_rows_around};
use super::tableless_subqueries;

/// How the names of the columns of such values begin, and of their keys. No statement can name them.
const VALUE: &str = "\u{1}unnested value ";
const KEY: &str = "\u{1}unnested key ";

/// The rule. It comes before all others that look at what subqueries are made of.
#[derive(Debug)]
pub(super) struct UnnestsAround;

impl AnalyzerRule for UnnestsAround {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let count = Cell::new(0);
        tied_to_rows_around(plan, &|rows, subquery| tied(rows, subquery, &count))
    }

    fn name(&self) -> &str {
        "unnests_around"
    }
}

/// A subquery whose arrays of the query around are tied to the rows of that. It stays, and is refused, if these cannot be read once more.
fn tied(rows: &Arc<LogicalPlan>, subquery: Subquery, count: &Cell<usize>) -> Result<Transformed<Subquery>> {
    if subquery.outer_ref_columns.is_empty() || !unnests_around(&subquery.subquery)? {
        return Ok(Transformed::no(subquery));
    }
    let rows = more_rows(rows)?;
    if names_around_within(&rows) || is_volatile(&rows)? {
        return Ok(Transformed::no(subquery));
    }
    let mut named: Vec<(Expr, Column)> = Vec::new();
    for reference in subquery.subquery.all_out_ref_exprs() {
        if let Expr::OuterReferenceColumn(_, column) = &reference {
            let column = column.clone();
            if rows.schema().has_column(&column) && named.iter().all(|(_, other)| *other != column) {
                named.push((reference, column));
            }
        }
    }
    let around = Around { rows, named, count };
    let columns = subquery.subquery.schema().columns();
    let plan = match around.carried(subquery.subquery.as_ref().clone())? {
        (_, Below::Same) => return Ok(Transformed::no(subquery)),
        (plan, below) => around.settled(plan, below, columns)?,
    };
    let outer_ref_columns = plan.all_out_ref_exprs();
    Ok(Transformed::yes(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans }))
}

/// Whether a plan unnests columns of a query around it.
fn unnests_around(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::Unnest(unnest) if unnest.input.contains_outer_reference())))
}

/// All rows of a plan, and those that only conditions with subqueries for each of them leave out: values that no row around has are joined with none.
fn more_rows(rows: &Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = rows.as_ref() else { return Ok(Arc::clone(rows)) };
    let conditions = split_conjunction(&filter.predicate);
    if !conditions.iter().any(|condition| tableless_subqueries::names_around(condition)) {
        return Ok(Arc::clone(rows));
    }
    let kept = conditions.into_iter().filter(|condition| !tableless_subqueries::names_around(condition)).cloned().collect();
    filtered(more_rows(&filter.input)?.as_ref().clone(), kept).map(Arc::new)
}

/// The rows of the query around a subquery, and the columns of theirs that it names, as it does and as they do.
struct Around<'a> {
    rows: Arc<LogicalPlan>,
    named: Vec<(Expr, Column)>,
    count: &'a Cell<usize>,
}

/// What has become of a plan.
enum Below {
    /// Nothing.
    Same,
    /// It is tied to the query around, and has its own columns only.
    Tied,
    /// It has those of the values around, too.
    Beside(Values),
}

/// The columns of the values around: of their key, and of each column around.
struct Values {
    key: Column,
    columns: Vec<(Column, Column)>,
}

impl Values {
    /// The column of the values of one around.
    fn of(&self, around: &Column) -> Option<&Column> {
        self.columns.iter().find(|(other, _)| other == around).map(|(_, value)| value)
    }

    fn all(&self) -> impl Iterator<Item = Expr> + '_ {
        std::iter::once(&self.key).chain(self.columns.iter().map(|(_, value)| value)).cloned().map(Expr::Column)
    }

    /// The same columns of a derived table of that name.
    fn within(self, alias: &TableReference) -> Values {
        let within = |column: Column| Column::new(Some(alias.clone()), column.name);
        let columns = self.columns.into_iter().map(|(around, value)| (around, within(value))).collect();
        Values { key: within(self.key), columns }
    }
}

impl Around<'_> {
    /// A plan with the values around beside its columns, where it unnests some of them.
    fn carried(&self, plan: LogicalPlan) -> Result<(LogicalPlan, Below)> {
        Ok(match plan {
            // `UNNEST` is planned as if it stood behind `LATERAL`. What does, and names columns of what stands before it, is another subquery.
            LogicalPlan::Subquery(subquery) if subquery.outer_ref_columns.iter().all(|reference| self.is_named(reference)) => {
                match self.carried(subquery.subquery.as_ref().clone())? {
                    (_, Below::Same) => (LogicalPlan::Subquery(subquery), Below::Same),
                    carried => carried,
                }
            }
            LogicalPlan::Subquery(_) => (plan, Below::Same),
            LogicalPlan::Unnest(unnest) => {
                let (input, below) = match unnest.input.as_ref() {
                    LogicalPlan::Projection(projection) if projection.expr.iter().any(|argument| self.is_named(argument)) => {
                        self.beside(projection)?
                    }
                    input => self.carried(input.clone())?,
                };
                match below {
                    Below::Same => (LogicalPlan::Unnest(unnest), Below::Same),
                    below => {
                        let rows = LogicalPlanBuilder::from(input).unnest_columns_with_options(unnest.exec_columns, unnest.options)?;
                        (rows.build()?, below)
                    }
                }
            }
            LogicalPlan::Projection(projection) => {
                let (input, below) = self.carried(projection.input.as_ref().clone())?;
                let selected = match &below {
                    Below::Same => return Ok((LogicalPlan::Projection(projection), Below::Same)),
                    Below::Tied => projection.expr,
                    Below::Beside(values) => with_values(projection.expr, values)?,
                };
                (LogicalPlan::Projection(Projection::try_new(selected, Arc::new(input))?), below)
            }
            LogicalPlan::Filter(filter) => {
                let (input, below) = self.carried(filter.input.as_ref().clone())?;
                let condition = match &below {
                    Below::Same => return Ok((LogicalPlan::Filter(filter), Below::Same)),
                    Below::Tied => filter.predicate,
                    Below::Beside(values) => over_values(filter.predicate, values)?,
                };
                (LogicalPlan::Filter(Filter::try_new(condition, Arc::new(input))?), below)
            }
            LogicalPlan::SubqueryAlias(derived) => {
                let (input, below) = self.carried(derived.input.as_ref().clone())?;
                let below = match below {
                    Below::Same => return Ok((LogicalPlan::SubqueryAlias(derived), Below::Same)),
                    Below::Tied => Below::Tied,
                    Below::Beside(values) => Below::Beside(values.within(&derived.alias)),
                };
                (LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), derived.alias)?), below)
            }
            LogicalPlan::Window(window) => {
                let (input, below) = self.carried(window.input.as_ref().clone())?;
                let rows = match &below {
                    Below::Same => return Ok((LogicalPlan::Window(window), Below::Same)),
                    Below::Tied => LogicalPlan::Window(Window::try_new(window.window_expr, Arc::new(input))?),
                    Below::Beside(values) => divided(window, input, values)?,
                };
                (rows, below)
            }
            LogicalPlan::Aggregate(aggregate) => {
                let (input, below) = self.carried(aggregate.input.as_ref().clone())?;
                let (input, groups, aggregations) = match below {
                    Below::Same => return Ok((LogicalPlan::Aggregate(aggregate), Below::Same)),
                    Below::Tied => (input, aggregate.group_expr, aggregate.aggr_expr),
                    Below::Beside(values) => {
                        let over = |part: Expr| if matches!(part, Expr::GroupingSet(_)) { Ok(part) } else { renamed_over(part, &values) };
                        let over = |all: Vec<Expr>| all.into_iter().map(over).collect::<Result<Vec<_>>>();
                        let (groups, aggregations) = (over(aggregate.group_expr)?, over(aggregate.aggr_expr)?);
                        (self.filtered(input, values.key)?, groups, aggregations)
                    }
                };
                (LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, aggregations)?), Below::Tied)
            }
            LogicalPlan::Join(join) if matches!(join.join_type, JoinType::Inner | JoinType::Left) => self.joined(join)?,
            other => self.above(other)?,
        })
    }

    /// Whether an expression names columns of the query around.
    fn is_named(&self, expression: &Expr) -> bool {
        let is_one = |part: &Expr| matches!(part, Expr::OuterReferenceColumn(_, column) if self.named.iter().any(|(_, other)| other == column));
        expression.exists(|part| Ok(is_one(part))).unwrap_or(false)
    }

    /// What is unnested: arrays of the values around, beside the rows that stand before `UNNEST`.
    fn beside(&self, arguments: &Projection) -> Result<(LogicalPlan, Below)> {
        let (before, below) = self.carried(arguments.input.as_ref().clone())?;
        let (rows, values) = match (before, below) {
            (before, Below::Beside(values)) => (before, values),
            (LogicalPlan::EmptyRelation(nothing), _) if nothing.produce_one_row && nothing.schema.fields().is_empty() => self.values()?,
            (before, _) => {
                let (rows, values) = self.values()?;
                (LogicalPlanBuilder::from(before).cross_join(rows)?.build()?, values)
            }
        };
        let arguments = with_values(arguments.expr.clone(), &values)?;
        Ok((LogicalPlan::Projection(Projection::try_new(arguments, Arc::new(rows))?), Below::Beside(values)))
    }

    /// The different values around, with their keys.
    fn values(&self) -> Result<(LogicalPlan, Values)> {
        let number = self.count.replace(self.count.get() + 1);
        let (mut distinct, mut columns) = (Vec::with_capacity(self.named.len()), Vec::with_capacity(self.named.len()));
        for (place, (_, around)) in self.named.iter().enumerate() {
            let field = self.rows.schema().field_from_column(around)?;
            let mut value = Expr::Column(around.clone());
            // Two values of one key would be there twice.
            if nunatak_functions::has_twins(field.data_type()) {
                make_one_zero(&mut value)?;
            }
            let name = format!("{VALUE}{number} {place}");
            distinct.push(value.alias(&name));
            columns.push((around.clone(), Column::new_unqualified(name)));
        }
        let name = format!("{KEY}{number}");
        let values: Vec<Expr> = columns.iter().map(|(_, value)| Expr::Column(value.clone())).collect();
        let all = std::iter::once(key(values.clone())?.alias(&name)).chain(values).collect::<Vec<_>>();
        let rows = LogicalPlanBuilder::new_from_arc(Arc::clone(&self.rows)).project(distinct)?.distinct()?.project(all)?.build()?;
        Ok((rows, Values { key: Column::new_unqualified(name), columns }))
    }

    /// A join with the values around that one of its sides has. Rows of both are beside those of the same values.
    fn joined(&self, mut join: Join) -> Result<(LogicalPlan, Below)> {
        let (left, of_left) = self.carried(join.left.as_ref().clone())?;
        let (right, of_right) = self.carried(join.right.as_ref().clone())?;
        let is_inner = join.join_type == JoinType::Inner;
        let (left, right, below, other) = match (of_left, of_right) {
            (Below::Same, Below::Same) => return Ok((LogicalPlan::Join(join), Below::Same)),
            (Below::Beside(values), Below::Same) => (left, right, Below::Beside(values), None),
            (Below::Same, Below::Beside(values)) if is_inner => (left, right, Below::Beside(values), None),
            (Below::Beside(values), Below::Beside(other)) => (left, right, Below::Beside(values), Some(other.key)),
            // A row of the left side stays for each of the values, also where there is nothing beside it.
            (Below::Same, Below::Beside(other)) => {
                let (rows, values) = self.values()?;
                (LogicalPlanBuilder::from(left).cross_join(rows)?.build()?, right, Below::Beside(values), Some(other.key))
            }
            (of_left, of_right) => {
                let left = self.settled(left, of_left, join.left.schema().columns())?;
                (left, self.settled(right, of_right, join.right.schema().columns())?, Below::Tied, None)
            }
        };
        if let Below::Beside(values) = &below {
            let same = other.map(|other| Expr::Column(values.key.clone()).eq(Expr::Column(other)));
            let condition = join.filter.take().map(|condition| over_values(condition, values)).transpose()?;
            join.filter = conjunction(condition.into_iter().chain(same));
        }
        (join.left, join.right) = (Arc::new(left), Arc::new(right));
        Ok((LogicalPlan::Join(join).recompute_schema()?, below))
    }

    /// A plan above which the values around are not: what it is made of is tied to the query around.
    fn above(&self, plan: LogicalPlan) -> Result<(LogicalPlan, Below)> {
        let changed = plan.map_children(|child| {
            let columns = child.schema().columns();
            Ok(match self.carried(child)? {
                (child, Below::Same) => Transformed::no(child),
                (child, below) => Transformed::yes(self.settled(child, below, columns)?),
            })
        })?;
        Ok(match changed.transformed {
            true => (changed.data.recompute_schema()?, Below::Tied),
            false => (changed.data, Below::Same),
        })
    }

    /// A plan that is tied to the query around, with its own columns only.
    fn settled(&self, plan: LogicalPlan, below: Below, columns: Vec<Column>) -> Result<LogicalPlan> {
        let Below::Beside(values) = below else { return Ok(plan) };
        let rows = self.filtered(plan, values.key)?;
        LogicalPlanBuilder::from(rows).project(columns.into_iter().map(Expr::Column).collect::<Vec<_>>())?.build()
    }

    /// The rows of a plan that have the key of the row around.
    fn filtered(&self, plan: LogicalPlan, of_values: Column) -> Result<LogicalPlan> {
        let around = key(self.named.iter().map(|(reference, _)| reference.clone()).collect())?;
        filtered(plan, vec![Expr::Column(of_values).eq(around)])
    }
}

/// The bytes by which values are compared all at once. They are never NULL.
fn key(values: Vec<Expr>) -> Result<Expr> {
    Ok(identity()?.call(vec![r#struct(values)]))
}

/// Window functions over the rows of each of the values around by themselves, with these.
fn divided(window: Window, input: LogicalPlan, values: &Values) -> Result<LogicalPlan> {
    let known = window.schema.columns();
    let (kept, named) = known.split_at(known.len().saturating_sub(window.window_expr.len()));
    let functions = window.window_expr.into_iter().map(|function| {
        let function = over_values(function, values)?.transform(|part| {
            Ok(match part {
                Expr::WindowFunction(mut function) => {
                    function.params.partition_by.push(Expr::Column(values.key.clone()));
                    Transformed::new(Expr::WindowFunction(function), true, TreeNodeRecursion::Jump)
                }
                other => Transformed::no(other),
            })
        });
        function.data()
    });
    let rows = LogicalPlan::Window(Window::try_new(functions.collect::<Result<_>>()?, Arc::new(input))?);
    let columns = rows.schema().columns();
    let before = columns.len().saturating_sub(named.len());
    let results =
        columns.into_iter().skip(before).zip(named).map(|(result, known)| Expr::Column(result).alias_qualified(known.relation.clone(), &known.name));
    let selected = kept.iter().cloned().map(Expr::Column).chain(results).chain(values.all()).collect();
    Projection::try_new(selected, Arc::new(rows)).map(LogicalPlan::Projection)
}

/// What is selected, over the values around and with these.
fn with_values(selected: Vec<Expr>, values: &Values) -> Result<Vec<Expr>> {
    let selected = selected.into_iter().map(|expression| renamed_over(expression, values));
    selected.chain(values.all().map(Ok)).collect()
}

/// An expression over the values around, with the name that it had.
fn renamed_over(expression: Expr, values: &Values) -> Result<Expr> {
    let name = NamePreserver::new_for_projection().save(&expression);
    Ok(name.restore(over_values(expression, values)?))
}

/// An expression that has the values around where it names columns of the query around.
fn over_values(expression: Expr, values: &Values) -> Result<Expr> {
    let over = expression.transform(|part| {
        let value = match &part {
            Expr::OuterReferenceColumn(_, column) => values.of(column).cloned(),
            _ => None,
        };
        Ok(value.map_or_else(|| Transformed::no(part), |value| Transformed::yes(Expr::Column(value))))
    });
    over.data()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::common::{NullHandling, ScalarValue, UnnestOptions};
    use datafusion::functions::core::expr_fn::get_field;
    use datafusion::functions_aggregate::expr_fn::sum;
    use datafusion::logical_expr::{col, lit, out_ref_col};

    use super::*;
    use crate::functions::unnest_rows;
    use crate::rules::lifted_conditions::is_tied;

    fn numbers() -> DataType {
        DataType::new_list(DataType::Int64, true)
    }

    /// Rows of a number and an array.
    fn table() -> Arc<LogicalPlan> {
        let array = lit(ScalarValue::List(ScalarValue::new_list_nullable(&[ScalarValue::Int64(Some(1))], &DataType::Int64)));
        let rows = LogicalPlanBuilder::values(vec![vec![lit(1_i64), array]]).and_then(|rows| rows.alias("t"));
        Arc::new(rows.and_then(LogicalPlanBuilder::build).unwrap())
    }

    /// `UNNEST(<array>) AS u (x)`.
    fn unnested(array: Expr) -> LogicalPlanBuilder {
        let rows = LogicalPlanBuilder::empty(true).project([unnest_rows::function().call(vec![array]).alias("rows")]).unwrap();
        let options = UnnestOptions::new().with_null_handling(NullHandling::Drop);
        let rows = rows.unnest_columns_with_options(vec![Column::new_unqualified("rows")], options).unwrap();
        let element = get_field(col("rows"), unnest_rows::field_name(0)).alias_qualified(Some("u"), "x");
        rows.project([element]).unwrap()
    }

    fn tied(plan: LogicalPlanBuilder) -> Transformed<Subquery> {
        let plan = plan.build().unwrap();
        let outer_ref_columns = plan.all_out_ref_exprs();
        let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: Default::default() };
        super::tied(&table(), subquery, &Cell::new(0)).unwrap()
    }

    /// The conditions that name columns around, and whether `=` is the tie of each.
    fn ties(plan: &LogicalPlan) -> Vec<bool> {
        let mut ties = Vec::new();
        let searched = plan.apply(|node| {
            match node {
                LogicalPlan::Filter(filter) if filter.predicate.contains_outer() => ties.push(is_tied(&filter.predicate, filter.input.schema())),
                node => assert!(!node.contains_outer_reference(), "{}", node.display()),
            }
            Ok(TreeNodeRecursion::Continue)
        });
        searched.unwrap();
        ties
    }

    #[test]
    fn values_are_tied_by_a_key() {
        let all = unnested(out_ref_col(numbers(), "t.column2")).aggregate(Vec::<Expr>::new(), [sum(col("u.x"))]).unwrap();
        let columns = all.schema().columns();
        let changed = tied(all);
        assert!(changed.transformed && !unnests_around(&changed.data.subquery).unwrap());
        assert_eq!(ties(&changed.data.subquery), [true]);
        assert_eq!(changed.data.subquery.schema().columns(), columns);
    }

    #[test]
    fn other_columns_around_are_among_the_values() {
        let above = col("u.x").gt(out_ref_col(DataType::Int64, "t.column1"));
        let sum = (col("u.x") + out_ref_col(DataType::Int64, "t.column1")).alias("sum");
        let some = unnested(out_ref_col(numbers(), "t.column2")).filter(above).and_then(|rows| rows.project([sum])).unwrap();
        let changed = tied(some.alias("d").and_then(|rows| rows.sort([col("d.sum").sort(true, false)])).unwrap());
        assert_eq!(ties(&changed.data.subquery), [true]);
        assert_eq!(changed.data.subquery.schema().columns(), [Column::new(Some("d"), "sum")]);
    }

    #[test]
    fn both_sides_of_a_join_have_the_same_values() {
        let array = || out_ref_col(numbers(), "t.column2");
        for join_type in [JoinType::Inner, JoinType::Left] {
            let other = unnested(array()).alias("v").and_then(LogicalPlanBuilder::build).unwrap();
            let pairs = unnested(array()).join_on(other, join_type, [col("u.x").eq(col("v.x"))]).unwrap();
            let columns = pairs.schema().columns();
            let changed = tied(pairs);
            assert_eq!(ties(&changed.data.subquery), [true]);
            assert_eq!(changed.data.subquery.schema().columns(), columns);
        }
    }

    #[test]
    fn columns_of_queries_further_out_stay() {
        let far = tied(unnested(out_ref_col(numbers(), "s.column2")));
        assert!(!far.transformed && unnests_around(&far.data.subquery).unwrap());
    }
}
