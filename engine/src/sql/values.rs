//! `VALUES` in queries. DataFusion evaluates subqueries only in the items of a `SELECT`, so rows with some become that; and it finds the common types of rows before any
//! rule for types sees them, so rows whose types are not plain to see are planned by themselves.

use std::mem::{Discriminant, discriminant};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, Statement,
    TableAlias, TableAliasColumnDef, TableFactor, TypedString, UnaryOperator, Value, ValueWithSpan, Values, Visit, VisitMut, Visitor, VisitorMut,
};
use nunatak_core::{Error, Result};

use super::parse;
use super::select_items::MARK;
use super::statement::Statement as Parsed;

/// Makes a `UNION ALL` of the `VALUES` in a body of a query, if there are subqueries in them: rows with subqueries become `SELECT`s.
pub(super) fn split(body: &mut SetExpr) -> Result<()> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            split(left)?;
            split(right)
        }
        SetExpr::Values(values) if values.rows.iter().any(|row| has_query(&row.content)) => {
            let parts = parts(values)?;
            if let Some(united) = united(parts) {
                *body = united;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Replaces all `VALUES` but the rows of an `INSERT`, which have the types of its table.
///
/// Errors: those of `replace`.
pub(super) fn replace_all(statement: &mut Statement, replace: &mut dyn FnMut(&Values) -> Result<Option<SetExpr>>) -> Result<()> {
    let inserts = matches!(statement, Statement::Insert(_));
    match statement.visit(&mut Replacer { replace, inserts }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Whether the types of a column may differ.
pub(super) fn are_mixed(values: &Values) -> bool {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    (0..width).any(|column| {
        let mut kinds = values.rows.iter().filter_map(|row| row.content.get(column)).filter(|value| !is_null(value)).map(kind);
        let first = kinds.next();
        values.rows.len() > 1 && first.is_some_and(|first| first.is_none() || kinds.any(|kind| kind != first))
    })
}

/// A `UNION ALL` of several rows that name columns of the query around them, as behind `LATERAL`: DataFusion compares what tables say of their columns, and takes no rows where
/// it differs. `None` for all others.
///
/// Errors: none that a text could lead to.
pub(super) fn of_columns(values: &Values) -> Result<Option<SetExpr>> {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let are_alike = values.rows.iter().all(|row| row.content.len() == width);
    if values.rows.len() < 2 || !are_alike || !values.rows.iter().any(|row| has_column(&row.content)) {
        return Ok(None);
    }
    let rows = values.rows.iter().map(|row| select(row.content.clone())).collect::<Result<Vec<_>>>()?;
    Ok(united(rows))
}

/// Makes columns of the fields of rows that are written out, `VALUES (ROW(1, 2)), ((3, 4))`, as they are in `VALUES ROW(1, 2), (3, 4)`. The rows of an `INSERT` stay: one may be the
/// value of a column.
pub(super) fn spread_rows(statement: &mut Statement) {
    let inserts = matches!(statement, Statement::Insert(_));
    let _ = statement.visit(&mut Replacer { replace: &mut |values| Ok(spread(values)), inserts });
}

/// The same rows with these fields, if there are any.
fn spread(values: &Values) -> Option<SetExpr> {
    // In `VALUES ROW(ROW(1, 2))` it is the one outside whose fields are columns, and `sqlparser` has left that out.
    let is_wide = values.rows.iter().any(|row| row.content.len() > 1);
    if values.explicit_row && !is_wide || !values.rows.iter().any(|row| fields_of_row(&row.content).is_some()) {
        return None;
    }
    let mut values = values.clone();
    for row in &mut values.rows {
        if let Some(fields) = fields_of_row(&row.content) {
            row.content = fields;
        }
    }
    Some(SetExpr::Values(values))
}

fn fields_of_row(row: &[Expr]) -> Option<Vec<Expr>> {
    match row {
        [Expr::Nested(inner)] => fields_of_row(std::slice::from_ref(inner)),
        [Expr::Tuple(fields)] => Some(fields.clone()),
        [Expr::Function(call)] if call.name.to_string().eq_ignore_ascii_case("row") => match &call.args {
            FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() => {
                let field = |argument: &FunctionArg| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
                    _ => None,
                };
                list.args.iter().map(field).collect()
            }
            _ => None,
        },
        _ => None,
    }
}

/// Takes the names from the columns of `(VALUES ...)` in `FROM` and of `WITH t AS (VALUES ...)` that the statement gives none: DataFusion's are `column1`, `column2`, and in Trino there are none.
pub(super) fn take_names(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut NameTaker { count: 0 });
}

struct NameTaker {
    /// How many of them have an alias by now.
    count: usize,
}

impl VisitorMut for NameTaker {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        // The columns of recursive queries have names in any case.
        for one in query.with.iter_mut().filter(|with| !with.recursive).flat_map(|with| &mut with.cte_tables) {
            if let Some(width) = width(&one.query.body).filter(|_| one.alias.columns.is_empty()) {
                one.alias.columns = unnamed(width);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { lateral: false, subquery, alias, .. } = factor
            && alias.as_ref().is_none_or(|alias| alias.columns.is_empty())
            && let Some(width) = width_of_values(subquery)
        {
            let name = Ident::with_quote('"', format!("{MARK}values {}", self.count));
            self.count += 1;
            let alias = alias.get_or_insert_with(|| TableAlias { explicit: true, name, columns: Vec::new(), at: None });
            alias.columns = unnamed(width);
        }
        ControlFlow::Continue(())
    }
}

/// So many columns without names.
fn unnamed(width: usize) -> Vec<TableAliasColumnDef> {
    let column = |place| TableAliasColumnDef { name: Ident::with_quote('"', format!("{MARK}_col{place}")), data_type: None };
    (0..width).map(column).collect()
}

/// How many columns `VALUES ...` gives, also where other rows are united with it; `None` for the body of another query.
pub(super) fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::SetOperation { left, .. } => width(left),
        SetExpr::Query(query) => width(&query.body),
        _ => None,
    }
}

/// How many columns `SELECT * FROM (VALUES ...)` gives, which is what stands for `(VALUES ...)`; `None` for another query.
fn width_of_values(query: &Query) -> Option<usize> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let ([SelectItem::Wildcard(_)], [from]) = (select.projection.as_slice(), select.from.as_slice()) else { return None };
    match &from.relation {
        TableFactor::Derived { subquery, alias: None, .. } if from.joins.is_empty() => width(&subquery.body),
        _ => None,
    }
}

