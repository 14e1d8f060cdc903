//! `(e).*`, `t.r.*` and `t.* AS (a, b)` in `SELECT`: the fields of a row, and the columns of a relation under other names. DataFusion has neither. What they stand for is known
//! when what they are of is planned: each is found, a query for it alone is planned, and its columns take its place.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, ObjectName, Query, RenameSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, Subscript,
    Value, VisitMut, VisitorMut, WildcardAdditionalOptions, With,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use nunatak_core::{Code, Error, Result};

use super::names::parts;
use super::parse::is_word;
use super::rewrite::closing;
use super::select_items::{is_unnamed, output_name, relation_names};
use crate::type_name::type_name;

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
pub(super) fn probe(statement: &mut Statement) -> Option<Statement> {
    // As in most statements.
    if !has_stars(statement) {
        return None;
    }
    let mut stars = Stars { withs: Vec::new(), columns: None, probe: None, outcome: Ok(()) };
    let _: ControlFlow<()> = statement.visit(&mut stars);
    stars.probe.map(|query| Statement::Query(Box::new(query)))
}

/// Puts what that query gives in its place.
///
/// Errors: `TYPE_MISMATCH` for what is no row, `MISMATCHED_COLUMN_ALIASES` for another number of names.
pub(super) fn expand(statement: &mut Statement, columns: &DFSchema) -> Result<()> {
    let mut stars = Stars { withs: Vec::new(), columns: Some(columns), probe: None, outcome: Ok(()) };
    let _: ControlFlow<()> = statement.visit(&mut stars);
    stars.outcome
}

fn has_stars(part: &mut impl VisitMut) -> bool {
    part.visit(&mut Finder).is_break()
}

/// Ends where such a star is.
struct Finder;

impl VisitorMut for Finder {
    type Break = ();

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if first_star(select).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

struct Stars<'a> {
    /// What `WITH` gives around where this is.
    withs: Vec<Option<With>>,
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

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let Some(place) = first_star(select) else { return ControlFlow::Continue(()) };
        match self.columns {
            None => self.probe = Some(query_for(select, place, &self.withs)),
            Some(columns) => match items_for(&select.projection[place], &relations_of(select), columns) {
                Ok(items) => drop(select.projection.splice(place..=place, items)),
                Err(error) => self.outcome = Err(error),
            },
        }
        ControlFlow::Break(())
    }
}

fn first_star(select: &Select) -> Option<usize> {
    let has_star = |item: &SelectItem| matches!(item, SelectItem::QualifiedWildcard(..));
    if !select.projection.iter().any(has_star) {
        return None;
    }
    let relations = relations_of(select);
    select.projection.iter().position(|item| match item {
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => true,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
            options.opt_rename.is_some() || is_column(name, &relations)
        }
        _ => false,
    })
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
fn query_for(select: &Select, place: usize, withs: &[Option<With>]) -> Query {
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
    Query {
        with: known(withs),
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// The queries that have names here: of each list those before the first one that has such a star itself.
fn known(withs: &[Option<With>]) -> Option<With> {
    let mut all: Option<With> = None;
    for with in withs.iter().flatten() {
        let queries = with.cte_tables.iter().take_while(|named| !has_stars(&mut named.query.clone())).cloned();
        let whole = all.get_or_insert_with(|| With { cte_tables: Vec::new(), ..with.clone() });
        whole.recursive |= with.recursive;
        whole.cte_tables.extend(queries);
    }
    all.filter(|with| !with.cte_tables.is_empty())
}

/// The columns in the place of an item.
fn items_for(item: &SelectItem, relations: &HashSet<String>, columns: &DFSchema) -> Result<Vec<SelectItem>> {
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
        ] {
            assert_eq!(probe(&mut parsed(sql)).map(|query| query.to_string()).as_deref(), Some(expected), "{sql}");
        }
        for sql in ["SELECT t.* FROM t", "SELECT s.t.* FROM s.t", "SELECT *, count(*) AS b FROM t"] {
            assert_eq!(probe(&mut parsed(sql)), None, "{sql}");
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
            expand(&mut statement, &row).unwrap();
            assert_eq!(statement.to_string(), expected);
        }
        assert_eq!(expand(&mut parsed("SELECT f(a).* AS (p) FROM t"), &row).unwrap_err().code(), Code::MismatchedColumnAliases);
        assert_eq!(expand(&mut parsed("SELECT t.* RENAME (x AS y) FROM t"), &row).unwrap_err().code(), Code::NotSupported);
        let number = DFSchema::try_from(Schema::new(vec![Field::new(ROW, DataType::Int32, true)])).unwrap();
        assert_eq!(expand(&mut parsed("SELECT (1).*"), &number).unwrap_err().code(), Code::TypeMismatch);
    }
}
