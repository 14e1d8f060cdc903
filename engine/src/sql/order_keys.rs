//! `ORDER BY` as Trino reads it. Names in it are those of what is selected before those of tables, within windows and beside `GROUP BY` too, where DataFusion looks only at tables:
//! there the names get what they stand for. And what `SELECT DISTINCT` is sorted by may be written otherwise than where it is selected.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, Ident, ObjectNamePart, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, Value,
    VisitMut, VisitorMut, visit_expressions, visit_expressions_mut,
};

use super::names::normalized;
use super::plain_groups::aggregates;
use super::select_items::{is_column, relation_names};

/// Changes what the queries of a statement are sorted by.
pub(super) fn adapt(statement: &mut Statement, state: &SessionState) {
    let _: ControlFlow<()> = VisitMut::visit(statement, &mut Keys { state });
}

struct Keys<'a> {
    state: &'a SessionState,
}

impl VisitorMut for Keys<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let (SetExpr::Select(select), Some(OrderBy { kind: OrderByKind::Expressions(keys), .. })) = (query.body.as_ref(), query.order_by.as_mut())
        {
            keys.iter_mut().for_each(|key| adapt_key(&mut key.expr, select, self.state));
        }
        ControlFlow::Continue(())
    }
}

fn adapt_key(key: &mut Expr, select: &Select, state: &SessionState) {
    let (mut outputs, relation) = (outputs(select), only_relation(select));
    if let Some(place) = distinct_place(key, select, &outputs, relation.as_deref()) {
        *key = Expr::Value(Value::Number((place + 1).to_string(), false).into());
        return;
    }
    if outputs.is_empty() || is_name(key) || has_names_of_its_own(key) || aggregates(key, state) {
        return;
    }
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(items, _) if items.is_empty());
    if is_grouped {
        // Only names that columns have too are taken for these.
        outputs.retain(|name, _| names_column(select, name));
        if select.distinct.is_none()
            && !outputs.is_empty()
            && let Some(written) = written_out(key, &outputs, relation.as_deref())
        {
            *key = written;
        }
        return;
    }
    let _: ControlFlow<()> = visit_expressions_mut(key, |part| {
        if is_window(part)
            && let Some(written) = written_out(part, &outputs, relation.as_deref())
        {
            *part = written;
        }
        ControlFlow::Continue(())
    });
}

/// What is selected under a name that is not its own.
fn outputs(select: &Select) -> HashMap<String, &Expr> {
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => Some((normalized(alias), expr)).filter(|(name, expr)| !is_column(expr, name)),
        _ => None,
    });
    items.collect()
}

/// Whether what is selected or grouped by is made of a column of that name.
fn names_column(select: &Select, name: &str) -> bool {
    let named = |part: &Expr| if is_column(part, name) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    visit_expressions(&select.projection, named).is_break() || visit_expressions(&select.group_by, named).is_break()
}

/// The name of the one relation that is read.
fn only_relation(select: &Select) -> Option<String> {
    let [item] = select.from.as_slice() else { return None };
    let mut names = relation_names(item);
    names.next().filter(|_| item.joins.is_empty() && names.next().is_none())
}

fn is_name(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_))
}

fn is_window(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(Function { over: Some(_), .. }))
}

