//! `(e).*`, `t.r.*` and `t.* AS (a, b)` in `SELECT`: the fields of a row, and the columns of a relation under other names; and `t.*` of a relation of a query around. DataFusion
//! has none of them. What they stand for is known when what they are of is planned: each is found, a query for it alone is planned, and its columns take its place. So do those of
//! `SELECT *, a`, if DataFusion takes none that is there twice.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchema, TableReference};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, GroupByExpr, Ident, ObjectName, Query, RenameSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    Statement, Subscript, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut, WildcardAdditionalOptions, With,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use nunatak_core::{Code, Error, Result};

use super::join_using::is_alias;
use super::names::parts;
use super::parse::is_word;
use super::query_parts;
use super::rewrite::closing;
use super::select_items::{MARK, is_unnamed, output_name, relation_names};
use crate::type_name::type_name;

/// Which stars are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Those that DataFusion does not have.
    Rows,
    /// Those with others beside them, too.
    Beside,
}

/// The name of the row that is asked for.
const ROW: &str = "row";

/// The tokens with `.* RENAME (a AS a, b AS b)`, which `sqlparser` reads, in place of `.* AS (a, b)`.
pub(super) fn with_names(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let names = |at: usize| {
        let is_star = tokens[at].token == Token::Mul && at.checked_sub(1).is_some_and(|before| tokens[before].token == Token::Period);
        let end = if is_star && is_word(tokens.get(at + 1)?, "AS") { closing(&tokens, at + 2)? } else { return None };
        let is_name = |token: &TokenWithSpan| matches!(token.token, Token::Word(_) | Token::Comma);
        tokens[at + 3..end].iter().all(is_name).then_some(end)
    };
    let places: Vec<(usize, usize)> = (0..tokens.len()).filter_map(|at| names(at).map(|end| (at + 1, end))).collect();
    let mut tokens = tokens;
    for (start, end) in places.into_iter().rev() {
        let mut out = Vec::with_capacity(3 * (end - start));
        for token in &tokens[start + 2..end] {
            out.push(token.clone());
            if token.token != Token::Comma {
                out.extend([TokenWithSpan { token: Token::make_keyword("AS"), span: token.span }, token.clone()]);
            }
        }
        tokens[start].token = Token::make_keyword("RENAME");
        drop(tokens.splice(start + 2..end, out));
    }
    tokens
}

/// A query whose columns say what the first of them in a statement stands for; `None` if there is none. Those within others come first.
pub(super) fn probe(statement: &mut Statement, wanted: Wanted) -> Option<Statement> {
    // As in most statements.
    if !has_stars(statement, wanted) {
        return None;
    }
    let mut stars = Stars { wanted, withs: Vec::new(), around: Vec::new(), columns: None, probe: None, outcome: Ok(()) };
    let _: ControlFlow<()> = statement.visit(&mut stars);
    stars.probe.map(|query| Statement::Query(Box::new(query)))
}

/// Puts what that query gives in its place.
///
/// Errors: `TYPE_MISMATCH` for what is no row, `MISMATCHED_COLUMN_ALIASES` for another number of names, `AMBIGUOUS_NAME` for columns that cannot be named.
pub(super) fn expand(statement: &mut Statement, columns: &DFSchema, wanted: Wanted) -> Result<()> {
    let mut stars = Stars { wanted, withs: Vec::new(), around: Vec::new(), columns: Some(columns), probe: None, outcome: Ok(()) };
    let _: ControlFlow<()> = statement.visit(&mut stars);
    stars.outcome
}

/// Whether there is one of them.
pub(super) fn has_stars(part: &mut impl VisitMut, wanted: Wanted) -> bool {
    part.visit(&mut AnyStars).is_break() && part.visit(&mut Finder { wanted, around: Vec::new() }).is_break()
}

/// Ends where any star is.
struct AnyStars;

impl VisitorMut for AnyStars {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if select.projection.iter().any(is_star) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn is_star(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..))
}

/// Ends where such a star is.
struct Finder {
    wanted: Wanted,
    around: Vec<Vec<TableWithJoins>>,
}

