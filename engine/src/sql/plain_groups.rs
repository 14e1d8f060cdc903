//! What of `GROUP BY` and `HAVING` DataFusion does not read: `AUTO` beside others becomes the columns that it stands for, `ROLLUP (a, (b, c))` and `CUBE (a, (b, c))` the grouping
//! sets that they are, `GROUP BY (a, b)` groups by both, and a `HAVING` where nothing is aggregated groups all rows together.

use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, ObjectNamePart, Query, Select, SelectItem, Statement, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use nunatak_core::{Error, Result};

use super::grouping_sets::{is_mark, sets_of};
use super::names::normalized;

/// Writes them out in a statement.
///
/// Errors: `TOO_MANY_GROUPING_SETS`, `NOT_SUPPORTED` for `AUTO` beside others where a star is selected.
pub(super) fn write_out(statement: &mut Statement, state: &SessionState) -> Result<()> {
    match VisitMut::visit(statement, &mut Groups { state }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Groups<'a> {
    state: &'a SessionState,
}

impl VisitorMut for Groups<'_> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match adapt(select, self.state) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn adapt(select: &mut Select, state: &SessionState) -> Result<()> {
    let GroupByExpr::Expressions(items, modifiers) = &mut select.group_by else { return Ok(()) };
    if !modifiers.is_empty() {
        return Ok(());
    }
    if items.is_empty() {
        if select.having.is_some() && !aggregates(&select.projection, state) && !aggregates(&select.having, state) {
            items.push(Expr::GroupingSets(vec![Vec::new()]));
        }
        return Ok(());
    }
    // By itself it stays what it is.
    if items.len() > 1 {
        while let Some(place) = items.iter().position(is_auto) {
            drop(items.splice(place..=place, columns(&select.projection, state)?));
        }
        if items.iter().all(is_mark) {
            *items = vec![Expr::GroupingSets(vec![Vec::new()])];
        }
    }
    while let Some(place) = items.iter().position(|item| matches!(item, Expr::Tuple(columns) if !columns.is_empty())) {
        let Expr::Tuple(columns) = items.remove(place) else { return Ok(()) };
        drop(items.splice(place..place, columns));
    }
    for item in items {
        if matches!(item, Expr::Rollup(parts) | Expr::Cube(parts) if parts.iter().any(|part| part.len() != 1)) {
            *item = Expr::GroupingSets(sets_of(item.clone(), &select.projection)?);
        }
    }
    Ok(())
}

fn is_auto(item: &Expr) -> bool {
    matches!(item, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("auto"))
}

/// What is selected and not aggregated.
fn columns(projection: &[SelectItem], state: &SessionState) -> Result<Vec<Expr>> {
    let mut columns = Vec::new();
    for item in projection {
        match item {
            // A number would be the place of a column.
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if is_number(expr) || aggregates(expr, state) => {}
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => columns.push(expr.clone()),
            star => {
                let error = Error::not_supported(format!("GROUP BY AUTO beside others is not supported where '{star}' is selected"));
                return Err(error.with_hint("name the columns"));
            }
        }
    }
    Ok(columns)
}

fn is_number(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(ValueWithSpan { value: Value::Number(..), .. }))
}

/// Whether a part of a query calls an aggregate, subqueries in it apart.
pub(super) fn aggregates(part: &impl Visit, state: &SessionState) -> bool {
    part.visit(&mut Aggregates { state, queries: 0 }).is_break()
}

struct Aggregates<'a> {
    state: &'a SessionState,
    /// In how many subqueries this is.
    queries: usize,
}

impl Visitor for Aggregates<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let is_one = match expression {
            Expr::Function(Function { name, over: None, .. }) => match name.0.as_slice() {
                [ObjectNamePart::Identifier(name)] => is_aggregate(&normalized(name), self.state),
                _ => false,
            },
            _ => false,
        };
        if is_one && self.queries == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn is_aggregate(name: &str, state: &SessionState) -> bool {
    // It becomes a call of others before it is planned.
    name == "reduce_agg" || state.aggregate_functions().contains_key(name)
}

#[cfg(test)]
mod tests {
    use datafusion::execution::session_state::SessionStateBuilder;

    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    #[test]
    fn groups_are_written_out() {
        let state = SessionStateBuilder::new().with_default_features().build();
        for (sql, expected) in [
            ("SELECT a, sum(b), 1 FROM t GROUP BY AUTO, ROLLUP (b)", "SELECT a, sum(b), 1 FROM t GROUP BY a, ROLLUP (b)"),
            (
                "SELECT upper(a) AS x, (SELECT max(c) FROM u) FROM t GROUP BY auto, b",
                "SELECT upper(a) AS x, (SELECT max(c) FROM u) FROM t GROUP BY upper(a), (SELECT max(c) FROM u), b",
            ),
            ("SELECT a FROM t GROUP BY AUTO", "SELECT a FROM t GROUP BY AUTO"),
            ("SELECT a FROM t GROUP BY ROLLUP (a, (b, c))", "SELECT a FROM t GROUP BY GROUPING SETS ((a, b, c), (a), ())"),
            ("SELECT a FROM t GROUP BY CUBE (a, (b, c))", "SELECT a FROM t GROUP BY GROUPING SETS ((a, b, c), (b, c), (a), ())"),
            ("SELECT a FROM t GROUP BY (a, b + 1), c", "SELECT a FROM t GROUP BY a, b + 1, c"),
            ("SELECT 'x' FROM t HAVING true", "SELECT 'x' FROM t GROUP BY GROUPING SETS (()) HAVING true"),
            ("SELECT 'x' FROM t HAVING count(*) > 1", "SELECT 'x' FROM t HAVING count(*) > 1"),
            (
                "SELECT 'x' FROM t HAVING 1 < (SELECT count(*) FROM u)",
                "SELECT 'x' FROM t GROUP BY GROUPING SETS (()) HAVING 1 < (SELECT count(*) FROM u)",
            ),
        ] {
            let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
            let mut statement = Statement::Query(query);
            write_out(&mut statement, &state).unwrap();
            assert_eq!(statement.to_string(), expected);
        }
        let Ok(Parsed::Query(query)) = parse("SELECT *, count(*) FROM t GROUP BY AUTO, ROLLUP (b)") else { panic!("it is not a query") };
        assert!(write_out(&mut Statement::Query(query), &state).is_err());
    }
}
