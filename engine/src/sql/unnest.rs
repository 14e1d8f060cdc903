//! `UNNEST`: rows of the elements of arrays and of the entries of maps, alone or beside the relations that stand before it, whose columns it sees.
//!
//! DataFusion unnests arrays by themselves. Here what stands before `UNNEST` and the `UNNEST` become a join in parentheses, which [`Unnested`] plans: a function makes
//! one array of rows of all arguments (`functions/unnest_rows.rs`), and that array is unnested beside the columns of the relations before it. Long constants beside
//! rows of tables are unnested once, and joined with these.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, NullHandling, TableReference, UnnestOptions, internal_err};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{Expr as PlannedExpr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, Select, Statement, TableAlias, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use nunatak_core::{Code, Error};

use crate::error::into_datafusion;
use crate::functions::unnest_rows;

/// The name of the array of rows, and of these: no user writes it.
const ROWS: &str = "unnest rows";

/// How many elements of a constant array are made for each row.
const ELEMENTS_MAX: usize = 64;

/// Puts each `UNNEST` into parentheses with the relations before it.
pub(super) fn set_apart(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Nesting);
}

struct Nesting;

impl VisitorMut for Nesting {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.from = joined(std::mem::take(&mut select.from));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { table_with_joins, .. } = factor
            && !is_apart(table_with_joins)
        {
            let inner = TableWithJoins {
                relation: std::mem::replace(&mut table_with_joins.relation, nothing()),
                joins: std::mem::take(&mut table_with_joins.joins),
            };
            **table_with_joins = nest(inner);
        }
        ControlFlow::Continue(())
    }
}

fn is_unnest(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::UNNEST { .. })
}

/// Whether this is a relation with one `UNNEST`, and no more.
fn is_apart(item: &TableWithJoins) -> bool {
    matches!(item.joins.as_slice(), [only] if is_unnest(&only.relation))
}

/// Stands where a relation is taken out.
fn nothing() -> TableFactor {
    TableFactor::UNNEST { alias: None, array_exprs: Vec::new(), with_offset: false, with_offset_alias: None, with_ordinality: false }
}

fn nested(inner: TableWithJoins) -> TableFactor {
    TableFactor::NestedJoin { table_with_joins: Box::new(inner), alias: None }
}

fn beside(relation: TableFactor) -> Join {
    Join { relation, global: false, join_operator: JoinOperator::CrossJoin(JoinConstraint::None) }
}

/// The items of a `FROM`. An `UNNEST` behind a comma sees all items before it.
fn joined(from: Vec<TableWithJoins>) -> Vec<TableWithJoins> {
    let mut items: Vec<TableWithJoins> = Vec::with_capacity(from.len());
    for TableWithJoins { relation, joins } in from {
        if !is_unnest(&relation) || items.is_empty() {
            items.push(nest(TableWithJoins { relation, joins }));
            continue;
        }
        let mut before = std::mem::take(&mut items).into_iter();
        let Some(mut all) = before.next() else { continue };
        all.joins.extend(before.map(|other| beside(if other.joins.is_empty() { other.relation } else { nested(other) })));
        all.joins.push(beside(relation));
        all.joins.extend(joins);
        items.push(nest(all));
    }
    items
}

fn nest(item: TableWithJoins) -> TableWithJoins {
    let TableWithJoins { mut relation, joins } = item;
    let mut others = Vec::new();
    for join in joins {
        if !is_unnest(&join.relation) {
            others.push(join);
            continue;
        }
        if !others.is_empty() {
            relation = nested(TableWithJoins { relation, joins: std::mem::take(&mut others) });
        }
        relation = nested(TableWithJoins { relation, joins: vec![join] });
    }
    TableWithJoins { relation, joins: others }
}

/// Plans `UNNEST`.
#[derive(Debug)]
pub(crate) struct Unnested;

impl RelationPlanner for Unnested {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        let (plan, alias) = match relation {
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_offset_alias: None, with_ordinality } => {
                let given = Given { arguments: array_exprs, with_ordinality, alias };
                (given.beside(LogicalPlanBuilder::empty(true).build()?, NullHandling::Drop, context)?, None)
            }
            TableFactor::NestedJoin { table_with_joins, alias } if is_apart(&table_with_joins) => (plan(*table_with_joins, context)?, alias),
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

fn plan(item: TableWithJoins, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let TableWithJoins { relation, joins } = item;
    let Ok([Join { relation: unnest, join_operator, .. }]) = <[Join; 1]>::try_from(joins) else {
        return internal_err!("UNNEST has other joins beside it");
    };
    let TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_offset_alias: None, with_ordinality } = unnest else {
        return Err(refused("UNNEST has no WITH OFFSET; WITH ORDINALITY numbers its rows from 1 on"));
    };
    let handling = match join_operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => NullHandling::Drop,
        JoinOperator::Join(JoinConstraint::On(condition)) | JoinOperator::Inner(JoinConstraint::On(condition)) if is_true(&condition) => {
            NullHandling::Drop
        }
        JoinOperator::Left(JoinConstraint::On(condition)) | JoinOperator::LeftOuter(JoinConstraint::On(condition)) if is_true(&condition) => {
            NullHandling::PreserveAndExpandEmpty
        }
        _ => return Err(refused("UNNEST is supported in CROSS JOIN, and in JOIN and LEFT JOIN with ON TRUE")),
    };
    let before = context.plan(relation)?;
    Given { arguments: array_exprs, with_ordinality, alias }.beside(before, handling, context)
}

fn is_true(condition: &Expr) -> bool {
    match condition {
        Expr::Value(value) => value.value == Value::Boolean(true),
        Expr::Nested(inner) => is_true(inner),
        _ => false,
    }
}

