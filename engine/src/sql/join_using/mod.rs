//! `JOIN ... USING (k)` and `NATURAL JOIN`, whose keys are one column each of what they give, as the standard has it: `k` is that of the side that has all rows, or of
//! either in a full join, and `*` shows it once, before all others; `t.*` shows none of them, as in Trino.
//!
//! DataFusion keeps the columns of both sides, and takes `k` for that of the first one. Here each such join becomes a relation of its own, which [`JoinUsing`] plans:
//! keys have its alias, a name that no user writes. What a statement names as `t.k` is kept beside them under a name with [`MARK`].

mod plan;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, OrderBy, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    Statement, TableAlias, TableFactor, TableWithJoins, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::hidden_columns::{common_tables, excluding};
use super::names::{normalized, parts};
use super::select_items::{MARK, output_name};

pub(crate) use plan::JoinUsing;

/// How the aliases of such joins begin.
const ALIAS: &str = "join using ";

/// A relation's name and a key of one of its joins.
type Key = (String, String);

/// Makes relations of their own of all joins by name in a statement. `columns` gives those of a table, if it knows it.
pub(super) fn set_apart(statement: &mut Statement, columns: impl Fn(&ObjectName) -> Option<Vec<String>>) {
    let common = common_tables(statement);
    let _: ControlFlow<()> = statement.visit(&mut Joins { columns, common, count: 0 });
}

/// What a join is made by, where it may be made by names.
pub(super) fn constraint_mut(join: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match join {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// The name of a relation's own column where another one has its name.
fn own_name(relation: &str, key: &str) -> String {
    format!("{key}{MARK}{relation}")
}

struct Joins<F> {
    columns: F,
    /// Names that `WITH` gives, which are no tables.
    common: HashSet<String>,
    count: usize,
}

/// One or several relations of a `FROM`.
#[derive(Default)]
struct Side {
    relations: Vec<String>,
    /// The names of all columns, if they are known.
    columns: Option<Vec<String>>,
}

impl<F: Fn(&ObjectName) -> Option<Vec<String>>> VisitorMut for Joins<F> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut() {
            self.set_apart(select, query.order_by.as_mut());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.set_apart(select, None);
        ControlFlow::Continue(())
    }
}

impl<F: Fn(&ObjectName) -> Option<Vec<String>>> Joins<F> {
    fn set_apart(&mut self, select: &mut Select, order_by: Option<&mut OrderBy>) {
        let mut joined = HashSet::new();
        let from = std::mem::take(&mut select.from);
        select.from = from.into_iter().map(|item| self.nest(item, &mut joined).0).collect();
        if joined.is_empty() {
            return;
        }
        let mut own = OwnColumns::new(&joined);
        let _: ControlFlow<()> = own.visit_parts(select, order_by);
        let named = own.named;
        select.from.iter_mut().for_each(|item| keep(item, &named));
        name_items(select, &named);
    }

    /// The same joins, each one by name as a relation with what stands before it. `joined` gets the keys that each relation may have.
    fn nest(&mut self, item: TableWithJoins, joined: &mut HashSet<Key>) -> (TableWithJoins, Side) {
        let (mut relation, mut side) = self.factor(item.relation, joined);
        let mut others = Vec::new();
        for mut join in item.joins {
            let (factor, right) = self.factor(join.relation, joined);
            join.relation = factor;
            let Some(keys) = keys(&mut join, &side, &right) else {
                side = side.beside(right, &[]);
                others.push(join);
                continue;
            };
            for key in &keys {
                joined.extend(side.relations.iter().chain(&right.relations).map(|relation| (relation.clone(), key.clone())));
            }
            side = side.beside(right, &keys);
            if !others.is_empty() {
                relation = nested(TableWithJoins { relation, joins: std::mem::take(&mut others) }, None);
            }
            self.count += 1;
            let name = Ident::with_quote('"', format!("{ALIAS}{}", self.count));
            let alias = TableAlias { explicit: true, name, columns: Vec::new(), at: None };
            relation = nested(TableWithJoins { relation, joins: vec![join] }, Some(alias));
        }
        (TableWithJoins { relation, joins: others }, side)
    }

    fn factor(&mut self, factor: TableFactor, joined: &mut HashSet<Key>) -> (TableFactor, Side) {
        match factor {
            TableFactor::NestedJoin { alias: Some(alias), table_with_joins } if is_ours(&alias) => {
                (TableFactor::NestedJoin { alias: Some(alias), table_with_joins }, Side::default())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                let (inner, side) = self.nest(*table_with_joins, joined);
                (nested(inner, None), side)
            }
            TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } => {
                // Behind an alias, nobody but its own conditions sees the relations within.
                let mut within = HashSet::new();
                let (mut inner, _) = self.nest(*table_with_joins, &mut within);
                let mut own = OwnColumns::new(&within);
                let _: ControlFlow<()> = own.visit_joins(&mut inner).map_continue(drop);
                keep(&mut inner, &own.named);
                let side = Side { relations: vec![normalized(&alias.name)], columns: None };
                (nested(inner, Some(alias)), side)
            }
            other => {
                let side = Side { relations: relation_name(&other).into_iter().collect(), columns: self.columns(&other) };
                (other, side)
            }
        }
    }

    fn columns(&self, factor: &TableFactor) -> Option<Vec<String>> {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { return None };
        if matches!(parts(name).as_slice(), [only] if self.common.contains(only)) {
            return None;
        }
        let columns = (self.columns)(name)?;
        match alias.as_ref().map(|alias| alias.columns.as_slice()) {
            None | Some([]) => Some(columns),
            Some(named) if named.len() == columns.len() => Some(named.iter().map(|column| normalized(&column.name)).collect()),
            Some(_) => None,
        }
    }
}

