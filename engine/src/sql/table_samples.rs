//! `TABLESAMPLE BERNOULLI (10)` and `TABLESAMPLE SYSTEM (10)`, as queries for rows that are picked at random, each by itself: of the two, `SYSTEM` may pick as it likes.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, ObjectNamePart, Query, SetExpr, Statement, TableAlias, TableFactor, TableSample, TableSampleKind, TableSampleMethod,
    UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use nunatak_core::{Code, Error, Result};

use super::dialect::TrinoDialect;
use super::parse::is_word;
use super::rewrite::{closing, select_all_from};

/// Replaces all of them.
///
/// Errors: `NUMERIC_VALUE_OUT_OF_RANGE` for more than all rows, `NOT_SUPPORTED` for what other dialects say of samples.
pub(super) fn take_out(statement: &mut Statement) -> Result<()> {
    match statement.visit(&mut Sampler) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// `UNNEST(a) AS t (x) TABLESAMPLE ...` becomes `(SELECT * FROM UNNEST(a) AS t (x)) AS t TABLESAMPLE ...`: `sqlparser` takes a sample of tables and queries only. As in
/// Trino it sees no columns of the relations before it then.
pub(super) fn with_sampled_unnests(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut inserts: Vec<(usize, Vec<Token>)> = Vec::new();
    for start in (0..tokens.len()).filter(|&at| is_word(&tokens[at], "UNNEST")) {
        let Some((sample, alias)) = sample_of(&tokens, start) else { continue };
        inserts.push((start, std::iter::once(Token::LParen).chain(select_all_from()).collect()));
        let mut behind = vec![Token::RParen];
        if let Some(alias) = alias {
            behind.extend([Token::make_keyword("AS"), alias.token.clone()]);
        }
        inserts.push((sample, behind));
    }
    inserts.sort_by_key(|(at, _)| *at);
    let mut out = Vec::with_capacity(tokens.len() + 6 * inserts.len());
    let mut inserts = inserts.into_iter().peekable();
    for (at, token) in tokens.into_iter().enumerate() {
        while let Some((_, inserted)) = inserts.next_if(|(place, _)| *place == at) {
            out.extend(inserted.into_iter().map(|inserted| TokenWithSpan { token: inserted, span: token.span }));
        }
        out.push(token);
    }
    out
}

/// Where `TABLESAMPLE` stands behind the `UNNEST` that starts here, and the name between them.
fn sample_of(tokens: &[TokenWithSpan], start: usize) -> Option<(usize, Option<&TokenWithSpan>)> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| is_word(token, word));
    tokens.get(start + 1).filter(|token| token.token == Token::LParen)?;
    let mut at = closing(tokens, start + 1)? + 1;
    if is(at, "WITH") && is(at + 1, "ORDINALITY") {
        at += 2;
    }
    if is(at, "AS") {
        at += 1;
    }
    let mut alias = None;
    if !is(at, "TABLESAMPLE") {
        alias = tokens.get(at).filter(|token| matches!(token.token, Token::Word(_)));
        at += 1;
        if tokens.get(at).is_some_and(|token| token.token == Token::LParen) {
            at = closing(tokens, at)? + 1;
        }
    }
    is(at, "TABLESAMPLE").then_some((at, alias))
}

struct Sampler;