fn refused(message: &str) -> datafusion::error::DataFusionError {
    into_datafusion(Error::not_supported(message))
}

/// What is written of an `UNNEST`.
struct Given {
    arguments: Vec<Expr>,
    with_ordinality: bool,
    alias: Option<TableAlias>,
}

impl Given {
    /// The columns of a plan, and behind them those of the elements.
    fn beside(self, before: LogicalPlan, handling: NullHandling, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
        let schema = Arc::clone(before.schema());
        let arguments = self.arguments.into_iter().map(|argument| context.sql_to_expr(argument, &schema)).collect::<Result<Vec<_>>>()?;
        // Equal values of the query around are unnested once (`rules/unnests_around.rs`).
        if arguments.iter().any(|argument| argument.contains_outer() && argument.is_volatile()) {
            return Err(refused(
                "UNNEST of random values with columns of a query around it is not supported; write a join with UNNEST in that query",
            ));
        }
        let types = arguments.iter().map(|argument| argument.get_type(schema.as_ref())).collect::<Result<Vec<_>>>()?;
        let mut names = unnest_rows::column_names(&types, schema.fields().len())?;
        if self.with_ordinality {
            // It has no name either.
            names.push(format!("_col{}", schema.fields().len() + names.len()));
        }
        let relation = self.alias.map(|alias| {
            let columns: Vec<String> = alias.columns.into_iter().map(|column| context.normalize_ident(column.name)).collect();
            (context.normalize_ident(alias.name), columns)
        });
        if let Some((name, columns)) = &relation
            && !columns.is_empty()
        {
            if columns.len() != names.len() {
                let message = format!("'{name}' has {} columns, and {} names for them", names.len(), columns.len());
                return Err(into_datafusion(Error::new(Code::MismatchedColumnAliases, message)));
            }
            names.clone_from(columns);
        }
        let relation = relation.map(|(name, _)| TableReference::bare(name));
        let is_long = !arguments.iter().all(is_short);
        let is_apart = is_long && matches!(handling, NullHandling::Drop) && reads_table(&before)? && are_constant(&arguments)?;
        // Long constants would be there once for each row, and are joined with the rows instead. The side that a join keeps is its first one.
        let (before, rows_beside) = if is_apart { (LogicalPlanBuilder::empty(true).build()?, Some(before)) } else { (before, None) };
        let schema = Arc::clone(before.schema());
        let rows = Column::from_name(ROWS);
        let kept: Vec<PlannedExpr> = schema.columns().into_iter().map(PlannedExpr::Column).collect();
        let with_rows = kept.iter().cloned().chain([unnest_rows::function().call(arguments).alias(ROWS)]);
        let elements = names.into_iter().enumerate().map(|(place, name)| {
            get_field(PlannedExpr::Column(rows.clone()), unnest_rows::field_name(place)).alias_qualified(relation.clone(), name)
        });
        let unnested = LogicalPlanBuilder::from(before)
            .project(with_rows)?
            .unnest_columns_with_options(vec![rows.clone()], UnnestOptions::new().with_null_handling(handling))?
            .project(kept.into_iter().chain(elements))?
            .build()?;
        let Some(beside) = rows_beside else { return Ok(unnested) };
        let columns: Vec<Column> = beside.schema().columns().into_iter().chain(unnested.schema().columns()).collect();
        LogicalPlanBuilder::from(unnested).cross_join(beside)?.project(columns.into_iter().map(PlannedExpr::Column))?.build()
    }
}

/// Whether an argument is an array of a few elements that are written out.
fn is_short(argument: &PlannedExpr) -> bool {
    matches!(argument, PlannedExpr::ScalarFunction(call) if call.func.name() == "make_array" && call.args.len() <= ELEMENTS_MAX)
}

fn reads_table(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|node| Ok(matches!(node, LogicalPlan::TableScan(_))))
}

/// Whether arguments have the same values for all rows.
fn are_constant(arguments: &[PlannedExpr]) -> Result<bool> {
    use PlannedExpr::{Exists, InSubquery, Placeholder, ScalarSubquery, SetComparison};
    let varies = |part: &PlannedExpr| matches!(part, Exists(_) | InSubquery(_) | Placeholder(_) | ScalarSubquery(_) | SetComparison(_));
    for argument in arguments {
        if argument.any_column_refs() || argument.contains_outer() || argument.is_volatile() || argument.exists(|part| Ok(varies(part)))? {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn apart(sql: &str) -> String {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        set_apart(&mut statement);
        statement.to_string()
    }

    #[test]
    fn what_stands_before_is_put_into_parentheses() {
        for (sql, expected) in [
            ("SELECT x FROM UNNEST(a) AS t (x)", "SELECT x FROM UNNEST(a) AS t (x)"),
            ("SELECT x FROM s CROSS JOIN UNNEST(a) AS t (x)", "SELECT x FROM (s CROSS JOIN UNNEST(a) AS t (x))"),
            ("SELECT x FROM s, r, UNNEST(a) AS t", "SELECT x FROM ((s CROSS JOIN r) CROSS JOIN UNNEST(a) AS t)"),
            (
                "SELECT x FROM s JOIN r ON true CROSS JOIN UNNEST(a) AS t CROSS JOIN UNNEST(x) AS u JOIN v ON true",
                "SELECT x FROM (((s JOIN r ON true) CROSS JOIN UNNEST(a) AS t) CROSS JOIN UNNEST(x) AS u) JOIN v ON true",
            ),
            ("SELECT x FROM (s LEFT JOIN UNNEST(a) AS t ON true)", "SELECT x FROM (s LEFT JOIN UNNEST(a) AS t ON true)"),
        ] {
            assert_eq!(apart(sql), expected);
        }
    }
}
