//! `(a, b) IN (SELECT x, y ...)` in `WHERE` as `EXISTS (SELECT 1 FROM (SELECT x, y ...) AS s (c, d) WHERE c = (a) AND d = (b))`: DataFusion compares one value only.
//!
//! The two are alike where a condition that is NULL is as good as a false one: beneath `AND` and `OR`. Beneath `NOT` they are not, and nothing is changed.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use nunatak_core::{Code, Error, Result};

use super::dialect::TrinoDialect;

/// How the names of the subquery's columns begin. No statement can name them.
const COLUMN: &str = "\u{1}member ";

/// Replaces those of all conditions of a statement.
pub(super) fn write_out(statement: &mut Statement) -> Result<()> {
    match statement.visit(&mut Memberships) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Memberships;

impl VisitorMut for Memberships {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match select.selection.as_mut().map_or(Ok(()), replace) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        match expression {
            Expr::InSubquery { expr, subquery, .. } if is_plain(expr) => match columns(subquery) {
                Some(count) if count > 1 => ControlFlow::Break(
                    Error::new(Code::TypeMismatch, format!("'{expr}' is one value, and the subquery behind IN has {count} columns"))
                        .with_hint("select one column, or write (a, b) IN (SELECT x, y ...)"),
                ),
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether an expression is one value and, as far as its text says, no row.
fn is_plain(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::BinaryOp { .. })
}

/// How many columns a subquery gives, if its text says so.
fn columns(subquery: &Query) -> Option<usize> {
    let SetExpr::Select(select) = subquery.body.as_ref() else { return None };
    let is_one = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    select.projection.iter().all(is_one).then_some(select.projection.len())
}

fn replace(condition: &mut Expr) -> Result<()> {
    match condition {
        Expr::Nested(inner) => replace(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            replace(left)?;
            replace(right)
        }
        Expr::InSubquery { expr, subquery, negated: false } => match expr.as_mut() {
            Expr::Tuple(values) if values.len() > 1 && !gives_one_value(subquery) => {
                *condition = exists(std::mem::take(values), subquery.clone())?;
                Ok(())
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Whether a subquery gives one column, as far as its text says: it may be one of rows.
fn gives_one_value(subquery: &Query) -> bool {
    match subquery.body.as_ref() {
        SetExpr::Select(select) => {
            matches!(select.projection.as_slice(), [SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }])
        }
        _ => false,
    }
}

fn exists(values: Vec<Expr>, rows: Box<Query>) -> Result<Expr> {
    let names: Vec<String> = (0..values.len()).map(|place| format!("\"{COLUMN}{place}\"")).collect();
    let text = format!("SELECT 1 FROM (SELECT 1) AS \"{COLUMN}\" ({})", names.join(", "));
    let query = Parser::new(&TrinoDialect).try_with_sql(&text).and_then(|mut parser| parser.parse_query());
    let mut query = query.map_err(|error| Error::internal(format!("a subquery cannot be read: {error}")))?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        if let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
            *subquery = rows;
        }
        select.selection = values.into_iter().enumerate().map(|(place, value)| is_equal(place, value)).reduce(both);
    }
    Ok(Expr::Exists { subquery: query, negated: false })
}

fn is_equal(place: usize, value: Expr) -> Expr {
    let column = Expr::Identifier(Ident::with_quote('"', format!("{COLUMN}{place}")));
    Expr::BinaryOp { left: Box::new(column), op: BinaryOperator::Eq, right: Box::new(Expr::Nested(Box::new(value))) }
}

fn both(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written_out(sql: &str) -> String {
        let mut statement = Parser::new(&TrinoDialect).try_with_sql(sql).unwrap().parse_statement().unwrap();
        write_out(&mut statement).unwrap();
        statement.to_string().replace(COLUMN, "m")
    }

    #[test]
    fn rows_of_values_are_looked_for() {
        assert_eq!(
            written_out("SELECT a FROM t WHERE x OR ((a, b + 1) IN (SELECT x, y FROM u))"),
            r#"SELECT a FROM t WHERE x OR (EXISTS (SELECT 1 FROM (SELECT x, y FROM u) AS "m" ("m0", "m1") WHERE "m0" = (a) AND "m1" = (b + 1)))"#
        );
    }

    #[test]
    fn one_value_is_looked_for_in_one_column() {
        let refused = |sql: &str| {
            let mut statement = Parser::new(&TrinoDialect).try_with_sql(sql).unwrap().parse_statement().unwrap();
            write_out(&mut statement).unwrap_err().code()
        };
        assert_eq!(refused("SELECT a FROM t WHERE a IN (SELECT x, y FROM u)"), Code::TypeMismatch);
        assert_eq!(refused("SELECT a NOT IN (SELECT x, y FROM u) FROM t"), Code::TypeMismatch);
    }

    #[test]
    fn others_stay() {
        for sql in [
            "SELECT a FROM t WHERE (a, b) NOT IN (SELECT x, y FROM u)",
            "SELECT a FROM t WHERE NOT (a, b) IN (SELECT x, y FROM u)",
            "SELECT a FROM t WHERE (a, b) IN (SELECT ROW(x, y) FROM u)",
            "SELECT (a, b) IN (SELECT x, y FROM u) FROM t",
            "SELECT a FROM t WHERE a IN (SELECT x FROM u)",
            "SELECT a FROM t WHERE ROW(a, b) IN (SELECT x, y FROM u)",
        ] {
            assert_eq!(written_out(sql), sql);
        }
    }
}