impl VisitorMut for Sampler {
    type Break = Error;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match sampled(factor) {
            Ok(Some(sampled)) => {
                *factor = sampled;
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// What stands for a sample of a relation, whose name it has.
fn sampled(factor: &mut TableFactor) -> Result<Option<TableFactor>> {
    let (sample, alias) = match factor {
        TableFactor::Table { name, alias, sample, .. } if sample.is_some() => (sample.take(), alias.take().or_else(|| named(name))),
        TableFactor::Derived { alias, sample, .. } if sample.is_some() => (sample.take(), alias.take()),
        _ => return Ok(None),
    };
    let Some(TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample else { return Ok(None) };
    let subquery = picked(factor.clone(), share(&sample)?)?;
    Ok(Some(TableFactor::Derived { lateral: false, subquery, alias, sample: None }))
}

/// The last part of a name as an alias.
fn named(name: &ObjectName) -> Option<TableAlias> {
    match name.0.last() {
        Some(ObjectNamePart::Identifier(last)) => Some(TableAlias { explicit: true, name: last.clone(), columns: Vec::new(), at: None }),
        _ => None,
    }
}

/// A query for rows of a relation, each with this probability.
fn picked(relation: TableFactor, share: f64) -> Result<Box<Query>> {
    let text = format!("SELECT * FROM t WHERE random() < {share:e}");
    let query = Parser::new(&TrinoDialect).try_with_sql(&text).and_then(|mut parser| parser.parse_query());
    let mut query = query.map_err(|error| Error::internal(format!("a sample cannot be read: {error}")))?;
    if let SetExpr::Select(select) = query.body.as_mut()
        && let Some(from) = select.from.first_mut()
    {
        from.relation = relation;
    }
    Ok(query)
}

/// The part of all rows that a sample has, between 0 and 1.
fn share(sample: &TableSample) -> Result<f64> {
    let is_plain = matches!(sample.name, Some(TableSampleMethod::Bernoulli | TableSampleMethod::System))
        && sample.seed.is_none()
        && sample.bucket.is_none()
        && sample.offset.is_none();
    let percent = match &sample.quantity {
        Some(quantity) if is_plain && quantity.unit.is_none() => match &quantity.value {
            Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => number.parse::<f64>().ok(),
            _ => None,
        },
        _ => None,
    };
    match (percent, sample.quantity.as_ref().map(|quantity| &quantity.value)) {
        (Some(percent @ 0.0..=100.0), _) => Ok(percent / 100.0),
        (Some(_), _) | (None, Some(Expr::UnaryOp { op: UnaryOperator::Minus, .. })) => {
            Err(Error::new(Code::NumericValueOutOfRange, "a sample has 0 to 100 percent of the rows"))
        }
        (None, Some(Expr::Value(ValueWithSpan { value: Value::Null, .. }))) => {
            Err(Error::new(Code::InvalidArguments, "the percentage of a sample cannot be NULL"))
        }
        (None, Some(Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. }))) => {
            Err(Error::new(Code::TypeMismatch, "the percentage of a sample is a number"))
        }
        (None, Some(Expr::Identifier(_) | Expr::CompoundIdentifier(_))) => {
            Err(Error::new(Code::ExpressionNotConstant, "the percentage of a sample cannot be a column"))
        }
        (None, _) => {
            let error =
                Error::not_supported("TABLESAMPLE is supported as BERNOULLI (percent) and SYSTEM (percent), with a number that is written out");
            Err(error.with_hint("write TABLESAMPLE BERNOULLI (10)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_out(sql: &str) -> Result<String> {
        let mut statement = Parser::new(&TrinoDialect).try_with_sql(sql).unwrap().parse_statement().unwrap();
        take_out(&mut statement).map(|()| statement.to_string())
    }

    #[test]
    fn samples_are_queries() {
        for (sql, expected) in [
            ("SELECT a FROM s.t TABLESAMPLE BERNOULLI (50)", "SELECT a FROM (SELECT * FROM s.t WHERE random() < 5e-1) AS t"),
            ("SELECT a FROM t AS x TABLESAMPLE SYSTEM (100)", "SELECT a FROM (SELECT * FROM t WHERE random() < 1e0) AS x"),
            ("SELECT a FROM t, u", "SELECT a FROM t, u"),
        ] {
            assert_eq!(taken_out(sql).unwrap(), expected);
        }
        for wrong in ["BERNOULLI (101)", "BERNOULLI (-1)", "BERNOULLI (50 ROWS)", "BERNOULLI (a)", "BERNOULLI (NULL)", "BERNOULLI ('5')"] {
            assert!(taken_out(&format!("SELECT a FROM t TABLESAMPLE {wrong}")).is_err(), "{wrong}");
        }
    }
}
