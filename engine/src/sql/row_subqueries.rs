//! Subqueries of several columns that stand for a value, as in `(a, b) = (SELECT x, y FROM t)`: the value is a row, whose fields have the names of the columns. DataFusion takes
//! one column only, so they get one, which is the row: `(a, b) = $row_of_nulls((SELECT named_struct('x', x, 'y', y) FROM t))`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use nunatak_core::{Error, Result};

use super::dialect::TrinoDialect;
use super::names::normalized;
use super::special_forms::{call, null};
use super::values::width;
use crate::functions::row_of_nulls;

/// How the names of the subquery's columns begin. No statement can name them.
const COLUMN: &str = "\u{1}field ";

/// Makes rows of the columns of all such subqueries whose text says how many columns they have.
pub(super) fn write_out(statement: &mut Statement) -> Result<()> {
    match statement.visit(&mut RowSubqueries) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct RowSubqueries;

impl VisitorMut for RowSubqueries {
    type Break = Error;

    /// What a quantifier compares with are rows that are told apart as values of one column are, NULL among them.
    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        let (Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }) = expression else { return ControlFlow::Continue(()) };
        match right.as_ref() {
            Expr::Subquery(query) if field_names(&query.body).is_some_and(|names| names.len() > 1) => ControlFlow::Break(
                Error::not_supported("ANY and ALL with a subquery of several columns are not supported")
                    .with_hint("write (a, b) IN (SELECT x, y ...), or EXISTS with a condition for each column"),
            ),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Those within others come first.
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        let Expr::Subquery(query) = expression else { return ControlFlow::Continue(()) };
        match make_row(query) {
            Ok(false) => {}
            Ok(true) => {
                let row = std::mem::replace(expression, null());
                *expression = call(row_of_nulls::NAME, [row]);
            }
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

/// Makes one column of those of a query, if these are several.
fn make_row(query: &mut Box<Query>) -> Result<bool> {
    let Some(names) = field_names(&query.body).filter(|names| names.len() > 1) else { return Ok(false) };
    if query.order_by.is_none()
        && let SetExpr::Select(select) = query.body.as_mut()
        && select.distinct.is_none()
        && !names_places(&select.group_by)
        && let Some(values) = values(select)
    {
        select.projection = vec![SelectItem::UnnamedExpr(row(&names, values))];
        return Ok(true);
    }
    let columns: Vec<String> = (0..names.len()).map(|place| format!("\"{COLUMN}{place}\"")).collect();
    let text = format!("SELECT 1 FROM (SELECT 1) AS \"{COLUMN}\" ({})", columns.join(", "));
    let around = Parser::new(&TrinoDialect).try_with_sql(&text).and_then(|mut parser| parser.parse_query());
    let around = around.map_err(|error| Error::internal(format!("a subquery cannot be read: {error}")))?;
    let inner = std::mem::replace(query, around);
    if let SetExpr::Select(select) = query.body.as_mut() {
        let values = (0..names.len()).map(|place| Expr::Identifier(Ident::with_quote('"', format!("{COLUMN}{place}"))));
        select.projection = vec![SelectItem::UnnamedExpr(row(&names, values.collect()))];
        if let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
            *subquery = inner;
        }
    }
    Ok(true)
}

/// The names of the fields; `None` where the text does not say how many columns there are. Those without a name of their own are called as in `ROW(1, 2)`.
fn field_names(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => match (select.projection.as_slice(), select.from.as_slice()) {
            // What stands for `(VALUES ...)`.
            ([SelectItem::Wildcard(_)], [from]) => match &from.relation {
                TableFactor::Derived { subquery, alias: None, .. } if from.joins.is_empty() => width(&subquery.body).map(unnamed),
                _ => None,
            },
            (items, _) => {
                let mut names: Vec<String> = Vec::with_capacity(items.len());
                for (place, item) in items.iter().enumerate() {
                    let name = match item {
                        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
                        SelectItem::UnnamedExpr(value) => name_of(value),
                        _ => return None,
                    };
                    let name = name.map(normalized).filter(|name| !names.contains(name));
                    names.push(name.unwrap_or_else(|| format!("c{place}")));
                }
                Some(names)
            }
        },
        SetExpr::Values(_) => width(body).map(unnamed),
        SetExpr::Query(query) => field_names(&query.body),
        SetExpr::SetOperation { left, .. } => field_names(left),
        _ => None,
    }
}

/// The names of fields that have none.
fn unnamed(count: usize) -> Vec<String> {
    (0..count).map(|place| format!("c{place}")).collect()
}

/// The name that a column has of what it is.
fn name_of(value: &Expr) -> Option<&Ident> {
    match value {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(field))) => Some(field),
            _ => None,
        },
        _ => None,
    }
}