impl VisitorMut for Finder {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.around.push(select.from.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.around.pop();
        if first_star(select, self.wanted, &self.around).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

struct Stars<'a> {
    wanted: Wanted,
    /// What `WITH` gives around where this is.
    withs: Vec<Option<With>>,
    /// What the queries around read, the outermost first.
    around: Vec<Vec<TableWithJoins>>,
    columns: Option<&'a DFSchema>,
    probe: Option<Query>,
    outcome: Result<()>,
}

impl VisitorMut for Stars<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.withs.push(query.with.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.withs.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.around.push(select.from.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        self.around.pop();
        let Some(place) = first_star(select, self.wanted, &self.around) else { return ControlFlow::Continue(()) };
        match self.columns {
            None => {
                let mut asked = select.clone();
                if let Some(relation) = relation_around(&select.projection[place], &relations_of(select), &self.around) {
                    asked.from = vec![TableWithJoins { relation: relation.clone(), joins: Vec::new() }];
                    asked.selection = None;
                    asked.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
                    asked.having = None;
                }
                self.probe = Some(query_for(&asked, place, &self.withs, self.wanted));
            }
            Some(columns) => match items_for(&select.projection[place], &relations_of(select), columns) {
                Ok(items) => drop(select.projection.splice(place..=place, items)),
                Err(error) => self.outcome = Err(error),
            },
        }
        ControlFlow::Break(())
    }
}

fn first_star(select: &Select, wanted: Wanted, around: &[Vec<TableWithJoins>]) -> Option<usize> {
    if wanted == Wanted::Beside && select.projection.len() > 1 {
        return select.projection.iter().position(is_star);
    }
    let has_star = |item: &SelectItem| matches!(item, SelectItem::QualifiedWildcard(..));
    if !select.projection.iter().any(has_star) {
        return None;
    }
    let relations = relations_of(select);
    select.projection.iter().position(|item| match item {
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => true,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
            options.opt_rename.is_some() || is_column(name, &relations) || relation_around(item, &relations, around).is_some()
        }
        _ => false,
    })
}

/// The relation of a query around that a star is of, if none of these relations is.
fn relation_around<'a>(item: &SelectItem, relations: &HashSet<String>, around: &'a [Vec<TableWithJoins>]) -> Option<&'a TableFactor> {
    let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item else { return None };
    let last = parts(name).pop().filter(|last| !relations.contains(last) && !is_column(name, relations))?;
    let factors = around.iter().rev().flatten().flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)));
    let is_it = |factor: &&TableFactor| {
        let alone = TableWithJoins { relation: (*factor).clone(), joins: Vec::new() };
        relation_names(&alone).any(|name| name == last)
    };
    factors.into_iter().find(is_it)
}

/// Whether a name is that of a column of one of these relations.
fn is_column(name: &ObjectName, relations: &HashSet<String>) -> bool {
    match parts(name).split_last() {
        Some((last, others)) => !relations.contains(last) && others.iter().any(|other| relations.contains(other)),
        None => false,
    }
}

/// The row whose fields an item stands for; `None` if it is of a relation.
fn row_of(item: &SelectItem, relations: &HashSet<String>) -> Option<Expr> {
    match item {
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(row), _) => Some(row.clone()),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) if is_column(name, relations) => {
            Some(Expr::CompoundIdentifier(identifiers(name)))
        }
        _ => None,
    }
}

fn relations_of(select: &Select) -> HashSet<String> {
    select.from.iter().flat_map(relation_names).collect()
}

/// The query for what one item is of.
fn query_for(select: &Select, place: usize, withs: &[Option<With>], wanted: Wanted) -> Query {
    let mut select = select.clone();
    let item = select.projection.swap_remove(place);
    let item = match (row_of(&item, &relations_of(&select)), item) {
        (Some(expr), _) => SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', ROW) },
        (None, SelectItem::QualifiedWildcard(kind, options)) => {
            SelectItem::QualifiedWildcard(kind, WildcardAdditionalOptions { opt_rename: None, ..options })
        }
        (None, other) => other,
    };
    select.projection = vec![item];
    select.distinct = None;
    let with = query_parts::known(withs, |query| has_stars(&mut query.clone(), wanted));
    Query { with, ..query_parts::plain(SetExpr::Select(Box::new(select))) }
}

