//! Queries without names in a `FROM` with other relations, as in `FROM (SELECT 1), (SELECT 2)`. DataFusion tells their columns apart by their names alone, so each query gets
//! one that no statement can write.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Ident, Select, Statement, TableAlias, TableFactor, TableWithJoins, VisitMut, VisitorMut};

use super::select_items::MARK;

/// Names all of them.
pub(super) fn name_all(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Namer { count: 0 });
}

struct Namer {
    /// How many of them have a name by now.
    count: usize,
}

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if select.from.len() > 1 || select.from.iter().any(|item| !item.joins.is_empty()) {
            select.from.iter_mut().for_each(|item| self.name(item));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::NestedJoin { table_with_joins, alias: None } = factor {
            self.name(table_with_joins);
        }
        ControlFlow::Continue(())
    }
}

impl Namer {
    fn name(&mut self, item: &mut TableWithJoins) {
        for factor in std::iter::once(&mut item.relation).chain(item.joins.iter_mut().map(|join| &mut join.relation)) {
            if let TableFactor::Derived { alias: alias @ None, .. } = factor {
                let name = Ident::with_quote('"', format!("{MARK}query {}", self.count));
                *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
                self.count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    #[test]
    fn queries_beside_others_have_names() {
        for (sql, expected) in [
            ("SELECT * FROM (SELECT 1), (SELECT 2)", r#"SELECT * FROM (SELECT 1) AS "!query 0", (SELECT 2) AS "!query 1""#),
            (
                "SELECT * FROM t JOIN (SELECT * FROM (SELECT 1)) ON true JOIN (SELECT 2) AS u ON true",
                r#"SELECT * FROM t JOIN (SELECT * FROM (SELECT 1)) AS "!query 0" ON true JOIN (SELECT 2) AS u ON true"#,
            ),
            ("SELECT * FROM ((SELECT 1) CROSS JOIN t)", r#"SELECT * FROM ((SELECT 1) AS "!query 0" CROSS JOIN t)"#),
            ("SELECT * FROM (SELECT 1)", "SELECT * FROM (SELECT 1)"),
        ] {
            let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
            let mut statement = Statement::Query(query);
            name_all(&mut statement);
            assert_eq!(statement.to_string().replace(MARK, "!"), expected);
        }
    }
}
