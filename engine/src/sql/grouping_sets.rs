//! `GROUP BY ALL ...` and `GROUP BY DISTINCT ...` (SQL:2016, 7.13 "group by clause"): the latter leaves of equal grouping sets one.

use std::collections::{BTreeSet, HashSet};

use datafusion::sql::sqlparser::ast::{Expr, Function, GroupByExpr, ObjectNamePart, Select, SelectItem, Value, ValueWithSpan};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use nunatak_core::{Code, Error, Result};

use super::names::normalized;
use super::parse::is_word;

/// The call that stands for `DISTINCT` as the first of what is grouped by.
const MARK: &str = "$distinct_sets";

/// The most grouping sets, as in Trino.
const SETS_MAX: usize = 2048;

/// What follows a `GROUP BY` that ends with `ALL`.
const CLAUSES: [&str; 10] = ["HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "UNION", "INTERSECT", "EXCEPT", "WITH"];

/// The tokens without `ALL` before what is grouped by, and with a mark in the place of `DISTINCT`. `GROUP BY ALL` alone stays.
pub(super) fn marked(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token: &TokenWithSpan| is_word(token, word));
    let begins = |at: usize| {
        tokens.get(at).is_some_and(|token| match &token.token {
            Token::Word(_) => !CLAUSES.iter().any(|clause| is_word(token, clause)),
            Token::LParen | Token::Number(..) => true,
            _ => false,
        })
    };
    let starts = (2..tokens.len()).filter(|&at| is(at - 2, "GROUP") && is(at - 1, "BY") && (is(at, "ALL") || is(at, "DISTINCT")) && begins(at + 1));
    let starts: Vec<usize> = starts.collect();
    if starts.is_empty() {
        return tokens;
    }
    let mut out = Vec::with_capacity(tokens.len() + 3 * starts.len());
    for (at, token) in tokens.into_iter().enumerate() {
        if !starts.contains(&at) {
            out.push(token);
        } else if is_word(&token, "DISTINCT") {
            let mark = [Token::make_word(MARK, Some('"')), Token::LParen, Token::RParen, Token::Comma];
            out.extend(mark.map(|mark| TokenWithSpan { token: mark, span: token.span }));
        }
    }
    out
}

/// Makes one list of grouping sets, none of them twice, of what a marked `GROUP BY` says.
///
/// Errors: `TOO_MANY_GROUPING_SETS`.
pub(super) fn adapt(select: &mut Select) -> Result<()> {
    let GroupByExpr::Expressions(items, _) = &mut select.group_by else { return Ok(()) };
    if !items.first().is_some_and(is_mark) {
        return Ok(());
    }
    items.remove(0);
    if !items.iter().any(|item| matches!(item, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_))) {
        return Ok(());
    }
    let mut sets: Vec<Vec<Expr>> = vec![Vec::new()];
    for item in std::mem::take(items) {
        let further = sets_of(item, &select.projection)?;
        if sets.len().saturating_mul(further.len()) > SETS_MAX {
            return Err(too_many());
        }
        sets = sets.iter().flat_map(|set| further.iter().map(move |more| set.iter().chain(more).cloned().collect())).collect();
    }
    items.push(Expr::GroupingSets(distinct(sets)));
    Ok(())
}

/// The sets without those that are there before, and each without columns that it has already.
fn distinct(sets: Vec<Vec<Expr>>) -> Vec<Vec<Expr>> {
    let mut columns: Vec<Expr> = Vec::new();
    let mut known = HashSet::new();
    let mut distinct = Vec::new();
    for set in sets {
        let mut places = BTreeSet::new();
        let mut kept = Vec::with_capacity(set.len());
        for column in set {
            let place = columns.iter().position(|known| is_same(known, &column)).unwrap_or(columns.len());
            if place == columns.len() {
                columns.push(column.clone());
            }
            if places.insert(place) {
                kept.push(column);
            }
        }
        if known.insert(places) {
            distinct.push(kept);
        }
    }
    distinct
}

