//! Queries of `WITH` that have the name of one around them, as in `WITH a AS (...), b AS (WITH a AS (...) SELECT x FROM a) ...`. DataFusion wants all names to differ, so the inner one
//! gets another name; what reads it still qualifies its columns by the name that was written.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, SetExpr, Statement, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};

use super::names::normalized;
use super::select_items::MARK;

/// Gives such queries names of their own.
pub(super) fn set_apart(statement: &mut Statement) {
    let _: ControlFlow<()> = VisitMut::visit(statement, &mut Namer::default());
}

#[derive(Default)]
struct Namer {
    /// The names that the queries around give, a list for each of these.
    around: Vec<Vec<String>>,
    renamed: usize,
}

impl VisitorMut for Namer {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let names = given(query);
        for name in &names {
            // Where a third query has the name, or it is read by `TABLE a`, DataFusion refuses the statement.
            if self.around.iter().flatten().any(|other| other == name) && is_plain(query, name) {
                self.renamed += 1;
                rename(query, name, &format!("{name}{MARK}{}", self.renamed));
            }
        }
        self.around.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.around.pop();
        ControlFlow::Continue(())
    }
}

/// The names that the `WITH` of a query gives.
fn given(query: &Query) -> Vec<String> {
    query.with.iter().flat_map(|with| &with.cte_tables).map(|one| normalized(&one.alias.name)).collect()
}

/// Whether the name is given once in the query and all within it, and is not read by `TABLE`.
fn is_plain(query: &Query, name: &str) -> bool {
    let mut uses = Uses { name, given: 0, has_table: false };
    let _: ControlFlow<()> = Visit::visit(query, &mut uses);
    uses.given == 1 && !uses.has_table
}

struct Uses<'a> {
    name: &'a str,
    given: usize,
    has_table: bool,
}

impl Visitor for Uses<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.given += given(query).iter().filter(|name| *name == self.name).count();
        self.has_table |= reads_table(&query.body);
        ControlFlow::Continue(())
    }
}

fn reads_table(body: &SetExpr) -> bool {
    match body {
        SetExpr::Table(_) => true,
        SetExpr::SetOperation { left, right, .. } => reads_table(left) || reads_table(right),
        _ => false,
    }
}

fn rename(query: &mut Query, name: &str, other: &str) {
    let Some(mut with) = query.with.take() else { return };
    let mut reader = Reader { name, other };
    let mut is_known = false;
    for one in &mut with.cte_tables {
        let is_this = normalized(&one.alias.name) == name;
        if is_known || is_this && with.recursive {
            let _: ControlFlow<()> = VisitMut::visit(&mut one.query, &mut reader);
        }
        if is_this {
            one.alias.name = Ident::with_quote('"', other);
            is_known = true;
        }
    }
    let _: ControlFlow<()> = VisitMut::visit(query, &mut reader);
    query.with = Some(with);
}

/// Reads the query under its other name.
struct Reader<'a> {
    name: &'a str,
    other: &'a str,
}

impl VisitorMut for Reader<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: None, .. } = factor
            && let [ObjectNamePart::Identifier(written)] = name.0.as_slice()
            && normalized(written) == self.name
        {
            let written = written.clone();
            alias.get_or_insert_with(|| TableAlias { explicit: true, name: written, columns: Vec::new(), at: None });
            *name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', self.other))]);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn apart(sql: &str) -> String {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        set_apart(&mut statement);
        statement.to_string().replace(MARK, "!")
    }

    #[test]
    fn inner_queries_get_other_names() {
        assert_eq!(
            apart("WITH a AS (SELECT 1 AS x), b AS (WITH a AS (SELECT x FROM a) SELECT a.x FROM a) SELECT x FROM a, b"),
            r#"WITH a AS (SELECT 1 AS x), b AS (WITH "a!1" AS (SELECT x FROM a) SELECT a.x FROM "a!1" AS a) SELECT x FROM a, b"#
        );
        assert_eq!(
            apart("WITH a AS (SELECT 1) SELECT (WITH A AS (SELECT 2), c AS (SELECT * FROM a) SELECT * FROM c AS d) FROM a"),
            r#"WITH a AS (SELECT 1) SELECT (WITH "a!1" AS (SELECT 2), c AS (SELECT * FROM "a!1" AS a) SELECT * FROM c AS d) FROM a"#
        );
    }

    #[test]
    fn others_keep_theirs() {
        for sql in [
            "SELECT * FROM (WITH a AS (SELECT 1) SELECT * FROM a) AS p, (WITH a AS (SELECT 2) SELECT * FROM a) AS q",
            "WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a",
        ] {
            assert_eq!(apart(sql), sql);
        }
    }
}