struct Replacer<'a> {
    replace: &'a mut dyn FnMut(&Values) -> Result<Option<SetExpr>>,
    /// Whether the next query is what is inserted.
    inserts: bool,
}

impl VisitorMut for Replacer<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        if std::mem::take(&mut self.inserts) && matches!(*query.body, SetExpr::Values(_)) {
            return ControlFlow::Continue(());
        }
        match self.replace(&mut query.body) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Replacer<'_> {
    fn replace(&mut self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.replace(left)?;
                self.replace(right)
            }
            SetExpr::Values(values) => {
                if let Some(replaced) = (self.replace)(values)? {
                    *body = replaced;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What a value is as far as its text says, and whether it is a number with a point; `None` if only its type does.
fn kind(value: &Expr) -> Option<(Discriminant<Value>, Option<&DataType>, bool)> {
    match value {
        Expr::Nested(value) | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: value } => kind(value),
        Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }) => None,
        Expr::Value(ValueWithSpan { value, .. }) => {
            let has_point = matches!(value, Value::Number(text, _) if text.contains('.'));
            Some((discriminant(value), None, has_point))
        }
        Expr::TypedString(TypedString { data_type, value, .. }) => Some((discriminant(&value.value), Some(data_type), false)),
        _ => None,
    }
}

fn is_null(value: &Expr) -> bool {
    matches!(value, Expr::Value(ValueWithSpan { value: Value::Null, .. }))
}

/// Whether there is a query in these expressions.
fn has_query(row: &[Expr]) -> bool {
    struct Search;
    impl Visitor for Search {
        type Break = ();

        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    row.iter().any(|value| value.visit(&mut Search).is_break())
}

/// Whether one of these expressions names a column.
fn has_column(row: &[Expr]) -> bool {
    struct Search;
    impl Visitor for Search {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    row.iter().any(|value| value.visit(&mut Search).is_break())
}

/// The rows in order: each one with a subquery by itself, and those between together.
fn parts(values: &mut Values) -> Result<Vec<SetExpr>> {
    let mut parts: Vec<SetExpr> = Vec::new();
    for row in std::mem::take(&mut values.rows) {
        if has_query(&row.content) {
            parts.push(select(row.content)?);
        } else if let Some(SetExpr::Values(last)) = parts.last_mut() {
            last.rows.push(row);
        } else {
            parts.push(SetExpr::Values(Values { rows: vec![row], ..values.clone() }));
        }
    }
    Ok(parts)
}

/// `SELECT value AS column1, ...`, as the columns of `VALUES` are called.
fn select(row: Vec<Expr>) -> Result<SetExpr> {
    let Parsed::Query(mut query) = parse("SELECT 1")? else {
        return Err(Error::internal("a query was parsed as something else"));
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        let named = |(number, expr): (usize, Expr)| SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("column{number}")) };
        select.projection = (1..).zip(row).map(named).collect();
    }
    Ok(*query.body)
}