/// The columns in the place of an item.
fn items_for(item: &SelectItem, relations: &HashSet<String>, columns: &DFSchema) -> Result<Vec<SelectItem>> {
    if let SelectItem::Wildcard(options) = item
        && options.to_string().is_empty()
    {
        return all_columns(columns);
    }
    let SelectItem::QualifiedWildcard(kind, options) = item else { return Ok(vec![item.clone()]) };
    if options.opt_exclude.is_some() || options.opt_except.is_some() || options.opt_replace.is_some() {
        return Err(Error::not_supported(format!("'{item}' is not supported")).with_hint("name the columns"));
    }
    let renamed = options.opt_rename.as_ref().map(|renamed| match renamed {
        RenameSelectItem::Single(one) => std::slice::from_ref(one),
        RenameSelectItem::Multiple(all) => all.as_slice(),
    });
    // Such as others have, by which single columns get other names.
    if renamed.is_some_and(|names| names.iter().any(|one| one.ident != one.alias)) {
        return Err(Error::not_supported(format!("'{item}' is not supported")).with_hint("name the columns: t.* AS (a, b)"));
    }
    let names = renamed.map(|names| names.iter().map(|one| one.alias.clone()).collect::<Vec<Ident>>());
    let values: Vec<(Expr, Option<Ident>)> = match (row_of(item, relations), kind) {
        (Some(row), _) => fields(&row, columns)?,
        (None, SelectItemQualifiedWildcardKind::ObjectName(name)) => {
            columns.fields().iter().map(|field| (column_of(name, field.name()), own_name(field.name()))).collect()
        }
        (None, SelectItemQualifiedWildcardKind::Expr(_)) => Vec::new(),
    };
    if let Some(names) = names.as_ref().filter(|names| names.len() != values.len()) {
        let message = format!("there are {} names for the {} columns of '{item}'", names.len(), values.len());
        return Err(Error::new(Code::MismatchedColumnAliases, message));
    }
    let named = values.into_iter().enumerate().map(|(place, (expr, own))| match names.as_ref().and_then(|names| names.get(place)).cloned().or(own) {
        Some(alias) => SelectItem::ExprWithAlias { expr, alias },
        None => SelectItem::UnnamedExpr(expr),
    });
    Ok(named.collect())
}

/// All columns of a `FROM`.
fn all_columns(columns: &DFSchema) -> Result<Vec<SelectItem>> {
    let is_single = |name: &str| columns.fields().iter().filter(|field| field.name() == name).count() == 1;
    let item = |(place, (relation, field)): (usize, (Option<&TableReference>, &FieldRef))| {
        let name = field.name();
        let column = Ident::with_quote('"', name);
        let expr = match relation.filter(|relation| !relation.table().starts_with(MARK) && !is_alias(relation.table())) {
            Some(relation) => {
                let parts = [relation.catalog(), relation.schema(), Some(relation.table())];
                Expr::CompoundIdentifier(parts.into_iter().flatten().map(|part| Ident::with_quote('"', part)).chain([column]).collect())
            }
            None if is_single(name) => Expr::Identifier(column),
            None => return Err(Error::new(Code::AmbiguousName, format!("there are several columns '{}'", output_name(name)))),
        };
        let alias = own_name(name).unwrap_or_else(|| Ident::with_quote('"', format!("{MARK}_col{place}{MARK}all")));
        Ok(SelectItem::ExprWithAlias { expr, alias })
    };
    columns.iter().enumerate().map(item).collect()
}

/// The fields of a row with their names, where they have some.
fn fields(row: &Expr, columns: &DFSchema) -> Result<Vec<(Expr, Option<Ident>)>> {
    let data_type = columns.fields().first().map(|field| field.data_type());
    let Some(DataType::Struct(fields)) = data_type else {
        let found = data_type.map(type_name).unwrap_or_default();
        return Err(Error::new(Code::TypeMismatch, format!("'{row}' is {found} and no row: there are no fields in it")));
    };
    let field = |(place, name): (usize, &String)| {
        let index = Expr::Value(Value::SingleQuotedString(name.clone()).into());
        let access_chain = vec![AccessExpr::Subscript(Subscript::Index { index })];
        let value = Expr::CompoundFieldAccess { root: Box::new(Expr::Nested(Box::new(row.clone()))), access_chain };
        // Those without names are known so.
        let is_named = *name != format!("c{place}");
        (value, is_named.then(|| Ident::with_quote('"', name)))
    };
    Ok(fields.iter().map(|field| field.name()).enumerate().map(field).collect())
}

fn identifiers(name: &ObjectName) -> Vec<Ident> {
    name.0.iter().filter_map(|part| part.as_ident().cloned()).collect()
}

fn column_of(relation: &ObjectName, column: &str) -> Expr {
    let mut names = identifiers(relation);
    names.push(Ident::with_quote('"', column));
    Expr::CompoundIdentifier(names)
}

