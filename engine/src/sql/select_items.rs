//! Names of the columns that a `SELECT` makes. DataFusion names an expression by its text and refuses two columns of one name; in Trino an expression
//! without an alias has no name (clients see `_col0`), and a column may be selected twice. So each such item gets an alias that holds
//! [`MARK`], which no name that a user writes holds, and which is taken off again before a client sees it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, ObjectName, OrderBy, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor,
    TableWithJoins, VisitMut, VisitorMut, visit_expressions, visit_expressions_mut,
};

use super::names::{normalized, parts};

/// Stands before the name of a column that has none, and behind the name of a column that is selected again.
pub(super) const MARK: char = '\u{1}';

/// Gives every unnamed or repeated item of every `SELECT` a name of its own.
pub(super) fn name_all(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Namer::default());
}

/// `SELECT upper(t.x) AS x FROM t ORDER BY t.x`: DataFusion sorts beside the columns that are selected, and cannot tell `x` from `t.x`. What is called like a column by which a query is
/// sorted gets a mark, which clients do not see; so it is for queries whose columns nobody else names.
pub(super) fn set_order_apart(query: &mut Query) {
    let Query { body, order_by: Some(order), .. } = query else { return };
    let SetExpr::Select(select) = body.as_mut() else { return };
    let Some(columns) = qualified_columns(order) else { return };
    let mut renamed = HashMap::new();
    for (position, item) in select.projection.iter_mut().enumerate() {
        let SelectItem::ExprWithAlias { expr, alias } = item else { continue };
        let name = normalized(alias);
        if columns.contains(&name) && !is_column(expr, &name) {
            *alias = Ident::with_quote('"', repeated(&name, position));
            renamed.insert(name, alias.clone());
        }
    }
    let _: ControlFlow<()> = visit_expressions_mut(order, |part| {
        if let Expr::Identifier(name) = part
            && let Some(other) = renamed.get(&normalized(name))
        {
            *name = other.clone();
        }
        ControlFlow::Continue(())
    });
}

