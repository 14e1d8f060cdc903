//! Trino's table functions of its own, `TABLE(sequence(start, stop, step))` and `TABLE(exclude_columns(TABLE(t), DESCRIPTOR(a, b)))`, as the queries that they stand for.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::parse::is_word;
use super::rewrite::{closing, select_all_from};
use super::sequences;

/// What a query begins with.
const QUERY: [&str; 3] = ["SELECT", "WITH", "VALUES"];

/// The tokens with queries in the place of these calls. What is not of their form stays, and is refused later.
pub(super) fn as_queries(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    // Those within others come first.
    for at in (0..tokens.len()).rev() {
        if let Some((end, query)) = query_of(&tokens, at) {
            let span = tokens[at].span;
            let query = query.into_iter().map(|mut token| {
                if token.span.start.line == 0 {
                    token.span = span;
                }
                token
            });
            let query: Vec<TokenWithSpan> = query.collect();
            drop(tokens.splice(at..=end, query));
        }
    }
    tokens
}

/// The query for the call that starts here, and where the call ends.
fn query_of(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    let opens = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::LParen);
    if !is_word(&tokens[at], "TABLE") || !opens(at + 1) || !opens(at + 3) {
        return None;
    }
    let (name, inner, end) = (&tokens[at + 2], closing(tokens, at + 3)?, closing(tokens, at + 1)?);
    if end != inner + 1 {
        return None;
    }
    let arguments = arguments(&tokens[at + 4..inner]);
    let query = if is_word(name, "sequence") {
        sequence(&arguments)?
    } else if is_word(name, "exclude_columns") {
        without_columns(&arguments)?
    } else {
        return None;
    };
    Some((end, query))
}

/// An argument, and its name if it has one.
type Argument<'a> = (Option<&'a TokenWithSpan>, &'a [TokenWithSpan]);

fn arguments(tokens: &[TokenWithSpan]) -> Vec<Argument<'_>> {
    let mut depth = 0_usize;
    let parts = tokens.split(|token| {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && token.token == Token::Comma
    });
    parts.map(named).collect()
}

fn named(argument: &[TokenWithSpan]) -> Argument<'_> {
    match argument {
        [name, arrow, value @ ..] if arrow.token == Token::RArrow => (Some(name), value),
        value => (None, value),
    }
}

/// The argument of a name, or at a place.
fn argument<'a>(arguments: &[Argument<'a>], name: &str, place: usize) -> Option<&'a [TokenWithSpan]> {
    let by_name = arguments.iter().find(|(known, _)| known.is_some_and(|known| is_word(known, name)));
    let by_place = || arguments.get(place).filter(|(known, _)| known.is_none());
    by_name.or_else(by_place).map(|(_, value)| *value).filter(|value| !value.is_empty())
}

fn plain(token: Token) -> TokenWithSpan {
    TokenWithSpan::wrap(token)
}

/// `(SELECT * FROM UNNEST(sequence(CAST(start AS BIGINT), ...)) AS sequence (sequential_number))`, with the mark of [`sequences`].
fn sequence(arguments: &[Argument<'_>]) -> Option<Vec<TokenWithSpan>> {
    if arguments.len() > 3 {
        return None;
    }
    let number = |digit: &str| vec![plain(Token::Number(digit.to_owned(), false))];
    let values = [
        argument(arguments, "start", 0).map_or_else(|| number("0"), <[_]>::to_vec),
        argument(arguments, "stop", 1)?.to_vec(),
        argument(arguments, "step", 2).map_or_else(|| number("1"), <[_]>::to_vec),
    ];
    let mut query: Vec<TokenWithSpan> = std::iter::once(Token::LParen).chain(select_all_from()).map(plain).collect();
    query.extend([Token::make_keyword("UNNEST"), Token::LParen, Token::make_word("sequence", Some('"')), Token::LParen].map(plain));
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            query.push(plain(Token::Comma));
        }
        query.extend([Token::make_keyword("CAST"), Token::LParen].map(plain));
        query.extend(value);
        query.extend([Token::make_keyword("AS"), Token::make_keyword("BIGINT"), Token::RParen].map(plain));
    }
    let column = Token::make_word(sequences::COLUMN, Some('"'));
    let alias = [Token::make_keyword("AS"), Token::make_word(sequences::ALIAS, Some('"')), Token::LParen, column, Token::RParen, Token::RParen];
    query.extend([Token::RParen, Token::RParen].into_iter().chain(alias).map(plain));
    Some(query)
}