fn own_name(column: &str) -> Option<Ident> {
    (!is_unnamed(column)).then(|| Ident::with_quote('"', output_name(column)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use datafusion::arrow::datatypes::{Field, Fields, Schema};

    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    fn parsed(sql: &str) -> Statement {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        Statement::Query(query)
    }

    #[test]
    fn rows_are_asked_for() {
        for (sql, expected) in [
            ("WITH w AS (SELECT 1 AS a) SELECT a, (f(a)).* FROM w ORDER BY a", r#"WITH w AS (SELECT 1 AS a) SELECT (f(a)) AS "row" FROM w"#),
            ("SELECT t.r.*, 1 FROM s.t WHERE a", r#"SELECT t.r AS "row" FROM s.t WHERE a"#),
            ("SELECT * FROM (SELECT t.* AS (a, b) FROM t)", "SELECT t.* FROM t"),
            ("WITH w AS (SELECT ROW(1).*) SELECT (a).* FROM w", r#"SELECT ROW(1) AS "row""#),
            ("SELECT (SELECT t.* FROM u WHERE u.k > 1) FROM s.t JOIN v ON t.a = v.a", "SELECT t.* FROM s.t"),
            ("SELECT 1 FROM (SELECT 2) AS t (a), LATERAL (SELECT t.*)", "SELECT t.* FROM (SELECT 2) AS t (a)"),
        ] {
            assert_eq!(probe(&mut parsed(sql), Wanted::Rows).map(|query| query.to_string()).as_deref(), Some(expected), "{sql}");
        }
        for sql in [
            "SELECT t.* FROM t",
            "SELECT (SELECT t.* FROM t) FROM t",
            "SELECT (SELECT u.* FROM t) FROM t",
            "SELECT s.t.* FROM s.t",
            "SELECT *, count(*) AS b FROM t",
        ] {
            assert_eq!(probe(&mut parsed(sql), Wanted::Rows), None, "{sql}");
        }
    }

    #[test]
    fn rows_become_columns() {
        let fields = Fields::from(vec![Field::new("c0", DataType::Int32, true), Field::new("x", DataType::Utf8, true)]);
        let row = DFSchema::try_from(Schema::new(vec![Field::new(ROW, DataType::Struct(fields), true)])).unwrap();
        for (sql, expected) in [
            ("SELECT 1, f(a).* FROM t", r#"SELECT 1, (f(a))['c0'], (f(a))['x'] AS "x" FROM t"#),
            ("SELECT t.r.* AS (p, q) FROM t", "SELECT (t.r)['c0'] AS p, (t.r)['x'] AS q FROM t"),
        ] {
            let mut statement = parsed(sql);
            expand(&mut statement, &row, Wanted::Rows).unwrap();
            assert_eq!(statement.to_string(), expected);
        }
        assert_eq!(expand(&mut parsed("SELECT f(a).* AS (p) FROM t"), &row, Wanted::Rows).unwrap_err().code(), Code::MismatchedColumnAliases);
        assert_eq!(expand(&mut parsed("SELECT t.* RENAME (x AS y) FROM t"), &row, Wanted::Rows).unwrap_err().code(), Code::NotSupported);
        let number = DFSchema::try_from(Schema::new(vec![Field::new(ROW, DataType::Int32, true)])).unwrap();
        assert_eq!(expand(&mut parsed("SELECT (1).*"), &number, Wanted::Rows).unwrap_err().code(), Code::TypeMismatch);
    }

    #[test]
    fn stars_beside_others_become_columns() {
        let mut statement = parsed("SELECT *, x FROM t CROSS JOIN u");
        let probed = probe(&mut statement, Wanted::Beside).map(|query| query.to_string());
        assert_eq!(probed.as_deref(), Some("SELECT * FROM t CROSS JOIN u"));
        let field = |name: &str| Arc::new(Field::new(name, DataType::Int32, true));
        let fields = vec![(Some(TableReference::partial("s", "t")), field("x")), (None, field("y")), (None, field("\u{1}_col1"))];
        expand(&mut statement, &DFSchema::new_with_metadata(fields, HashMap::new()).unwrap(), Wanted::Beside).unwrap();
        let expected = r#"SELECT "s"."t"."x" AS "x", "y" AS "y", "!_col1" AS "!_col2!all", x FROM t CROSS JOIN u"#;
        assert_eq!(statement.to_string().replace(MARK, "!"), expected);
        assert_eq!(probe(&mut parsed("SELECT * FROM (SELECT x FROM t)"), Wanted::Beside), None);
    }
}
