//! Hidden columns in a statement. Tables have them only for statements that name one: in all others a table's columns are those of its schema. Since DataFusion
//! takes all columns of a table for `*`, the hidden ones are excluded there.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, Statement, TableFactor,
    TableWithJoins, Visit, VisitMut, Visitor, VisitorMut, WildcardAdditionalOptions, visit_expressions,
};
use nunatak_core::{Error, Result};

use super::join_using::constraint_mut;
use super::names::{normalized, parts};
use crate::scan::HiddenColumn;

/// Stands behind the name of a table that is wanted with its hidden columns. No name that a user writes holds it.
pub(super) const HIDDEN_MARK: char = '\u{2}';

/// Whether a statement names a hidden column.
pub(super) fn are_named(statement: &Statement) -> bool {
    let is_hidden = |identifier: &Ident| HiddenColumn::is_name(&normalized(identifier));
    let found = visit_expressions(statement, |expression| {
        let named = match expression {
            Expr::Identifier(column) => is_hidden(column),
            Expr::CompoundIdentifier(parts) => parts.iter().any(is_hidden),
            _ => false,
        };
        if named { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found.is_break()
}

/// The names that `WITH` gives to queries, anywhere in the statement.
pub(super) fn common_tables(statement: &Statement) -> HashSet<String> {
    struct Names(HashSet<String>);
    impl Visitor for Names {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let tables = query.with.iter().flat_map(|with| &with.cte_tables);
            self.0.extend(tables.map(|table| normalized(&table.alias.name)));
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(HashSet::new());
    let _: ControlFlow<()> = statement.visit(&mut names);
    names.0
}

/// Takes hidden columns out of every `*`. `hidden` says which a table has.
///
/// Errors: `NOT_SUPPORTED` where the columns of `*`, or those that tables are joined by, cannot be told from hidden ones.
pub(super) fn exclude(statement: &mut Statement, hidden: impl Fn(&ObjectName) -> Vec<HiddenColumn>) -> Result<()> {
    match statement.visit(&mut Excluder { hidden }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Excluder<F> {
    hidden: F,
}

impl<F: Fn(&ObjectName) -> Vec<HiddenColumn>> VisitorMut for Excluder<F> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match self.exclude(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// One relation of a `FROM`.
struct Relation {
    name: Option<Ident>,
    hidden: Vec<HiddenColumn>,
}

impl<F: Fn(&ObjectName) -> Vec<HiddenColumn>> Excluder<F> {
    fn exclude(&self, select: &mut Select) -> Result<()> {
        let mut from = From { relations: Vec::new(), joined_by_name: false, natural: false };
        select.from.iter_mut().for_each(|item| self.collect(item, &mut from));
        if from.relations.iter().all(|relation| relation.hidden.is_empty()) {
            return Ok(());
        }
        if from.natural {
            return Err(Error::not_supported("NATURAL JOIN together with hidden columns is not supported").with_hint("write JOIN ... ON"));
        }
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => items.extend(from.without_hidden(options)?),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                    let table = parts(&name).pop();
                    let relation = from.relations.iter().find(|relation| relation.name.as_ref().map(normalized) == table);
                    let hidden = relation.map_or(&[][..], |relation| &relation.hidden);
                    items
                        .push(SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), excluding(options, names_of(hidden))));
                }
                other => items.push(other),
            }
        }
        select.projection = items;
        Ok(())
    }

    fn collect(&self, item: &mut TableWithJoins, from: &mut From) {
        self.collect_factor(&mut item.relation, from);
        for join in &mut item.joins {
            self.collect_factor(&mut join.relation, from);
            match constraint_mut(&mut join.join_operator) {
                Some(JoinConstraint::Natural) => from.natural = true,
                Some(JoinConstraint::Using(_)) => from.joined_by_name = true,
                _ => {}
            }
        }
    }

    fn collect_factor(&self, factor: &mut TableFactor, from: &mut From) {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.collect(table_with_joins, from),
            TableFactor::Table { name, alias: Some(alias), .. } => {
                from.relations.push(Relation { name: Some(alias.name.clone()), hidden: (self.hidden)(name) });
            }
            TableFactor::Table { name, .. } => {
                let own = name.0.last().and_then(|part| part.as_ident()).cloned();
                from.relations.push(Relation { name: own, hidden: (self.hidden)(name) });
            }
            TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } | TableFactor::UNNEST { alias, .. } => {
                from.relations.push(Relation { name: alias.as_ref().map(|alias| alias.name.clone()), hidden: Vec::new() });
            }
            _ => from.relations.push(Relation { name: None, hidden: Vec::new() }),
        }
    }
}