impl Side {
    /// What a join of two by these keys gives.
    fn beside(mut self, right: Self, keys: &[String]) -> Self {
        self.relations.extend(right.relations);
        self.columns = self.columns.zip(right.columns).map(|(left, right)| {
            let others = left.into_iter().chain(right).filter(|column| !keys.contains(column));
            keys.iter().cloned().chain(others).collect()
        });
        self
    }
}

/// The names by which two sides are joined, which then stand after `USING`; `None` for other joins.
fn keys(join: &mut Join, left: &Side, right: &Side) -> Option<Vec<String>> {
    let is_lateral = match &join.relation {
        TableFactor::Derived { lateral, .. } | TableFactor::Function { lateral, .. } => *lateral,
        TableFactor::UNNEST { .. } => true,
        _ => false,
    };
    let constraint = constraint_mut(&mut join.join_operator).filter(|_| !is_lateral && !join.global)?;
    let keys: Vec<(String, Span)> = match &*constraint {
        JoinConstraint::Using(columns) => {
            let key = |column: &ObjectName| parts(column).pop().filter(|_| column.0.len() == 1).map(|key| (key, span(column)));
            columns.iter().map(key).collect::<Option<_>>()?
        }
        JoinConstraint::Natural => {
            let (left, right) = (left.columns.as_ref()?, right.columns.as_ref()?);
            left.iter().filter(|column| right.contains(column)).map(|column| (column.clone(), Span::empty())).collect()
        }
        _ => return None,
    };
    if keys.is_empty() {
        return None;
    }
    *constraint = JoinConstraint::Using(keys.iter().map(|(key, span)| quoted([key.as_str()], *span)).collect());
    Some(keys.into_iter().map(|(key, _)| key).collect())
}

/// Where the first part of a name stands.
fn span(name: &ObjectName) -> Span {
    name.0.first().and_then(|part| part.as_ident()).map_or_else(Span::empty, |part| part.span)
}

fn quoted<'a>(parts: impl IntoIterator<Item = &'a str>, span: Span) -> ObjectName {
    let part = |part: &str| Ident { value: part.to_owned(), quote_style: Some('"'), span };
    ObjectName::from(parts.into_iter().map(part).collect::<Vec<_>>())
}

fn nested(inner: TableWithJoins, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::NestedJoin { table_with_joins: Box::new(inner), alias }
}

fn is_ours(alias: &TableAlias) -> bool {
    is_alias(&alias.name.value)
}

/// Whether a name is the alias of such a join.
pub(super) fn is_alias(name: &str) -> bool {
    name.starts_with(ALIAS)
}

/// The name by which the columns of one relation are told from others.
fn relation_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::TableFunction { alias: Some(alias), .. }
        | TableFactor::NestedJoin { alias: Some(alias), .. } => Some(normalized(&alias.name)),
        TableFactor::Table { name, .. } => parts(name).pop(),
        _ => None,
    }
}

/// All of them below some items of a `FROM`.
fn relation_names(from: &[TableWithJoins]) -> HashSet<String> {
    let factors = from.iter().flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)));
    let mut names = HashSet::new();
    for factor in factors {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias } if alias.as_ref().is_none_or(is_ours) => {
                names.extend(relation_names(std::slice::from_ref(table_with_joins.as_ref())));
            }
            factor => names.extend(relation_name(factor)),
        }
    }
    names
}

