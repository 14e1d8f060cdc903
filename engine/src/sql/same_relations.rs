//! Relations of one name in a `FROM`, as in `FROM t JOIN t USING (k)`. In Trino their columns can be selected by `*` and by names that only one of them has; DataFusion refuses
//! them. Where no column has the name before it, the second one and those behind it get names that no statement can write.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderBy, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableAlias, TableFactor, TableWithJoins,
    VisitMut, VisitorMut, visit_expressions,
};

use super::column_case;
use super::names::{normalized, parts};
use super::select_items::MARK;

/// Tells them apart in a statement.
pub(super) fn tell_apart(statement: &mut Statement) {
    let _: ControlFlow<()> = VisitMut::visit(statement, &mut Namer { count: 0 });
}

struct Namer {
    /// How many of them have another name by now.
    count: usize,
}

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Query { body, order_by, .. } = query;
        self.visit_body(body, order_by.as_ref());
        ControlFlow::Continue(())
    }
}

impl Namer {
    fn visit_body(&mut self, body: &mut SetExpr, order_by: Option<&OrderBy>) {
        match body {
            SetExpr::Select(select) => {
                let repeated = repeated(&select.from);
                if !repeated.is_empty() {
                    let selected: &Select = select;
                    let others: HashSet<String> = repeated.into_iter().filter(|name| !is_named(selected, order_by, name)).collect();
                    let mut seen = HashSet::new();
                    select.from.iter_mut().for_each(|item| self.name(item, &others, &mut seen));
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.visit_body(left, None);
                self.visit_body(right, None);
            }
            // Queries within are visited by themselves.
            _ => {}
        }
    }

    fn name(&mut self, item: &mut TableWithJoins, names: &HashSet<String>, seen: &mut HashSet<String>) {
        for factor in factors_mut(item) {
            if let TableFactor::NestedJoin { table_with_joins, alias: None } = factor {
                self.name(table_with_joins, names, seen);
                continue;
            }
            let Some(name) = name_of(factor).filter(|name| names.contains(name) && !seen.insert(name.clone())) else { continue };
            self.count += 1;
            let other = Ident::with_quote('"', format!("{name}{MARK}{}", self.count));
            match column_case::alias(factor) {
                Some(alias) => alias.name = other,
                None => {
                    if let TableFactor::Table { alias, .. } = factor {
                        *alias = Some(TableAlias { explicit: true, name: other, columns: Vec::new(), at: None });
                    }
                }
            }
        }
    }
}

/// The names that several relations of a `FROM` have.
fn repeated(from: &[TableWithJoins]) -> HashSet<String> {
    let (mut seen, mut repeated) = (HashSet::new(), HashSet::new());
    for name in from.iter().flat_map(names_of) {
        if !seen.insert(name.clone()) {
            repeated.insert(name);
        }
    }
    repeated
}

fn names_of(item: &TableWithJoins) -> Vec<String> {
    let factors = std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation));
    let names = factors.flat_map(|factor| match factor {
        TableFactor::NestedJoin { table_with_joins, alias: None } => names_of(table_with_joins),
        factor => name_of(factor).into_iter().collect(),
    });
    names.collect()
}

fn factors_mut(item: &mut TableWithJoins) -> impl Iterator<Item = &mut TableFactor> {
    std::iter::once(&mut item.relation).chain(item.joins.iter_mut().map(|join| &mut join.relation))
}

/// The name of a table or a derived table.
fn name_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), lateral: false, .. } => {
            Some(normalized(&alias.name))
        }
        TableFactor::Table { name, alias: None, args: None, .. } => parts(name).pop(),
        _ => None,
    }
}

/// Whether anything in a query has the name before its own.
fn is_named(select: &Select, order_by: Option<&OrderBy>, name: &str) -> bool {
    let before = |part: &Expr| match part {
        Expr::CompoundIdentifier(parts) if parts.iter().rev().skip(1).any(|part| normalized(part) == name) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let has_star = select.projection.iter().any(|item| match item {
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(object), _) => parts(object).iter().any(|part| part == name),
        _ => false,
    });
    has_star || visit_expressions(select, before).is_break() || order_by.is_some_and(|order_by| visit_expressions(order_by, before).is_break())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn apart(sql: &str) -> String {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        tell_apart(&mut statement);
        statement.to_string().replace(MARK, "!")
    }

    #[test]
    fn the_second_of_a_name_gets_another_one() {
        for (sql, expected) in [
            ("SELECT count(*) FROM t JOIN T USING (k)", r#"SELECT count(*) FROM t JOIN T AS "t!1" USING(k)"#),
            ("SELECT * FROM s.t, (u AS t CROSS JOIN v), t", r#"SELECT * FROM s.t, (u AS "t!1" CROSS JOIN v), t AS "t!2""#),
            (
                "SELECT 1 FROM a, a UNION SELECT 2 FROM (SELECT 3 FROM b, b) AS a, a",
                r#"SELECT 1 FROM a, a AS "a!1" UNION SELECT 2 FROM (SELECT 3 FROM b, b AS "b!3") AS a, a AS "a!2""#,
            ),
        ] {
            assert_eq!(apart(sql), expected);
        }
        for sql in [
            "SELECT t.x FROM t CROSS JOIN t",
            "SELECT t.* FROM t CROSS JOIN t",
            "SELECT x FROM t CROSS JOIN t ORDER BY t.y",
            "SELECT x FROM t JOIN t ON t.x = t.y",
            "SELECT x FROM t CROSS JOIN u AS x WHERE y IN (SELECT y FROM t)",
        ] {
            assert_eq!(apart(sql), sql);
        }
    }
}