/// Whether there are subqueries in it, or parameters of functions.
fn has_names_of_its_own(expression: &Expr) -> bool {
    let found = visit_expressions(expression, |part| match part {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::Lambda(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// An expression with what the names of outputs stand for; `None` if it cannot be said without them.
fn written_out(expression: &Expr, outputs: &HashMap<String, &Expr>, relation: Option<&str>) -> Option<Expr> {
    let mut written = expression.clone();
    let found = visit_expressions_mut(&mut written, |part| {
        let Expr::Identifier(name) = part else { return ControlFlow::Continue(()) };
        let Some(value) = outputs.get(&normalized(name)) else { return ControlFlow::Continue(()) };
        match of_tables(value, outputs, relation) {
            Some(value) => {
                *part = Expr::Nested(Box::new(value));
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    });
    found.is_continue().then_some(written)
}

/// What is selected, in which columns that have the name of an output have that of their table before it.
fn of_tables(value: &Expr, outputs: &HashMap<String, &Expr>, relation: Option<&str>) -> Option<Expr> {
    if has_names_of_its_own(value) {
        return None;
    }
    let mut value = value.clone();
    let found = visit_expressions_mut(&mut value, |part| {
        if is_window(part) {
            return ControlFlow::Break(());
        }
        match part {
            Expr::Identifier(name) if outputs.contains_key(&normalized(name)) => match relation {
                Some(relation) => {
                    let parts = vec![Ident::with_quote('"', relation), name.clone()];
                    *part = Expr::CompoundIdentifier(parts);
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            },
            _ => ControlFlow::Continue(()),
        }
    });
    found.is_continue().then_some(value)
}

/// The place of what `SELECT DISTINCT` selects and is sorted by, if it is no column under its own name.
fn distinct_place(key: &Expr, select: &Select, outputs: &HashMap<String, &Expr>, relation: Option<&str>) -> Option<usize> {
    if !matches!(select.distinct, Some(Distinct::Distinct)) || matches!(key, Expr::Value(_)) {
        return None;
    }
    let names_output = visit_expressions(key, |part| match part {
        Expr::Identifier(name) if outputs.contains_key(&normalized(name)) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    if names_output.is_break() {
        return None;
    }
    let key = plain(key, relation);
    for (place, item) in select.projection.iter().enumerate() {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {}
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } if plain(expr, relation) == key => return Some(place),
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => {}
            // It is not known how many columns it stands for.
            _ => return None,
        }
    }
    None
}

/// An expression as it is compared: without the case of names, the name of the only relation, and parentheses.
fn plain(expression: &Expr, relation: Option<&str>) -> Expr {
    let mut plain = expression.clone();
    let _: ControlFlow<()> = visit_expressions_mut(&mut plain, |part| {
        let other = match part {
            Expr::Identifier(name) => Some(Expr::Identifier(Ident::new(normalized(name)))),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [first, column] if relation == Some(normalized(first).as_str()) => Some(Expr::Identifier(Ident::new(normalized(column)))),
                parts => Some(Expr::CompoundIdentifier(parts.iter().map(|part| Ident::new(normalized(part))).collect())),
            },
            Expr::Nested(inner) => Some(inner.as_ref().clone()),
            Expr::Function(function) => {
                for part in &mut function.name.0 {
                    if let ObjectNamePart::Identifier(name) = part {
                        *name = Ident::new(normalized(name));
                    }
                }
                None
            }
            _ => None,
        };
        if let Some(other) = other {
            *part = other;
        }
        ControlFlow::Continue(())
    });
    plain
}

#[cfg(test)]
mod tests {
    use datafusion::execution::session_state::SessionStateBuilder;

    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn adapted(sql: &str) -> String {
        let state = SessionStateBuilder::new().with_default_features().build();
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        adapt(&mut statement, &state);
        statement.to_string()
    }

    #[test]
    fn names_of_outputs_get_their_values() {
        for (sql, expected) in [
            (
                "SELECT -a AS a FROM t ORDER BY first_value(a + t.a) OVER (ORDER BY a)",
                r#"SELECT -a AS a FROM t ORDER BY first_value((-"t".a) + t.a) OVER (ORDER BY (-"t".a))"#,
            ),
            (
                "SELECT -(a + b) AS a FROM s.t GROUP BY a + b ORDER BY A + b, a",
                r#"SELECT -(a + b) AS a FROM s.t GROUP BY a + b ORDER BY (-("t".a + b)) + b, a"#,
            ),
            ("SELECT b + 1 AS a FROM t, u ORDER BY rank() OVER (ORDER BY a)", "SELECT b + 1 AS a FROM t, u ORDER BY rank() OVER (ORDER BY (b + 1))"),
        ] {
            assert_eq!(adapted(sql), expected);
        }
        for sql in [
            "SELECT -a AS a FROM t, u ORDER BY rank() OVER (ORDER BY a)",
            "SELECT rank() OVER () AS r FROM t ORDER BY sum(r) OVER ()",
            "SELECT -a AS a FROM t ORDER BY -a",
            "SELECT -a AS a FROM t GROUP BY a ORDER BY sum(a) + a",
            "SELECT t.a AS a FROM t GROUP BY t.a ORDER BY a + 1",
            "SELECT b AS a FROM t GROUP BY b ORDER BY a + 1",
            "SELECT DISTINCT -a AS a FROM t GROUP BY a ORDER BY a + 1",
        ] {
            assert_eq!(adapted(sql), sql);
        }
    }

    #[test]
    fn distinct_rows_are_sorted_by_what_is_selected() {
        for (sql, expected) in [
            ("SELECT DISTINCT c, a + B FROM t ORDER BY a + t.b", "SELECT DISTINCT c, a + B FROM t ORDER BY 2"),
            ("SELECT DISTINCT a + t.B FROM t ORDER BY (A) + b DESC", "SELECT DISTINCT a + t.B FROM t ORDER BY 1 DESC"),
            ("SELECT DISTINCT LOWER(t.a) AS x FROM t ORDER BY lower(a), x", "SELECT DISTINCT LOWER(t.a) AS x FROM t ORDER BY 1, x"),
            ("SELECT DISTINCT a AS x FROM t ORDER BY a", "SELECT DISTINCT a AS x FROM t ORDER BY 1"),
        ] {
            assert_eq!(adapted(sql), expected);
        }
        for sql in [
            "SELECT DISTINCT a FROM t ORDER BY a",
            "SELECT DISTINCT *, a + b FROM t ORDER BY a + b",
            "SELECT DISTINCT -a AS a, a + b FROM t ORDER BY a + b",
            "SELECT DISTINCT a + b FROM t, u ORDER BY a + t.b",
            "SELECT a + b FROM t ORDER BY a + b",
        ] {
            assert_eq!(adapted(sql), sql);
        }
    }
}