/// Gives columns of their own relations the names that [`JoinUsing`] keeps them under.
struct OwnColumns<'a> {
    keys: &'a HashSet<Key>,
    /// Those of them that there are at a place within a `FROM`; all of them elsewhere.
    made: Option<HashSet<Key>>,
    named: HashSet<Key>,
    /// Relations that subqueries have under the same names, one set for each query or `SELECT` around a place.
    hidden: Vec<HashSet<String>>,
}

impl<'a> OwnColumns<'a> {
    fn new(keys: &'a HashSet<Key>) -> Self {
        Self { keys, made: None, named: HashSet::new(), hidden: Vec::new() }
    }

    fn visit_parts(&mut self, select: &mut Select, order_by: Option<&mut OrderBy>) -> ControlFlow<()> {
        select.projection.visit(self)?;
        for item in &mut select.from {
            self.visit_joins(item)?;
        }
        select.selection.visit(self)?;
        select.group_by.visit(self)?;
        select.having.visit(self)?;
        select.named_window.visit(self)?;
        select.qualify.visit(self)?;
        select.distinct.visit(self)?;
        match order_by {
            Some(order_by) => order_by.visit(self),
            None => ControlFlow::Continue(()),
        }
    }

    /// Visits what stands between relations, where only the keys are known of the joins before it; gives those of all.
    fn visit_joins(&mut self, item: &mut TableWithJoins) -> ControlFlow<(), HashSet<Key>> {
        let mut made = self.visit_relation(&mut item.relation)?;
        for join in &mut item.joins {
            let outside = self.made.replace(made.clone());
            made.extend(self.visit_relation(&mut join.relation)?);
            self.made = Some(made.clone());
            join.join_operator.visit(self)?;
            self.made = outside;
        }
        ControlFlow::Continue(made)
    }

    fn visit_relation(&mut self, factor: &mut TableFactor) -> ControlFlow<(), HashSet<Key>> {
        let TableFactor::NestedJoin { table_with_joins, alias } = factor else {
            factor.visit(self)?;
            return ControlFlow::Continue(HashSet::new());
        };
        if alias.as_ref().is_some_and(|alias| !is_ours(alias)) {
            return ControlFlow::Continue(HashSet::new());
        }
        let mut made = self.visit_joins(table_with_joins)?;
        if alias.is_some()
            && let [join] = table_with_joins.joins.as_mut_slice()
            && let Some(JoinConstraint::Using(columns)) = constraint_mut(&mut join.join_operator)
        {
            let keys: Vec<String> = columns.iter().filter_map(|column| parts(column).into_iter().next()).collect();
            for relation in relation_names(std::slice::from_ref(table_with_joins.as_ref())) {
                made.extend(keys.iter().map(|key| (relation.clone(), key.clone())));
            }
        }
        ControlFlow::Continue(made)
    }
}

