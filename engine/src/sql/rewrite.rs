//! Changes to the tokens of a statement, where `sqlparser` would read them otherwise than Trino does.

use std::collections::HashMap;
use std::iter::repeat_n;

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::parse::is_word;
use super::{cast_types, corresponding, grouping_sets, json_calls, row_stars, table_functions, table_samples};

/// What may stand before a query that starts with `TABLE`.
const BEFORE_QUERY: [&str; 9] = ["EXPLAIN", "ANALYZE", "VERBOSE", "AS", "UNION", "INTERSECT", "EXCEPT", "ALL", "DISTINCT"];

/// What ends the rows of `VALUES`.
const AFTER_VALUES: [&str; 8] = ["ORDER", "LIMIT", "OFFSET", "FETCH", "UNION", "INTERSECT", "EXCEPT", "WITH"];

/// The tokens without whitespace and comments, and with these changes: each `?` becomes `$1`, `$2`, ...; `FOR VERSION AS OF e` becomes `FOR SYSTEM_TIME
/// AS OF e` (which takes any expression, and has no other use here), and `FOR TIMESTAMP AS OF e` loses its `FOR`; `TABLE t` becomes `SELECT * FROM t`;
/// a row of `VALUES` without parentheses gets them; `(VALUES ...)` becomes `(SELECT * FROM (VALUES ...))`; what is said in [`corresponding`], [`json_calls`], [`cast_types`], [`table_samples`], [`table_functions`], [`grouping_sets`] and [`row_stars`].
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let tokens: Vec<_> = with_radix_numbers(tokens).into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let tokens = table_functions::as_queries(grouping_sets::marked(row_stars::with_names(corresponding::marked(tokens))));
    let tokens = table_samples::with_sampled_unnests(cast_types::marked(json_calls::plain(tokens)));
    with_parentheses(with_table_queries(with_versions(with_numbers(with_columns_first(with_bare_trims(tokens))))))
}

/// `0x1F`, `0o17` and `0b101`, also with `_` between the digits, become the numbers that they are: `sqlparser` reads bytes, and a zero with an alias.
fn with_radix_numbers(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(mut token) = rest.next() {
        let word = match rest.peek() {
            Some(TokenWithSpan { token: Token::Word(word), span }) if word.quote_style.is_none() && span.start == token.span.end => {
                word.value.as_str()
            }
            _ => "",
        };
        let number = match &token.token {
            Token::Number(zero, false) if zero == "0" => match word.as_bytes().first() {
                Some(b'o' | b'O') => whole_number(&word[1..], 8),
                Some(b'b' | b'B') => whole_number(&word[1..], 2),
                Some(b'x' | b'X') => whole_number(&word[1..], 16),
                _ => None,
            },
            // Bytes are written within quotes, which makes them longer.
            Token::HexStringLiteral(digits)
                if u64::try_from(digits.len() + 2) == Ok(token.span.end.column.saturating_sub(token.span.start.column)) =>
            {
                whole_number(&format!("{digits}{word}"), 16)
            }
            _ => None,
        };
        if let Some(number) = number {
            token.token = Token::Number(number, false);
            if !word.is_empty() {
                rest.next();
            }
        }
        out.push(token);
    }
    out
}

/// The decimal digits of a number. What is too large is said when it is planned.
fn whole_number(digits: &str, radix: u32) -> Option<String> {
    u128::from_str_radix(&digits.replace('_', ""), radix).ok().map(|number| number.to_string())
}

/// `TRIM(LEADING FROM a)`, where `sqlparser` misses what is trimmed, becomes `ltrim(a)`.
fn with_bare_trims(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    const NAMES: [(&str, &str); 3] = [("BOTH", "trim"), ("LEADING", "ltrim"), ("TRAILING", "rtrim")];
    let starts: Vec<(usize, &str)> = (0..tokens.len().saturating_sub(3))
        .filter(|&at| is_word(&tokens[at], "TRIM") && tokens[at + 1].token == Token::LParen && is_word(&tokens[at + 3], "FROM"))
        .filter_map(|at| NAMES.iter().find(|(side, _)| is_word(&tokens[at + 2], side)).map(|(_, name)| (at, *name)))
        .collect();
    for (at, name) in starts.into_iter().rev() {
        tokens[at].token = Token::make_keyword(name);
        tokens.drain(at + 2..at + 4);
    }
    tokens
}

