//! `UNION`, `EXCEPT` and `INTERSECT [ALL] CORRESPONDING`: of both queries only the columns that have one name (SQL:2016, 7.17 "query expression"). `sqlparser` has no such word. In the
//! tokens it becomes a part between both that no statement has; which columns there are is known when both queries are planned, and those of both take their places.

use std::ops::ControlFlow;

use datafusion::common::DFSchema;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, Statement, TableFactor, Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut, With,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use nunatak_core::{Code, Error, Result};

use super::parse::{is_word, parse};
use super::query_parts;
use super::select_items::{is_unnamed, output_name};
use super::statement::Statement as Parsed;
use super::values;

/// The value of the part between both.
const MARK: &str = "\u{1}corresponding";

const OPERATIONS: [&str; 3] = ["UNION", "EXCEPT", "INTERSECT"];

/// The tokens with `UNION VALUES (mark) UNION [ALL]` in place of `UNION [ALL] CORRESPONDING`: of operations that are the same, the first one is done first.
pub(super) fn marked(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is = |at: usize, words: &[&str]| words.iter().any(|word| tokens.get(at).is_some_and(|token| is_word(token, word)));
    let starts = (1..tokens.len()).filter(|&at| is(at, &["CORRESPONDING"])).filter_map(|at| {
        let quantified = usize::from(is(at - 1, &["ALL", "DISTINCT"]));
        at.checked_sub(1 + quantified).filter(|&start| is(start, &OPERATIONS)).map(|start| (start, at))
    });
    let starts: Vec<(usize, usize)> = starts.collect();
    let mut tokens = tokens;
    for (start, at) in starts.into_iter().rev() {
        tokens.remove(at);
        let operation = tokens[start].clone();
        let mark = [Token::make_keyword("VALUES"), Token::LParen, Token::SingleQuotedString(MARK.to_owned()), Token::RParen];
        let mark = mark.map(|token| TokenWithSpan { token, span: operation.span });
        drop(tokens.splice(start..start, [operation].into_iter().chain(mark)));
    }
    tokens
}

/// The queries on both sides of the first such operation in a statement, those within others first; `None` if there is none.
///
/// Errors: `MISSING_COLUMN_NAME` for `VALUES`, whose columns have no names.
pub(super) fn probe(statement: &mut Statement) -> Result<Option<[Statement; 2]>> {
    // As in most statements.
    if !has_marks(statement) {
        return Ok(None);
    }
    let mut operations = Operations { withs: Vec::new(), columns: None, sides: None, outcome: Ok(()) };
    let _: ControlFlow<()> = VisitMut::visit(statement, &mut operations);
    operations.outcome?;
    Ok(operations.sides.map(|sides| sides.map(|side| Statement::Query(Box::new(side)))))
}

/// Makes a plain one of that operation, whose sides have these columns.
///
/// Errors: `MISSING_COLUMN_NAME`, `AMBIGUOUS_NAME` for a name that is twice on a side, `MISMATCHED_COLUMN_ALIASES` if no column is on both.
pub(super) fn expand(statement: &mut Statement, left: &DFSchema, right: &DFSchema) -> Result<()> {
    let columns = common(&names(left)?, &names(right)?)?;
    let mut operations = Operations { withs: Vec::new(), columns: Some(columns), sides: None, outcome: Ok(()) };
    let _: ControlFlow<()> = VisitMut::visit(statement, &mut operations);
    operations.outcome
}

/// The names of a column on both sides, which may differ by the case of their letters.
type Pair = (String, String);

/// The columns that are on both sides, as the left one has them.
fn common(left: &[String], right: &[String]) -> Result<Vec<Pair>> {
    let same = |name: &String| right.iter().find(|other| other.to_lowercase() == name.to_lowercase());
    let columns: Vec<Pair> = left.iter().filter_map(|name| same(name).map(|other| (name.clone(), other.clone()))).collect();
    if columns.is_empty() {
        let error = Error::new(Code::MismatchedColumnAliases, "no column of one side of CORRESPONDING has the name of one on the other side");
        return Err(error.with_hint("give columns the same names by AS"));
    }
    Ok(columns)
}

/// The names of all columns of a side.
fn names(columns: &DFSchema) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::with_capacity(columns.fields().len());
    for (place, field) in columns.fields().iter().enumerate() {
        if is_unnamed(field.name()) {
            return Err(unnamed(place));
        }
        let name = output_name(field.name());
        if names.iter().any(|other| other.to_lowercase() == name.to_lowercase()) {
            return Err(Error::new(Code::AmbiguousName, format!("there are several columns '{name}' on one side of CORRESPONDING"))
                .with_hint("give them different names by AS"));
        }
        names.push(field.name().clone());
    }
    Ok(names)
}

fn unnamed(place: usize) -> Error {
    Error::new(Code::MissingColumnName, format!("column {} on one side of CORRESPONDING has no name", place + 1)).with_hint("give it one by AS")
}

fn has_marks(part: &impl Visit) -> bool {
    part.visit(&mut Finder).is_break()
}

/// Ends where such an operation is.
struct Finder;

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if is_mark(expression) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn is_mark(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) if text == MARK)
}

struct Operations {
    /// What `WITH` gives around where this is.
    withs: Vec<Option<With>>,
    columns: Option<Vec<Pair>>,
    sides: Option<[Query; 2]>,
    outcome: Result<()>,
}