/// What a `SELECT` reads from.
struct From {
    relations: Vec<Relation>,
    /// Some are joined by `USING`, whose columns `*` shows once.
    joined_by_name: bool,
    natural: bool,
}

impl From {
    /// `*` without hidden columns.
    fn without_hidden(&self, options: WildcardAdditionalOptions) -> Result<Vec<SelectItem>> {
        if let [only] = self.relations.as_slice() {
            return Ok(vec![SelectItem::Wildcard(excluding(options, names_of(&only.hidden)))]);
        }
        let names: Option<Vec<&Ident>> = self.relations.iter().map(|relation| relation.name.as_ref()).collect();
        let plain = options == WildcardAdditionalOptions::default() || options.to_string().is_empty();
        match names.filter(|_| plain && !self.joined_by_name) {
            Some(names) => {
                let item = |(name, relation): (&Ident, &Relation)| {
                    let name = SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![name.clone()]));
                    SelectItem::QualifiedWildcard(name, excluding(WildcardAdditionalOptions::default(), names_of(&relation.hidden)))
                };
                Ok(names.into_iter().zip(&self.relations).map(item).collect())
            }
            None => Err(Error::not_supported("SELECT * of such a join, together with hidden columns, is not supported")
                .with_hint("name the columns, or write table.* for each table")),
        }
    }
}

fn names_of(columns: &[HiddenColumn]) -> impl Iterator<Item = &'static str> {
    columns.iter().map(|column| column.name())
}

/// The options of a `*` that leaves out these columns too.
pub(super) fn excluding<N: Into<String>>(mut options: WildcardAdditionalOptions, columns: impl IntoIterator<Item = N>) -> WildcardAdditionalOptions {
    let mut columns = columns.into_iter().map(|column| ObjectName::from(vec![Ident::with_quote('"', column)])).peekable();
    if columns.peek().is_none() {
        return options;
    }
    let mut excluded: Vec<ObjectName> = match options.opt_exclude.take() {
        None => Vec::new(),
        Some(ExcludeSelectItem::Single(name)) => vec![name],
        Some(ExcludeSelectItem::Multiple(names)) => names,
    };
    excluded.extend(columns);
    options.opt_exclude = Some(ExcludeSelectItem::Multiple(excluded));
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn parsed(sql: &str) -> Statement {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        Statement::Query(query)
    }

    fn excluded(sql: &str) -> Result<String> {
        let mut statement = parsed(sql);
        exclude(&mut statement, |name| if name.to_string() == "t" { vec![HiddenColumn::Position] } else { Vec::new() })?;
        Ok(statement.to_string())
    }

    #[test]
    fn stars_show_no_hidden_columns() {
        assert_eq!(excluded("SELECT *, _pos FROM t").unwrap(), r#"SELECT * EXCLUDE ("_pos"), _pos FROM t"#);
        assert_eq!(excluded("SELECT x.* FROM t AS x, u").unwrap(), r#"SELECT x.* EXCLUDE ("_pos") FROM t AS x, u"#);
        assert_eq!(excluded("SELECT * FROM t, u").unwrap(), r#"SELECT t.* EXCLUDE ("_pos"), u.* FROM t, u"#);
        assert_eq!(excluded("SELECT * FROM (SELECT *, _pos FROM t) AS d").unwrap(), r#"SELECT * FROM (SELECT * EXCLUDE ("_pos"), _pos FROM t) AS d"#);
        assert_eq!(excluded("SELECT a FROM t JOIN u USING (a)").unwrap(), "SELECT a FROM t JOIN u USING(a)");
        assert_eq!(excluded("SELECT * FROM u NATURAL JOIN v").unwrap(), "SELECT * FROM u NATURAL JOIN v");
    }

    #[test]
    fn stars_that_cannot_be_told_apart_are_refused() {
        for sql in ["SELECT * FROM t JOIN u USING (a)", "SELECT a FROM t NATURAL JOIN u"] {
            assert!(excluded(sql).unwrap_err().message().contains("hidden columns"), "{sql}");
        }
    }

    #[test]
    fn only_their_names_ask_for_them() {
        assert!(are_named(&parsed(r#"SELECT a FROM t ORDER BY t."$path""#)));
        assert!(are_named(&parsed("SELECT a FROM (SELECT a FROM t WHERE _ROW_ID = 3)")));
        assert!(!are_named(&parsed("SELECT a AS _pos FROM t")));
        assert!(!are_named(&parsed(r#"SELECT "_POS" FROM t"#)));
    }
}