/// `INSERT INTO t PARTITION (...) (a, b)`, as Spark has it, becomes `INSERT INTO t (a, b) PARTITION (...)`.
fn with_columns_first(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    const QUERY: [&str; 4] = ["SELECT", "WITH", "VALUES", "TABLE"];
    let Some(insert) = tokens.iter().position(|token| is_word(token, "INSERT")) else { return tokens };
    let before_query = |token: &TokenWithSpan| !QUERY[..3].iter().any(|word| is_word(token, word));
    let Some(partition) = (insert..tokens.len()).take_while(|&at| before_query(&tokens[at])).find(|&at| is_word(&tokens[at], "PARTITION")) else {
        return tokens;
    };
    let Some(end) = closing(&tokens, partition + 1) else { return tokens };
    let names_columns = match tokens.get(end + 1..end + 3) {
        Some([opening, first]) => {
            opening.token == Token::LParen && matches!(first.token, Token::Word(_)) && !QUERY.iter().any(|word| is_word(first, word))
        }
        _ => false,
    };
    if let Some(last) = closing(&tokens, end + 1).filter(|_| names_columns) {
        tokens[partition..=last].rotate_left(end + 1 - partition);
    }
    tokens
}

fn with_numbers(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let questions = tokens.iter_mut().filter(|token| matches!(&token.token, Token::Placeholder(text) if text == "?"));
    for (number, question) in (1..).zip(questions) {
        question.token = Token::Placeholder(format!("${number}"));
    }
    tokens
}

fn with_versions(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut dropped = Vec::new();
    for at in 0..tokens.len().saturating_sub(3) {
        if is_word(&tokens[at], "FOR") && is_word(&tokens[at + 2], "AS") && is_word(&tokens[at + 3], "OF") {
            if is_word(&tokens[at + 1], "VERSION") {
                tokens[at + 1].token = Token::make_keyword("SYSTEM_TIME");
            } else if is_word(&tokens[at + 1], "TIMESTAMP") {
                dropped.push(at);
            }
        }
    }
    for at in dropped.into_iter().rev() {
        tokens.remove(at);
    }
    tokens
}

fn with_table_queries(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    // Behind the table that an INSERT names, and its columns.
    let mut inserts = false;
    while let Some(token) = rest.next() {
        let names_table = matches!(rest.peek().map(|next| &next.token), Some(Token::Word(_)));
        let last_is = |words: &[&str]| out.last().is_some_and(|last| words.iter().any(|word| is_word(last, word)));
        let starts_query = out.last().is_none_or(|last| last.token == Token::LParen)
            || last_is(&BEFORE_QUERY)
            || inserts && !last_is(&["INSERT", "INTO", "OVERWRITE"]);
        if is_word(&token, "INSERT") {
            inserts = out.is_empty() || last_is(&BEFORE_QUERY[..3]);
        } else if ["SELECT", "VALUES", "WITH"].iter().any(|word| is_word(&token, word)) {
            inserts = false;
        }
        if is_word(&token, "TABLE") && names_table && starts_query {
            let span = token.span;
            out.extend(select_all_from().map(|token| TokenWithSpan { token, span }));
        } else {
            out.push(token);
        }
    }
    out
}

