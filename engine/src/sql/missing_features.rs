//! What Trino's grammar has in the midst of a statement and nunatak has not: it is named with its place, where the parser would call it a mistake.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use nunatak_core::{Error, Location, Result};

use super::parse::is_word;

/// What stands first within the parentheses of `MATCH_RECOGNIZE`. Anything else is a list of columns behind an alias of that name.
const OF_PATTERNS: [&str; 10] = ["PARTITION", "ORDER", "MEASURES", "ONE", "ALL", "AFTER", "INITIAL", "SEEK", "PATTERN", "SUBSET"];

/// What stands behind the pattern of a window.
const AFTER_PATTERN: [&str; 2] = ["DEFINE", "SUBSET"];

/// What stands before the names by which the columns of two queries are matched.
const BEFORE_MATCHED: [&str; 5] = ["UNION", "EXCEPT", "INTERSECT", "ALL", "DISTINCT"];

/// Finds what is missing in the tokens of a statement.
///
/// Errors: `NOT_SUPPORTED` for `JSON_TABLE`, `MATCH_RECOGNIZE`, patterns of rows in windows, `CORRESPONDING BY`, and `WITH FUNCTION`.
pub(super) fn refuse(tokens: &[TokenWithSpan]) -> Result<()> {
    let marks: Vec<&TokenWithSpan> = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    match (0..marks.len()).find_map(|at| missing(&marks, at).map(|found| (marks[at], found))) {
        Some((mark, (what, hint))) => {
            let place = Location { line: mark.span.start.line, column: mark.span.start.column };
            Err(Error::not_supported(format!("{what} is not supported")).with_hint(hint).at(place))
        }
        None => Ok(()),
    }
}

/// What starts at a token, and what to write in its place.
fn missing(marks: &[&TokenWithSpan], at: usize) -> Option<(&'static str, &'static str)> {
    let opens = |at: usize| marks.get(at).is_some_and(|mark| mark.token == Token::LParen);
    let ends_name = |at: usize| marks.get(at).is_some_and(|mark| matches!(mark.token, Token::Comma | Token::RParen));
    let is_one_of = |at: usize, words: &[&str]| marks.get(at).is_some_and(|mark| words.iter().any(|word| is_word(mark, word)));
    if is_one_of(at, &["JSON_TABLE"]) && opens(at + 1) {
        Some(("JSON_TABLE", "cast the JSON to array(row(...)) and use UNNEST"))
    } else if is_one_of(at, &["MATCH_RECOGNIZE"]) && opens(at + 1) && is_one_of(at + 2, &OF_PATTERNS) && !ends_name(at + 3) {
        Some(("MATCH_RECOGNIZE", "compare neighbouring rows by lag and lead in a derived table"))
    } else if is_one_of(at, &["PATTERN"]) && opens(at + 1) && is_one_of(closing(marks, at + 1) + 1, &AFTER_PATTERN) {
        Some(("PATTERN in a window (the recognition of patterns of rows)", "compare neighbouring rows by lag and lead in a derived table"))
    } else if is_one_of(at, &["CORRESPONDING"])
        && is_one_of(at + 1, &["BY"])
        && at.checked_sub(1).is_some_and(|before| is_one_of(before, &BEFORE_MATCHED))
    {
        Some(("CORRESPONDING BY", "name the columns in both queries, or leave BY out"))
    } else if is_one_of(at, &["WITH"]) && is_one_of(at + 1, &["FUNCTION"]) && names_function(marks, at + 2) {
        Some(("WITH FUNCTION (a function within a query)", "write the function's expression where it is called"))
    } else {
        None
    }
}

/// Whether a name and the list of its parameters stand here. `WITH function AS (...)` and `WITH function (a) AS (...)` are queries of that name.
fn names_function(marks: &[&TokenWithSpan], at: usize) -> bool {
    let is_name = |at: usize| matches!(marks.get(at).map(|mark| &mark.token), Some(Token::Word(_)));
    let mut end = at;
    while is_name(end) && marks.get(end + 1).is_some_and(|mark| mark.token == Token::Period) {
        end += 2;
    }
    let opens = marks.get(end + 1).is_some_and(|mark| mark.token == Token::LParen);
    let behind = if opens { marks.get(closing(marks, end + 1) + 1) } else { None };
    is_name(end) && behind.is_some_and(|mark| is_word(mark, "RETURNS"))
}

/// Where the parenthesis closes that opens here; the end without one.
fn closing(marks: &[&TokenWithSpan], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, mark) in marks.iter().enumerate().skip(start) {
        match mark.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    marks.len()
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;

    #[test]
    fn what_is_missing_is_named() {
        for (sql, place, what) in [
            ("SELECT * FROM t, JSON_TABLE(j, 'lax $' COLUMNS (x integer))", "line 1:18", "JSON_TABLE"),
            ("SELECT * FROM t\nMATCH_RECOGNIZE (ORDER BY b PATTERN (A B+) DEFINE B AS b > prev(b)) AS m", "line 2:1", "MATCH_RECOGNIZE"),
            ("SELECT sum(x) OVER (ROWS CURRENT ROW PATTERN ((A | B)) DEFINE A AS true) FROM t", "line 1:38", "PATTERN"),
            ("WITH FUNCTION f(x decimal(3, 1)) RETURNS bigint RETURN 1 SELECT f(2)", "line 1:1", "WITH FUNCTION"),
            ("SELECT 1 AS x UNION ALL CORRESPONDING BY (x) SELECT 1 AS x", "line 1:25", "CORRESPONDING BY"),
            ("SELECT (WITH FUNCTION a.f() RETURNS bigint RETURN 1 SELECT f())", "line 1:9", "WITH FUNCTION"),
        ] {
            let error = parse(sql).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with(&format!("NOT_SUPPORTED: {place}: {what}")), "{sql}: {error}");
        }
    }

    #[test]
    fn names_may_be_the_same() {
        for sql in [
            "WITH function AS (SELECT 1 AS x) SELECT x FROM function",
            "WITH function (x) AS (SELECT 1) SELECT x FROM function",
            "SELECT pattern, match_recognize, json_table FROM t AS match_recognize (pattern, x)",
            "SELECT 'MATCH_RECOGNIZE (ORDER BY' -- JSON_TABLE (",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql).err().map(|error| error.to_string()));
        }
    }
}
