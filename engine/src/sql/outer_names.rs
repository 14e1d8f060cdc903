//! Columns of a relation of the query around a subquery, where a column within the subquery has the relation's name: in `s.id` a relation `s` comes before a column `s`
//! with a field `id`, also if the relation is an outer one. DataFusion looks for fields of inner columns first, so such a name gets more parts in front.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectNamePart, Select, Statement, TableFactor, TableWithJoins, VisitMut, VisitorMut};

use super::names::normalized;

/// Stands for the schema of an outer relation, which has none by its alias. No name that a user writes is this one.
pub(crate) const OUTER: &str = "\u{1}";

/// Qualifies columns of outer relations that have the name of some column, as `is_column` tells.
pub(super) fn qualify(statement: &mut Statement, is_column: impl Fn(&str) -> bool) {
    let _: ControlFlow<()> = statement.visit(&mut Qualifier { is_column, scopes: Vec::new() });
}

/// The relations of one `FROM` by their names, and what their columns are qualified with.
#[derive(Default)]
struct Scope {
    relations: HashMap<String, Vec<Ident>>,
    /// Whether what is visited stands in the `FROM` itself and does not see it.
    is_hidden: bool,
}

struct Qualifier<F> {
    is_column: F,
    scopes: Vec<Scope>,
}

impl<F: Fn(&str) -> bool> VisitorMut for Qualifier<F> {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        if let Statement::Merge(merge) = statement {
            let mut scope = Scope::default();
            scope.add(&merge.table);
            scope.add(&merge.source);
            self.scopes.push(scope);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        if matches!(statement, Statement::Merge(_)) {
            self.scopes.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut scope = Scope::default();
        select.from.iter().for_each(|item| scope.add_all(item));
        self.scopes.push(scope);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<()> {
        self.scopes.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.hide(factor, true);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.hide(factor, false);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expression
            && let Some(qualifier) = self.qualifier(parts)
        {
            let column = parts.split_off(1);
            *parts = qualifier;
            parts.extend(column);
        }
        ControlFlow::Continue(())
    }
}

impl<F: Fn(&str) -> bool> Qualifier<F> {
    fn hide(&mut self, factor: &TableFactor, is_hidden: bool) {
        if let (TableFactor::Derived { lateral: false, .. }, Some(scope)) = (factor, self.scopes.last_mut()) {
            scope.is_hidden = is_hidden;
        }
    }

    /// What stands for the first part of a column's name, if that is an outer relation.
    fn qualifier(&self, parts: &[Ident]) -> Option<Vec<Ident>> {
        let [relation, _] = parts else { return None };
        let name = normalized(relation);
        if !(self.is_column)(&name) {
            return None;
        }
        let (inner, outer) = self.scopes.split_last()?;
        if inner.relations.contains_key(&name) {
            return None;
        }
        outer.iter().rev().filter(|scope| !scope.is_hidden).find_map(|scope| scope.relations.get(&name)).cloned()
    }
}

impl Scope {
    fn add_all(&mut self, item: &TableWithJoins) {
        self.add(&item.relation);
        item.joins.iter().for_each(|join| self.add(&join.relation));
    }

    fn add(&mut self, factor: &TableFactor) {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::UNNEST { alias: Some(alias), .. }
            | TableFactor::Function { alias: Some(alias), .. }
            | TableFactor::TableFunction { alias: Some(alias), .. }
            | TableFactor::NestedJoin { alias: Some(alias), .. } => self.add_name(vec![alias.name.clone()]),
            TableFactor::Table { name, .. } => {
                let part = |part: &ObjectNamePart| if let ObjectNamePart::Identifier(part) = part { Some(part.clone()) } else { None };
                if let Some(parts) = name.0.iter().map(part).collect::<Option<Vec<Ident>>>() {
                    self.add_name(parts);
                }
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.add_all(table_with_joins),
            _ => {}
        }
    }

    fn add_name(&mut self, mut parts: Vec<Ident>) {
        let Some(name) = parts.last().map(normalized) else { return };
        if parts.len() == 1 {
            parts.insert(0, Ident::with_quote('"', OUTER));
        }
        self.relations.insert(name, parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    /// The statement with marks that can be seen. There is a column `s`.
    fn qualified(sql: &str) -> String {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        qualify(&mut statement, |name| name == "s");
        statement.to_string().replace(OUTER, "!")
    }

    #[test]
    fn outer_relations_come_before_inner_columns() {
        assert_eq!(
            qualified("SELECT s.a, (SELECT max(m.v) FROM ms AS m WHERE m.id = s.id) FROM ms AS s"),
            r#"SELECT s.a, (SELECT max(m.v) FROM ms AS m WHERE m.id = "!".s.id) FROM ms AS s"#
        );
        assert_eq!(
            qualified("SELECT 1 FROM c.s WHERE EXISTS (SELECT 1 FROM m WHERE m.id = s.id)"),
            "SELECT 1 FROM c.s WHERE EXISTS (SELECT 1 FROM m WHERE m.id = c.s.id)"
        );
    }

    #[test]
    fn other_names_stay() {
        for sql in [
            "SELECT (SELECT max(s.v) FROM m AS s) FROM m AS s",
            "SELECT (SELECT max(m.v) FROM m WHERE m.id = t.id) FROM m AS t",
            "SELECT d.f FROM m AS s, (SELECT s.f FROM m) AS d",
            "SELECT s.f FROM m",
        ] {
            assert_eq!(qualified(sql), sql);
        }
    }
}