/// Whether rows are grouped by what is selected, named by its place or altogether.
fn names_places(group_by: &GroupByExpr) -> bool {
    match group_by {
        GroupByExpr::Expressions(items, modifiers) => {
            !modifiers.is_empty() || !items.iter().all(|item| matches!(item, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Function(_)))
        }
        GroupByExpr::All(_) => true,
    }
}

/// What is selected; `None` for stars.
fn values(select: &Select) -> Option<Vec<Expr>> {
    let value = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => Some(value.clone()),
        _ => None,
    };
    select.projection.iter().map(value).collect()
}

fn row(names: &[String], values: Vec<Expr>) -> Expr {
    let name = |name: &String| Expr::Value(Value::SingleQuotedString(name.clone()).into());
    call("named_struct", names.iter().map(name).zip(values).flat_map(|(name, value)| [name, value]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn written_out(sql: &str) -> String {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        write_out(&mut statement).unwrap();
        statement.to_string().replace(COLUMN, "f").replace(row_of_nulls::NAME, "$")
    }

    #[test]
    fn columns_become_rows() {
        for (subquery, expected) in [
            (
                "SELECT x, u.y, x, 1 + 1 FROM u GROUP BY x, u.y",
                r#"SELECT "named_struct"('x', x, 'y', u.y, 'c2', x, 'c3', 1 + 1) FROM u GROUP BY x, u.y"#,
            ),
            (
                "SELECT x, max(y) AS m FROM u GROUP BY 1",
                r#"SELECT "named_struct"('x', "f0", 'm', "f1") FROM (SELECT x, max(y) AS m FROM u GROUP BY 1) AS "f" ("f0", "f1")"#,
            ),
            (
                "SELECT x, y FROM u ORDER BY x LIMIT 1",
                r#"SELECT "named_struct"('x', "f0", 'y', "f1") FROM (SELECT x, y FROM u ORDER BY x LIMIT 1) AS "f" ("f0", "f1")"#,
            ),
            ("VALUES (1, 2)", r#"SELECT "named_struct"('c0', "f0", 'c1', "f1") FROM (SELECT * FROM (VALUES (1, 2))) AS "f" ("f0", "f1")"#),
        ] {
            assert_eq!(written_out(&format!("SELECT (a, b) = ({subquery}) FROM t")), format!(r#"SELECT (a, b) = "$"(({expected})) FROM t"#));
        }
    }

    #[test]
    fn quantifiers_take_one_column() {
        let Ok(Parsed::Query(query)) = parse("SELECT (a, b) = ANY (SELECT x, y FROM u) FROM t") else { panic!("no query") };
        assert_eq!(write_out(&mut Statement::Query(query)).unwrap_err().code(), nunatak_core::Code::NotSupported);
    }

    #[test]
    fn others_stay() {
        for sql in ["SELECT a = (SELECT x FROM u) FROM t", "SELECT a = (SELECT * FROM u) FROM t", "SELECT (a, b) IN (SELECT x, y FROM u) FROM t"] {
            assert_eq!(written_out(sql), sql);
        }
    }
}