impl VisitorMut for Operations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        self.withs.push(query.with.clone());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let done = self.do_first(&mut query.body);
        self.withs.pop();
        if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Operations {
    /// Does the first operation of a body, if there is one. Queries within are visited by themselves.
    fn do_first(&mut self, body: &mut SetExpr) -> bool {
        let SetExpr::SetOperation { left, right, .. } = body else { return false };
        if !is_marked(left) {
            return self.do_first(left) || self.do_first(right);
        }
        let SetExpr::SetOperation { left: first, .. } = left.as_mut() else { return false };
        // Those on its sides come before it.
        if self.do_first(first) || self.do_first(right) {
            return true;
        }
        self.outcome = match &self.columns {
            None if values::width(first).is_some() || values::width(right).is_some() => Err(unnamed(0)),
            None => {
                self.sides = Some([self.query_for(first), self.query_for(right)]);
                Ok(())
            }
            Some(columns) => sides(first, right, columns).map(|(first, second)| {
                **left = first;
                **right = second;
            }),
        };
        true
    }

    fn query_for(&self, side: &SetExpr) -> Query {
        Query { with: query_parts::known(&self.withs, has_marks), ..query_parts::plain(side.clone()) }
    }
}

/// Whether this is the left side of such an operation, with its mark.
fn is_marked(body: &SetExpr) -> bool {
    match body {
        SetExpr::SetOperation { right, .. } => match right.as_ref() {
            SetExpr::Values(values) => matches!(values.rows.as_slice(), [row] if matches!(row.content.as_slice(), [value] if is_mark(value))),
            _ => false,
        },
        _ => false,
    }
}

/// Both sides with these columns alone.
fn sides(left: &SetExpr, right: &SetExpr, columns: &[Pair]) -> Result<(SetExpr, SetExpr)> {
    let left = selected(left, columns.iter().map(|(name, _)| name))?;
    Ok((left, selected(right, columns.iter().map(|(_, name)| name))?))
}

fn selected<'a>(side: &SetExpr, columns: impl Iterator<Item = &'a String>) -> Result<SetExpr> {
    let wrong = || Error::internal("a query was parsed as something else");
    let Parsed::Query(query) = parse("SELECT * FROM (SELECT 1) AS side")? else { return Err(wrong()) };
    let SetExpr::Select(mut select) = *query.body else { return Err(wrong()) };
    let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|item| &mut item.relation) else { return Err(wrong()) };
    **subquery = query_parts::plain(side.clone());
    select.projection = columns.map(|name| SelectItem::UnnamedExpr(Expr::Identifier(Ident::with_quote('"', name)))).collect();
    Ok(SetExpr::Select(select))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn parsed(sql: &str) -> Statement {
        let Ok(Parsed::Query(query)) = parse(sql) else { panic!("{sql} is not a query") };
        Statement::Query(query)
    }

    fn columns(names: &[&str]) -> DFSchema {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Int32, true)).collect();
        DFSchema::try_from(Schema::new(fields)).unwrap()
    }

    #[test]
    fn both_sides_are_asked_for() {
        for (sql, left, right) in [
            ("SELECT a FROM t UNION ALL CORRESPONDING SELECT b FROM u", "SELECT a FROM t", "SELECT b FROM u"),
            (
                "WITH w AS (SELECT 1 AS a) SELECT * FROM v EXCEPT CORRESPONDING (TABLE w LIMIT 1) ORDER BY a",
                "WITH w AS (SELECT 1 AS a) SELECT * FROM v",
                "WITH w AS (SELECT 1 AS a) (SELECT * FROM w LIMIT 1)",
            ),
            ("SELECT 1 UNION SELECT a FROM t INTERSECT CORRESPONDING SELECT b FROM u", "SELECT a FROM t", "SELECT b FROM u"),
            ("SELECT a FROM t UNION CORRESPONDING SELECT b FROM u INTERSECT SELECT 1", "SELECT a FROM t", "SELECT b FROM u INTERSECT SELECT 1"),
        ] {
            let sides = probe(&mut parsed(sql)).unwrap().map(|sides| sides.map(|side| side.to_string()));
            assert_eq!(sides, Some([left.to_owned(), right.to_owned()]), "{sql}");
        }
        assert!(probe(&mut parsed("SELECT corresponding FROM t UNION SELECT 1")).unwrap().is_none());
        assert_eq!(probe(&mut parsed("VALUES 1 UNION CORRESPONDING SELECT 1 AS x")).err().map(|error| error.code()), Some(Code::MissingColumnName));
    }

    #[test]
    fn columns_of_one_name_are_left() {
        let mut statement = parsed("SELECT * FROM t UNION ALL CORRESPONDING SELECT * FROM u ORDER BY a");
        expand(&mut statement, &columns(&["a", "b", "c"]), &columns(&["c", "d", "A"])).unwrap();
        assert_eq!(
            statement.to_string(),
            r#"SELECT "a", "c" FROM (SELECT * FROM t) AS side UNION ALL SELECT "A", "c" FROM (SELECT * FROM u) AS side ORDER BY a"#
        );
        for (left, right, code) in [
            (["a", "A"], ["a", "b"], Code::AmbiguousName),
            (["a", "b"], ["c", "d"], Code::MismatchedColumnAliases),
            (["a", "b"], ["a", "\u{1}_col1"], Code::MissingColumnName),
        ] {
            let mut statement = parsed("SELECT * FROM t UNION CORRESPONDING SELECT * FROM u");
            assert_eq!(expand(&mut statement, &columns(&left), &columns(&right)).unwrap_err().code(), code);
        }
    }
}
