//! Names that a statement makes and then spells otherwise. In Trino a quoted name is found by any spelling too: `SELECT "year" FROM (SELECT d_year AS "YEAR" FROM dates)`.
//! DataFusion compares them as they are written, so they get one spelling here. What a client sees is still what the text says ([`OutputNames`](super::column_case)).

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, ObjectName, ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, Statement, TableAlias,
    TableFactor, VisitMut, VisitorMut,
};

use super::column_case::alias;
use super::join_using::constraint_mut;
use super::names::normalized;

/// Spells names that the statement makes, and has in several spellings, in lower case. `is_column` tells whether a table has a column of exactly that name.
pub(super) fn unify(statement: &mut Statement, is_column: impl Fn(&str) -> bool) {
    let (mut columns, mut relations) = (Spellings::default(), Spellings::default());
    visit(statement, &mut |place: Place, name: &mut Ident| match place {
        Place::NewColumn => columns.add(name, true),
        Place::Column => columns.add(name, false),
        Place::NewRelation => relations.add(name, true),
        Place::Relation => relations.add(name, false),
        Place::Table => relations.keep(name),
    });
    let (columns, relations) = (columns.several(), relations.several());
    if columns.is_empty() && relations.is_empty() {
        return;
    }
    visit(statement, &mut |place: Place, name: &mut Ident| {
        let lower = name.value.to_lowercase();
        let is_other = match place {
            Place::NewColumn | Place::Column => columns.contains(&lower) && !is_column(&name.value),
            Place::NewRelation => relations.contains(&lower),
            // It may be a column that has fields.
            Place::Relation => relations.contains(&lower) || columns.contains(&lower) && !is_column(&name.value),
            Place::Table => false,
        };
        if is_other && name.quote_style.is_some() {
            name.value = lower;
        }
    });
}

/// Where a name stands.
#[derive(Clone, Copy)]
enum Place {
    /// It names a column that the statement makes.
    NewColumn,
    /// It stands for a column.
    Column,
    /// It names a relation within the statement.
    NewRelation,
    /// It stands before the name of a column.
    Relation,
    /// It is that of a table without another name.
    Table,
}

/// The spellings of names, by their lower case.
#[derive(Default)]
struct Spellings {
    all: HashMap<String, HashSet<String>>,
    made: HashSet<String>,
    kept: HashSet<String>,
}

impl Spellings {
    fn add(&mut self, name: &Ident, is_made: bool) {
        let lower = name.value.to_lowercase();
        if is_made {
            self.made.insert(lower.clone());
        }
        self.all.entry(lower).or_default().insert(normalized(name));
    }

    /// A name that has to stay as it is.
    fn keep(&mut self, name: &Ident) {
        self.kept.insert(name.value.to_lowercase());
    }

    /// The names that are made and have several spellings.
    fn several(self) -> HashSet<String> {
        let Self { all, made, kept } = self;
        let several = all.into_iter().filter(|(_, spellings)| spellings.len() > 1).map(|(lower, _)| lower);
        several.filter(|lower| made.contains(lower) && !kept.contains(lower)).collect()
    }
}

fn visit(statement: &mut Statement, seen: &mut impl FnMut(Place, &mut Ident)) {
    let _: ControlFlow<()> = statement.visit(&mut Names(seen));
}

struct Names<'a, F>(&'a mut F);

impl<F: FnMut(Place, &mut Ident)> Names<'_, F> {
    fn columns_of(&mut self, alias: &mut TableAlias) {
        alias.columns.iter_mut().for_each(|column| (self.0)(Place::NewColumn, &mut column.name));
    }

    /// A name of several parts, the last of which is a column's or a relation's.
    fn parts<'b>(&mut self, parts: impl DoubleEndedIterator<Item = &'b mut Ident>, last: Place) {
        let mut parts = parts.rev();
        if let Some(name) = parts.next() {
            (self.0)(last, name);
        }
        parts.for_each(|name| (self.0)(Place::Relation, name));
    }
}

fn identifiers(name: &mut ObjectName) -> impl DoubleEndedIterator<Item = &mut Ident> {
    name.0.iter_mut().filter_map(|part| match part {
        ObjectNamePart::Identifier(name) => Some(name),
        ObjectNamePart::Function(_) => None,
    })
}

impl<F: FnMut(Place, &mut Ident)> VisitorMut for Names<'_, F> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        query.with.iter_mut().flat_map(|with| &mut with.cte_tables).for_each(|table| self.columns_of(&mut table.alias));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match alias(factor) {
            Some(alias) => {
                (self.0)(Place::NewRelation, &mut alias.name);
                self.columns_of(alias);
            }
            None => {
                if let TableFactor::Table { name, .. } = factor
                    && let Some(table) = identifiers(name).next_back()
                {
                    (self.0)(Place::Table, table);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(name) => (self.0)(Place::Column, name),
            Expr::CompoundIdentifier(parts) => self.parts(parts.iter_mut(), Place::Column),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => (self.0)(Place::NewColumn, alias),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    self.parts(identifiers(name), Place::Relation);
                }
                _ => {}
            }
        }
        let joins = select.from.iter_mut().flat_map(|item| &mut item.joins);
        for join in joins {
            if let Some(JoinConstraint::Using(columns)) = constraint_mut(&mut join.join_operator) {
                columns.iter_mut().flat_map(identifiers).for_each(|column| (self.0)(Place::Column, column));
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    /// The statement with one spelling for each name. There is a column `A`.
    fn unified(sql: &str) -> String {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        unify(&mut statement, |name| name == "A");
        statement.to_string()
    }

    #[test]
    fn names_of_several_spellings_get_one() {
        assert_eq!(
            unified(r#"SELECT "year" FROM (SELECT y AS "YEAR" FROM t) AS d ORDER BY "Year""#),
            r#"SELECT "year" FROM (SELECT y AS "year" FROM t) AS d ORDER BY "year""#
        );
        assert_eq!(
            unified(r#"WITH q ("Total") AS (SELECT 1) SELECT s.TOTAL, "S".* FROM q AS s JOIN q AS r USING ("total")"#),
            r#"WITH q ("total") AS (SELECT 1) SELECT s.TOTAL, "s".* FROM q AS s JOIN q AS r USING("total")"#
        );
        assert_eq!(
            unified(r#"SELECT "catalog"."x" FROM (SELECT 1 AS x) AS "CATALOG" WHERE CATALOG.x > 0"#),
            r#"SELECT "catalog"."x" FROM (SELECT 1 AS x) AS "catalog" WHERE CATALOG.x > 0"#
        );
    }

    #[test]
    fn other_names_stay() {
        for sql in [
            r#"SELECT "Year" FROM (SELECT y AS "Year" FROM t) AS "D" WHERE "D"."Year" > 0"#,
            r#"SELECT "a", "A" FROM (SELECT b AS "a" FROM t) AS d"#,
            r#"SELECT "Foo".x, foo.x FROM "Foo" JOIN u AS foo ON true"#,
            r#"SELECT "Y" FROM t WHERE y = 1"#,
        ] {
            assert_eq!(unified(sql), sql);
        }
    }
}