/// The columns with the name of a table before theirs by which rows are sorted; `None` if there are queries in it, with columns of their own.
fn qualified_columns(order: &OrderBy) -> Option<HashSet<String>> {
    let mut columns = HashSet::new();
    let found = visit_expressions(order, |part| match part {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        Expr::CompoundIdentifier(parts) => {
            columns.extend(parts.last().map(normalized));
            ControlFlow::Continue(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_continue().then_some(columns)
}

/// Whether an expression is a column of that name.
pub(super) fn is_column(expression: &Expr, name: &str) -> bool {
    match expression {
        Expr::Identifier(column) => normalized(column) == name,
        Expr::CompoundIdentifier(parts) => parts.last().is_some_and(|column| normalized(column) == name),
        _ => false,
    }
}

/// The name as a client sees it.
pub fn output_name(name: &str) -> &str {
    match name.strip_prefix(MARK) {
        Some(unnamed) => unnamed.split(MARK).next().unwrap_or(unnamed),
        None => name.split(MARK).next().unwrap_or(name),
    }
}

/// Whether a column has no name of its own: what can't be stored needs an alias.
pub fn is_unnamed(name: &str) -> bool {
    name.starts_with(MARK)
}

#[derive(Default)]
struct Namer {
    /// The texts of the subqueries that stand for a value, with their numbers.
    values: HashMap<String, usize>,
}

impl VisitorMut for Namer {
    type Break = ();

    /// DataFusion knows the value of a subquery by the name of its column, so two of them have two.
    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::Subquery(query) = expression else { return ControlFlow::Continue(()) };
        let text = query.to_string();
        if let SetExpr::Select(select) = query.body.as_mut()
            && let [item] = select.projection.as_mut_slice()
            && let SelectItem::UnnamedExpr(value) = &*item
            && !matches!(value, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. })
        {
            let next = self.values.len();
            let alias = format!("{MARK}_col0{MARK}{}", self.values.entry(text).or_insert(next));
            *item = SelectItem::ExprWithAlias { expr: value.clone(), alias: Ident::with_quote('"', alias) };
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut seen = HashSet::new();
        let relations: HashSet<String> = select.from.iter().flat_map(relation_names).collect();
        for (position, item) in select.projection.iter_mut().enumerate() {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    if let Some(alias) = alias_of(expression, position, &relations, &mut seen) {
                        *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias: Ident::with_quote('"', alias) };
                    }
                }
                SelectItem::ExprWithAlias { alias, .. } => {
                    let name = normalized(alias);
                    if !seen.insert(name.clone()) {
                        *alias = Ident::with_quote('"', repeated(&name, position));
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    if let Some(whole) = whole_name(&select.from, name) {
                        *name = whole;
                    }
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

/// The name of a table as `FROM` has it, of which `name` is the end: of `SELECT t.* FROM s.t` DataFusion knows the table as `s.t` alone. `None` if that is no other name, or
/// there are several relations of it.
fn whole_name(from: &[TableWithJoins], name: &ObjectName) -> Option<ObjectName> {
    let wanted = parts(name);
    let last = wanted.last()?;
    if from.iter().flat_map(relation_names).filter(|relation| relation == last).count() != 1 {
        return None;
    }
    let mut tables = from.iter().flat_map(plain_tables);
    tables.find(|table| table.0.len() > wanted.len() && parts(table).ends_with(&wanted)).cloned()
}

/// The tables of a `FROM` item that have no alias.
fn plain_tables(item: &TableWithJoins) -> Vec<&ObjectName> {
    let factors = std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation));
    let tables = factors.flat_map(|factor| match factor {
        TableFactor::Table { name, alias: None, .. } => vec![name],
        TableFactor::NestedJoin { table_with_joins, alias: None } => plain_tables(table_with_joins),
        _ => Vec::new(),
    });
    tables.collect()
}

/// The alias that an item needs, if it needs one.
fn alias_of(expression: &Expr, position: usize, relations: &HashSet<String>, seen: &mut HashSet<String>) -> Option<String> {
    if let Some(field) = field_of_row(expression, relations) {
        let name = normalized(field);
        return Some(if seen.insert(name.clone()) { name } else { repeated(&name, position) });
    }
    let name = match expression {
        Expr::Identifier(column) => normalized(column),
        // Columns of different tables may share their last part: only the whole name twice is a repetition there.
        Expr::CompoundIdentifier(parts) => parts.iter().map(normalized).collect::<Vec<_>>().join("."),
        _ => return Some(format!("{MARK}_col{position}")),
    };
    let last = name.rsplit('.').next().unwrap_or(&name);
    // Of one table, or if one of them is without it, a column with the table's name and another one may be the same.
    let may_be_same = |other: &String| relations.len() == 1 || !name.contains('.') || !other.contains('.');
    let is_there = seen.contains(&name) || seen.iter().any(|other| may_be_same(other) && other.rsplit('.').next() == Some(last));
    let alias = is_there.then(|| repeated(last, position));
    seen.insert(name);
    alias
}

/// The field that an item takes out of a row. DataFusion would name it by the way to it.
fn field_of_row<'a>(expression: &'a Expr, relations: &HashSet<String>) -> Option<&'a Ident> {
    match expression {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., row, field] if !relations.contains(&normalized(row)) => Some(field),
            _ => None,
        },
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(field))) => Some(field),
            _ => None,
        },
        _ => None,
    }
}

/// The name of an item whose name is taken.
fn repeated(name: &str, position: usize) -> String {
    format!("{name}{MARK}{position}")
}