/// A `UNION ALL` that is as shallow as can be.
fn united(mut parts: Vec<SetExpr>) -> Option<SetExpr> {
    if parts.len() < 2 {
        return parts.pop();
    }
    let right = parts.split_off(parts.len() / 2);
    let (left, right) = (united(parts)?, united(right)?);
    Some(SetExpr::SetOperation { op: SetOperator::Union, set_quantifier: SetQuantifier::All, left: Box::new(left), right: Box::new(right) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(sql: &str) -> SetExpr {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        *query.body
    }

    fn mixed(sql: &str) -> bool {
        let SetExpr::Values(values) = body(sql) else { panic!("{sql} has no values") };
        are_mixed(&values)
    }

    #[test]
    fn rows_with_subqueries_are_selected() {
        let mut values = body("VALUES (1, 'a'), (2, 'b'), ((SELECT max(x) FROM t), 'c'), (4, 'd')");
        split(&mut values).unwrap();
        assert_eq!(
            values.to_string(),
            r#"VALUES (1, 'a'), (2, 'b') UNION ALL SELECT (SELECT max(x) FROM t) AS "column1", 'c' AS "column2" UNION ALL VALUES (4, 'd')"#
        );
        let mut plain = body("VALUES (1), (2)");
        split(&mut plain).unwrap();
        assert_eq!(plain.to_string(), "VALUES (1), (2)");
    }

    #[test]
    fn rows_of_columns_are_selected() {
        let selected = |sql: &str| {
            let SetExpr::Values(values) = body(sql) else { panic!("{sql} has no values") };
            of_columns(&values).unwrap().map(|query| query.to_string())
        };
        let united = r#"SELECT t.a AS "column1" UNION ALL SELECT 7 AS "column1""#;
        assert_eq!(selected("VALUES (t.a), (7)").as_deref(), Some(united));
        assert_eq!(selected("VALUES (t.a)"), None);
        assert_eq!(selected("VALUES (1), (2)"), None);
        assert_eq!(selected("VALUES (a), (1, 2)"), None);
    }

    #[test]
    fn columns_that_no_statement_names_have_no_names() {
        let taken = |sql: &str| {
            let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
            let mut statement = Statement::Query(query);
            take_names(&mut statement);
            statement.to_string().replace(MARK, "!")
        };
        assert_eq!(
            taken("SELECT * FROM (VALUES (1, 'a'))"),
            r#"SELECT * FROM (SELECT * FROM (VALUES (1, 'a'))) AS "!values 0" ("!_col0", "!_col1")"#
        );
        assert_eq!(taken("SELECT * FROM (VALUES 1) AS t"), r#"SELECT * FROM (SELECT * FROM (VALUES (1))) AS t ("!_col0")"#);
        assert_eq!(taken("WITH t AS (VALUES 1 UNION ALL SELECT 2) TABLE t"), r#"WITH t ("!_col0") AS (VALUES (1) UNION ALL SELECT 2) TABLE t"#);
        let named = "SELECT x FROM (SELECT * FROM (VALUES (1))) AS t (x)";
        assert_eq!(taken("SELECT x FROM (VALUES 1) AS t(x)"), named);
    }

    #[test]
    fn types_that_are_plain_to_see() {
        assert!(!mixed("VALUES (1, 'a', DATE '2024-01-01', 1.5), (-2, NULL, DATE '2024-01-02', -2.5)"));
        assert!(mixed("VALUES (1), (-2.5)"));
        assert!(mixed("VALUES (CAST(1 AS double)), (1.5)"));
        assert!(mixed("VALUES (NULL), (DATE '2024-01-01'), (TIMESTAMP '2024-01-01 08:00:00')"));
        assert!(!mixed("VALUES (ARRAY[1])"));
    }
}