pub(super) fn select_all_from() -> [Token; 3] {
    [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")]
}

fn with_parentheses(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut inserts: HashMap<usize, Insert> = HashMap::new();
    for at in (0..tokens.len()).filter(|&at| is_word(&tokens[at], "VALUES")) {
        // Where a value is expected, `sqlparser` takes `(VALUES` for the call of a function. Behind `AS` only a query can stand, and a recursive one must stay what it is.
        let is_named = at.checked_sub(2).is_some_and(|before| is_word(&tokens[before], "AS"));
        if let Some(end) = at.checked_sub(1).and_then(|before| closing(&tokens, before)).filter(|_| !is_named) {
            inserts.entry(at).or_default().query = true;
            inserts.entry(end).or_default().closing += 1;
        }
        for (first, end) in bare_rows(&tokens, at + 1) {
            inserts.entry(first).or_default().opening += 1;
            inserts.entry(end).or_default().closing += 1;
        }
    }
    if inserts.is_empty() {
        return tokens;
    }
    let mut out = Vec::with_capacity(tokens.len() + 3 * inserts.len());
    let mut span = Span::empty();
    for (at, token) in tokens.into_iter().map(Some).chain([None]).enumerate() {
        span = token.as_ref().map_or(span, |token| token.span);
        if let Some(insert) = inserts.get(&at) {
            out.extend(insert.tokens().map(|token| TokenWithSpan { token, span }));
        }
        out.extend(token);
    }
    out
}

/// What is inserted before a token: parentheses that close, the start of a query, parentheses that open.
#[derive(Default)]
struct Insert {
    closing: usize,
    query: bool,
    opening: usize,
}

impl Insert {
    fn tokens(&self) -> impl Iterator<Item = Token> {
        let query = select_all_from().into_iter().chain([Token::LParen]).filter(|_| self.query);
        repeat_n(Token::RParen, self.closing).chain(query).chain(repeat_n(Token::LParen, self.opening))
    }
}

/// Where the parenthesis closes that opens at `start`, if one does.
pub(super) fn closing(tokens: &[TokenWithSpan], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    (start..tokens.len())
        .find(|&at| {
            match tokens[at].token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        })
        .filter(|&end| end > start)
}

/// The rows from `start` on that stand without parentheses, as ranges of tokens.
fn bare_rows(tokens: &[TokenWithSpan], start: usize) -> Vec<(usize, usize)> {
    let mut bounds = Vec::new();
    let mut depth = 0_usize;
    let end = (start..tokens.len()).find(|&at| {
        let token = &tokens[at];
        if depth == 0 {
            match token.token {
                Token::RParen | Token::SemiColon | Token::EOF => return true,
                Token::Comma => bounds.push(at),
                // The next clause of a MERGE.
                Token::Word(_) if is_word(token, "WHEN") => {
                    let row = bounds.last().map_or(start, |bound| bound + 1);
                    return at > row && is_enclosed(&tokens[row..at]);
                }
                _ if AFTER_VALUES.iter().any(|word| is_word(token, word)) => return true,
                _ => {}
            }
        }
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        false
    });
    bounds.push(end.unwrap_or(tokens.len()));
    let firsts = std::iter::once(start).chain(bounds.iter().map(|bound| bound + 1));
    firsts.zip(bounds.iter().copied()).filter(|&(first, end)| first < end && !is_enclosed(&tokens[first..end])).collect()
}

/// Whether the row stands within one pair of parentheses.
fn is_enclosed(row: &[TokenWithSpan]) -> bool {
    let row = if is_word(&row[0], "ROW") { &row[1..] } else { row };
    closing(row, 0) == Some(row.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::super::dialect::TrinoDialect;
    use super::*;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn rewritten(sql: &str) -> String {
        let tokens = Tokenizer::new(&TrinoDialect, sql).tokenize_with_location().unwrap();
        let texts: Vec<String> = rewrite(tokens).into_iter().map(|token| token.token.to_string()).filter(|text| text != "EOF").collect();
        texts.join(" ")
    }

    #[test]
    fn rows_of_values_get_parentheses() {
        for (sql, expected) in [
            ("values 1, 'a' || 'b'", "values ( 1 ) , ( 'a' || 'b' )"),
            ("values (1, 2), (3, 4)", "values ( 1 , 2 ) , ( 3 , 4 )"),
            ("values (1) + 2 order by 1", "values ( ( 1 ) + 2 ) order by 1"),
            ("select * from (values 1, f(2, 3)) as t(x)", "select * from ( SELECT * FROM ( values ( 1 ) , ( f ( 2 , 3 ) ) ) ) as t ( x )"),
            ("select 1 in (values 1, 2 limit 1)", "select 1 in ( SELECT * FROM ( values ( 1 ) , ( 2 ) limit 1 ) )"),
            ("values (select (values 1)) + 1;", "values ( ( select ( SELECT * FROM ( values ( 1 ) ) ) ) + 1 ) ;"),
            ("with r(n) as (values 1 union all select n from r) table r", "with r ( n ) as ( values ( 1 ) union all select n from r ) table r"),
            ("insert (a) values (1) when not matched then", "insert ( a ) values ( 1 ) when not matched then"),
            ("values case (a) when 1 then 2 end", "values ( case ( a ) when 1 then 2 end )"),
            ("insert into t values array[1, 2], array[]", "insert into t values ( array [ 1 , 2 ] ) , ( array [ ] )"),
        ] {
            assert_eq!(rewritten(sql), expected);
        }
    }

    #[test]
    fn columns_stand_before_partitions() {
        assert_eq!(rewritten("insert into t partition (k = f(1)) (a, b) select 1"), "insert into t ( a , b ) partition ( k = f ( 1 ) ) select 1");
        for sql in [
            "insert into t partition ( k = 1 ) select 2",
            "insert into t partition ( k = 1 ) ( select 2 )",
            "insert into t ( a ) partition ( k = 1 ) select 2",
            "insert into t select count ( * ) over ( partition by k ) ( a )",
            "select x from t partition ( k = 1 ) ( a )",
        ] {
            assert_eq!(rewritten(sql), sql);
        }
    }

    #[test]
    fn table_stands_for_a_query_where_one_can_start() {
        assert_eq!(rewritten("table s.t"), "SELECT * FROM s . t");
        assert_eq!(rewritten("select 1 union all (table t)"), "select 1 union all ( SELECT * FROM t )");
        assert_eq!(rewritten("create table t as table u"), "create table t as SELECT * FROM u");
        assert_eq!(rewritten("select * from table(f(1))"), "select * from table ( f ( 1 ) )");
        assert_eq!(rewritten("insert into t table u"), "insert into t SELECT * FROM u");
        assert_eq!(rewritten("insert into s.t (a, b) table u"), "insert into s . t ( a , b ) SELECT * FROM u");
        assert_eq!(rewritten("insert into table t select 1"), "insert into table t select 1");
    }

    #[test]
    fn trims_say_nothing_twice() {
        assert_eq!(
            rewritten("select trim(leading from a), trim(both 'x' from trim(both from b))"),
            "select ltrim ( a ) , trim ( both 'x' from trim ( b ) )"
        );
    }

    #[test]
    fn samples_of_unnest_are_those_of_queries() {
        for (sql, expected) in [
            ("unnest(a) as t (x) tablesample system (5)", "( SELECT * FROM unnest ( a ) as t ( x ) ) AS t tablesample system ( 5 )"),
            ("unnest(a) with ordinality u tablesample system (5)", "( SELECT * FROM unnest ( a ) with ordinality u ) AS u tablesample system ( 5 )"),
            ("unnest(a) tablesample system (5), b", "( SELECT * FROM unnest ( a ) ) tablesample system ( 5 ) , b"),
            ("unnest ( a ) cross join b tablesample system ( 5 )", "unnest ( a ) cross join b tablesample system ( 5 )"),
        ] {
            assert_eq!(rewritten(&format!("select * from {sql}")), format!("select * from {expected}"));
        }
    }

    #[test]
    fn numbers_have_radixes() {
        assert_eq!(rewritten("select 0x1F, 0XFF_ff, 0b101, 0B1_1, 0o17, x'1F', 0 b, 0"), "select 31 , 65535 , 5 , 3 , 15 , X'1F' , 0 b , 0");
    }

    #[test]
    fn versions_and_parameters() {
        assert_eq!(rewritten("select ? from t for version as of ?"), "select $1 from t for SYSTEM_TIME as of $2");
        assert_eq!(rewritten("select * from t /* c */ for timestamp as of now()"), "select * from t timestamp as of now ( )");
    }
}