/// `(SELECT * EXCEPT (a, b) FROM t)`
fn without_columns(arguments: &[Argument<'_>]) -> Option<Vec<TokenWithSpan>> {
    let input = argument(arguments, "input", 0)?;
    let columns = argument(arguments, "columns", 1)?;
    if arguments.len() != 2 || !is_word(&input[0], "TABLE") || !is_word(&columns[0], "DESCRIPTOR") {
        return None;
    }
    let (input_end, columns_end) = (closing(input, 1)?, closing(columns, 1).filter(|end| end + 1 == columns.len())?);
    let mut names: Vec<&TokenWithSpan> = Vec::new();
    for (place, token) in columns[2..columns_end].iter().enumerate() {
        let is_name = matches!(token.token, Token::Word(_));
        // Behind a name there may be a type, which none may have here.
        if is_name == (place % 2 == 1) || !is_name && token.token != Token::Comma {
            return None;
        }
        let is_known = names.iter().any(|name| name.token.to_string().eq_ignore_ascii_case(&token.token.to_string()));
        if is_name && !is_known {
            names.push(token);
        }
    }
    if names.is_empty() {
        return None;
    }
    let mut query: Vec<TokenWithSpan> =
        [Token::LParen, Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("EXCEPT"), Token::LParen].map(plain).to_vec();
    for (place, name) in names.into_iter().enumerate() {
        if place > 0 {
            query.push(plain(Token::Comma));
        }
        let mut name = name.clone();
        if let Token::Word(word) = &mut name.token
            && word.quote_style.is_none()
        {
            word.value.make_ascii_lowercase();
        }
        query.push(name);
    }
    query.extend([Token::RParen, Token::make_keyword("FROM")].map(plain));
    let table = &input[2..input_end];
    let is_query = table.first().is_some_and(|first| first.token == Token::LParen || QUERY.iter().any(|word| is_word(first, word)));
    if is_query {
        query.push(plain(Token::LParen));
    }
    query.extend_from_slice(table);
    if is_query {
        query.push(plain(Token::RParen));
    }
    query.push(plain(Token::RParen));
    Some(query)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::super::dialect::TrinoDialect;
    use super::*;

    fn rewritten(sql: &str) -> String {
        let tokens = Tokenizer::new(&TrinoDialect, sql).tokenize_with_location().unwrap();
        let tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
        let texts: Vec<String> = as_queries(tokens).into_iter().map(|token| token.token.to_string()).filter(|text| text != "EOF").collect();
        texts.join(" ").replace(sequences::ALIAS, "!")
    }

    #[test]
    fn calls_become_queries() {
        for (call, expected) in [
            (
                "table(sequence(stop => f(1, 2)))",
                r#"( SELECT * FROM UNNEST ( "sequence" ( CAST ( 0 AS BIGINT ) , CAST ( f ( 1 , 2 ) AS BIGINT ) , CAST ( 1 AS BIGINT ) ) ) AS "!" ( "sequential_number" ) )"#,
            ),
            ("table(exclude_columns(table(s.t), descriptor(A, a, b)))", "( SELECT * EXCEPT ( a , b ) FROM s . t )"),
            (
                "table(exclude_columns(columns => descriptor(a), input => table(select 1 as a, 2 as b) as q))",
                "( SELECT * EXCEPT ( a ) FROM ( select 1 as a , 2 as b ) )",
            ),
            ("table(exclude_columns(table(t), descriptor(a integer)))", "table ( exclude_columns ( table ( t ) , descriptor ( a integer ) ) )"),
            ("table(f(1))", "table ( f ( 1 ) )"),
        ] {
            assert_eq!(rewritten(&format!("select * from {call} as x")), format!("select * from {expected} as x"));
        }
    }
}