fn too_many() -> Error {
    Error::new(Code::TooManyGroupingSets, format!("GROUP BY has more than {SETS_MAX} grouping sets"))
}

/// Whether an item stands for `DISTINCT`.
pub(super) fn is_mark(item: &Expr) -> bool {
    matches!(item, Expr::Function(Function { name, .. }) if matches!(name.0.as_slice(), [ObjectNamePart::Identifier(name)] if name.value == MARK))
}

/// The sets that one item stands for. Errors: `TOO_MANY_GROUPING_SETS`.
pub(super) fn sets_of(item: Expr, projection: &[SelectItem]) -> Result<Vec<Vec<Expr>>> {
    Ok(match item {
        Expr::GroupingSets(sets) => sets,
        Expr::Rollup(parts) => (0..=parts.len()).rev().map(|end| parts[..end].concat()).collect(),
        Expr::Cube(parts) => {
            let count = u32::try_from(parts.len()).ok().and_then(|bits| 1_usize.checked_shl(bits)).filter(|count| *count <= SETS_MAX);
            let chosen = |set: usize| parts.iter().enumerate().filter(move |(place, _)| (set >> place) & 1 == 1).flat_map(|(_, part)| part.clone());
            (0..count.ok_or_else(too_many)?).rev().map(|set| chosen(set).collect()).collect()
        }
        Expr::Tuple(columns) => vec![columns],
        Expr::Nested(inner) => vec![vec![*inner]],
        Expr::Value(ValueWithSpan { value: Value::Number(ref number, _), .. }) => {
            let place = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let column = match place.and_then(|place| projection.get(place)) {
                Some(SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }) => column.clone(),
                _ => item,
            };
            vec![vec![column]]
        }
        column => vec![vec![column]],
    })
}

/// Whether two of what is grouped by are the same, one of which may have the name of its table.
fn is_same(one: &Expr, other: &Expr) -> bool {
    match (parts(one), parts(other)) {
        (Some(one), Some(other)) => one.ends_with(&other) || other.ends_with(&one),
        _ => one == other,
    }
}

fn parts(column: &Expr) -> Option<Vec<String>> {
    match column {
        Expr::Identifier(name) => Some(vec![normalized(name)]),
        Expr::CompoundIdentifier(names) => Some(names.iter().map(normalized).collect()),
        Expr::Nested(inner) => parts(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::SetExpr;

    use super::*;
    use crate::sql::{Statement, parse};

    fn grouped(group_by: &str) -> Result<String> {
        let Ok(Statement::Query(query)) = parse(&format!("SELECT a, b FROM t GROUP BY {group_by}")) else { panic!("{group_by} is not read") };
        let SetExpr::Select(mut select) = *query.body else { panic!("{group_by} is no query") };
        adapt(&mut select)?;
        Ok(select.group_by.to_string())
    }

    #[test]
    fn sets_are_there_once() {
        for (given, expected) in [
            ("ALL a, b", "GROUP BY a, b"),
            ("ALL ROLLUP (a)", "GROUP BY ROLLUP (a)"),
            ("ALL", "GROUP BY ALL"),
            ("DISTINCT a", "GROUP BY a"),
            ("DISTINCT GROUPING SETS ((a), (a), (a, b))", "GROUP BY GROUPING SETS ((a), (a, b))"),
            ("DISTINCT GROUPING SETS ((a, b), (t.b, a))", "GROUP BY GROUPING SETS ((a, b))"),
            ("DISTINCT ROLLUP (a, b), CUBE (a, b)", "GROUP BY GROUPING SETS ((a, b), (a), (b), ())"),
            ("DISTINCT 1, ROLLUP ((a, b), a)", "GROUP BY GROUPING SETS ((a, b), (a))"),
        ] {
            assert_eq!(grouped(given).unwrap(), expected, "{given}");
        }
        let many: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
        assert_eq!(grouped(&format!("DISTINCT CUBE ({})", many.join(", "))).unwrap_err().code(), Code::TooManyGroupingSets);
    }
}