impl VisitorMut for OwnColumns<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.hidden.push(match query.body.as_ref() {
            SetExpr::Select(select) => relation_names(&select.from),
            _ => HashSet::new(),
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.hidden.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.hidden.push(relation_names(&select.from));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &mut Select) -> ControlFlow<()> {
        self.hidden.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::CompoundIdentifier(parts) = expression else { return ControlFlow::Continue(()) };
        for place in 1..parts.len() {
            let key = (normalized(&parts[place - 1]), normalized(&parts[place]));
            let is_made = self.keys.contains(&key) && self.made.as_ref().is_none_or(|made| made.contains(&key));
            if is_made && !self.hidden.iter().any(|names| names.contains(&key.0)) {
                parts[place] = Ident { value: own_name(&key.0, &key.1), quote_style: Some('"'), span: parts[place].span };
                self.named.insert(key);
                break;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Tells the joins of an item which columns of their own relations are named: these stand behind each key.
fn keep(item: &mut TableWithJoins, named: &HashSet<Key>) {
    let factors = std::iter::once(&mut item.relation).chain(item.joins.iter_mut().map(|join| &mut join.relation));
    for factor in factors {
        let TableFactor::NestedJoin { table_with_joins, alias } = factor else { continue };
        if alias.as_ref().is_some_and(is_ours)
            && let [join] = table_with_joins.joins.as_mut_slice()
            && let Some(JoinConstraint::Using(columns)) = constraint_mut(&mut join.join_operator)
        {
            for column in columns {
                let Some(key) = parts(column).into_iter().next() else { continue };
                let mut owners: Vec<&str> = named.iter().filter(|(_, other)| *other == key).map(|(owner, _)| owner.as_str()).collect();
                owners.sort_unstable();
                *column = quoted(std::iter::once(key.as_str()).chain(owners), span(column));
            }
        }
        if alias.as_ref().is_none_or(is_ours) {
            keep(table_with_joins, named);
        }
    }
}

/// Takes kept columns out of `*`, and lets `t.k` be called `k` where nothing else is.
fn name_items(select: &mut Select, named: &HashSet<Key>) {
    let mut kept: Vec<&Key> = named.iter().collect();
    kept.sort_unstable();
    let own = |(relation, key): &&Key| own_name(relation, key);
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut stars = false;
    for item in &mut select.projection {
        match item {
            SelectItem::Wildcard(options) => {
                stars = true;
                *options = excluding(std::mem::take(options), kept.iter().map(own));
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                stars = true;
                let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else { continue };
                let relation = parts(name).pop();
                let of_relation = kept.iter().filter(|(owner, _)| Some(owner) == relation.as_ref());
                *options = excluding(std::mem::take(options), of_relation.map(own));
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name)) | SelectItem::ExprWithAlias { alias: name, .. } => {
                *counts.entry(normalized(name)).or_default() += 1;
            }
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
                if let Some(name) = parts.last() {
                    *counts.entry(output_name(&normalized(name)).to_owned()).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) = &*item else { continue };
        let Some(last) = parts.last().filter(|last| last.value.contains(MARK)) else { continue };
        let name = output_name(&last.value).to_owned();
        if !stars && counts.get(&name) == Some(&1) {
            *item = SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(parts.clone()), alias: Ident::with_quote('"', name) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    /// The statement with marks that can be seen. Tables `a` and `b` are known, others are not.
    fn apart(sql: &str) -> String {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        let mut statement = Statement::Query(query);
        let columns = |name: &ObjectName| match name.to_string().as_str() {
            "a" => Some(vec!["x".to_owned(), "k".to_owned()]),
            "b" => Some(vec!["k".to_owned(), "y".to_owned()]),
            _ => None,
        };
        set_apart(&mut statement, columns);
        statement.to_string().replace(MARK, "!")
    }

    #[test]
    fn joins_by_name_are_relations_of_their_own() {
        assert_eq!(apart("SELECT k FROM a JOIN b USING (k)"), r#"SELECT k FROM (a JOIN b USING("k")) AS "join using 1""#);
        assert_eq!(
            apart("SELECT * FROM a JOIN b USING (k) LEFT JOIN c USING (k) JOIN d ON d.k = c.z"),
            r#"SELECT * FROM ((a JOIN b USING("k")) AS "join using 1" LEFT JOIN c USING("k")) AS "join using 2" JOIN d ON d.k = c.z"#
        );
        assert_eq!(apart("SELECT k FROM a NATURAL JOIN b"), r#"SELECT k FROM (a JOIN b USING("k")) AS "join using 1""#);
        assert_eq!(apart("SELECT x FROM a JOIN b ON a.k = b.k"), "SELECT x FROM a JOIN b ON a.k = b.k");
    }

    #[test]
    fn columns_of_one_side_are_kept_where_they_are_named() {
        assert_eq!(
            apart("SELECT b.k, x FROM a LEFT JOIN b USING (k) WHERE b.k IS NULL ORDER BY b.k"),
            r#"SELECT b."k!b" AS "k", x FROM (a LEFT JOIN b USING("k"."b")) AS "join using 1" WHERE b."k!b" IS NULL ORDER BY b."k!b""#
        );
        assert_eq!(
            apart("SELECT * FROM a LEFT JOIN b USING (k) WHERE b.k IS NULL"),
            r#"SELECT * EXCLUDE ("k!b") FROM (a LEFT JOIN b USING("k"."b")) AS "join using 1" WHERE b."k!b" IS NULL"#
        );
        assert_eq!(apart("SELECT a.*, b.k FROM a JOIN b USING (k)"), r#"SELECT a.*, b."k!b" FROM (a JOIN b USING("k"."b")) AS "join using 1""#);
        assert_eq!(
            apart("SELECT c.* FROM a JOIN c USING (k) ORDER BY c.k"),
            r#"SELECT c.* EXCLUDE ("k!c") FROM (a JOIN c USING("k"."c")) AS "join using 1" ORDER BY c."k!c""#
        );
    }

    #[test]
    fn subqueries_have_relations_of_their_own() {
        assert_eq!(
            apart("SELECT x FROM a JOIN b USING (k) WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.k)"),
            r#"SELECT x FROM (a JOIN b USING("k"."a")) AS "join using 1" WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a."k!a")"#
        );
    }
}