/// By which names the columns of a `FROM` item may be qualified.
pub(super) fn relation_names(item: &TableWithJoins) -> impl Iterator<Item = String> {
    let names = std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)).flat_map(|factor| match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::TableFunction { alias: Some(alias), .. } => vec![normalized(&alias.name)],
        TableFactor::Table { name, .. } => super::names::parts(name).last().cloned().into_iter().collect(),
        TableFactor::NestedJoin { table_with_joins, alias: None } => relation_names(table_with_joins).collect(),
        _ => Vec::new(),
    });
    // What has no name in the text may have got one.
    names.filter(|name| !name.starts_with(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn named(sql: &str) -> String {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        name_all(&mut statement);
        statement.to_string().replace(MARK, "!")
    }

    #[test]
    fn unnamed_and_repeated_items_get_names() {
        assert_eq!(named("select a, a + 1, a, t.b, u.b from t, u"), r#"SELECT a, a + 1 AS "!_col1", a AS "a!2", t.b, u.b FROM t, u"#);
        assert_eq!(named("select a, t.a, u.b, b from t, u"), r#"SELECT a, t.a AS "a!1", u.b, b AS "b!3" FROM t, u"#);
        assert_eq!(named("select r.x, t.r.x, t.a, r.b from s.t"), r#"SELECT r.x AS "x", t.r.x AS "x!1", t.a, r.b AS "b" FROM s.t"#);
        assert_eq!(named("select 1 as x, 2 as x, *"), r#"SELECT 1 AS x, 2 AS "x!1", *"#);
        assert_eq!(named("select x from (select count(*) from t) as s(x)"), r#"SELECT x FROM (SELECT count(*) AS "!_col0" FROM t) AS s (x)"#);
    }

    #[test]
    fn tables_are_named_as_they_stand_in_the_query() {
        assert_eq!(named("select t.*, u.* from s.t join c.s.u on true"), "SELECT s.t.*, c.s.u.* FROM s.t JOIN c.s.u ON true");
        assert_eq!(named("select s.u.* from (c.s.u cross join s.t)"), "SELECT c.s.u.* FROM (c.s.u CROSS JOIN s.t)");
        for sql in ["SELECT t.* FROM s.t AS u", "SELECT t.* FROM s.t, r.t", "SELECT t.* FROM s.t CROSS JOIN u AS t", "SELECT s.t.* FROM s.t"] {
            assert_eq!(named(sql), sql);
        }
    }

    #[test]
    fn values_of_subqueries_have_names_of_their_own() {
        assert_eq!(
            named("select sum((select 1)), max((select 2)), min((select 1)), (select a from t)"),
            r#"SELECT sum((SELECT 1 AS "!_col0!0")) AS "!_col0", max((SELECT 2 AS "!_col0!1")) AS "!_col1", min((SELECT 1 AS "!_col0!0")) AS "!_col2", (SELECT a FROM t) AS "!_col3""#
        );
    }

    #[test]
    fn columns_of_the_order_are_told_from_those_of_their_name() {
        let apart = |sql: &str| {
            let Ok(Parsed::Query(mut query)) = parse(sql) else { panic!("{sql} is not a query") };
            set_order_apart(&mut query);
            query.to_string().replace(MARK, "!")
        };
        assert_eq!(
            apart("SELECT a, upper(t.x) AS x FROM t ORDER BY t.x, lower(X), a"),
            r#"SELECT a, upper(t.x) AS "x!1" FROM t ORDER BY t.x, lower("x!1"), a"#
        );
        for sql in ["SELECT t.x AS x FROM t ORDER BY t.x", "SELECT upper(x) AS x FROM t ORDER BY x", "SELECT upper(t.x) AS y FROM t ORDER BY t.x"] {
            assert_eq!(apart(sql), sql);
        }
    }

    #[test]
    fn clients_see_no_marks() {
        assert_eq!(output_name("\u{1}_col3"), "_col3");
        assert_eq!(output_name("a\u{1}2"), "a");
        assert_eq!(output_name("\u{1}_col0\u{1}2"), "_col0");
        assert_eq!(output_name("a"), "a");
    }
}
