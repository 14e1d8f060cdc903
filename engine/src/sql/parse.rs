//! From text to [`Statement`]: tokens, the rewriting of a few of them, and one parser per kind of statement.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};
use nunatak_core::{Code, Error, Location, Result};

use super::dialect::TrinoDialect;
use super::options::{option_text, option_value};
use super::parse_show;
use super::parse_table;
use super::statement::{CopyInto, Explain, Statement};
use crate::error::from_parser;
use crate::files::OptionValue;

/// The longest SQL text that is taken, in bytes.
pub const SQL_BYTES_MAX: usize = 16 << 20;

/// How deeply expressions and queries may be nested.
const NESTING_MAX: usize = 200;

type Parsed<T> = std::result::Result<T, ParserError>;

/// Parses one statement; a trailing semicolon is fine.
///
/// Errors: `SYNTAX_ERROR` with its place, `QUERY_TEXT_TOO_LARGE`, `NOT_SUPPORTED` for SQL that parses but that nunatak does not run.
pub fn parse(sql: &str) -> Result<Statement> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(Error::new(Code::QueryTextTooLarge, format!("the statement has {} bytes, more than the limit of {SQL_BYTES_MAX}", sql.len())));
    }
    let tokens = Tokenizer::new(&TrinoDialect, sql).tokenize_with_location().map_err(|error| from_parser(error.into()))?;
    if tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_) | Token::SemiColon | Token::EOF)) {
        return Err(Error::new(Code::SyntaxError, "the statement is empty"));
    }
    let mut parser = Parser::new(&TrinoDialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(rewrite(tokens));
    let mut statement = parse_statement(&mut parser)?;
    if let Statement::CreateView { text, start, .. } = &mut statement {
        // The tokens were changed before parsing; what is kept is what was written.
        *text = text_from(sql, *start).trim_end().trim_end_matches(';').trim_end().to_owned();
    }
    while parser.consume_token(&Token::SemiColon) {}
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        return Err(from_parser(unexpected(&parser, "end of statement", rest)));
    }
    Ok(statement)
}

/// The rest of `sql` from a place on.
fn text_from(sql: &str, start: Location) -> &str {
    let (mut line, mut column) = (1, 1);
    for (offset, character) in sql.char_indices() {
        if line == start.line && column == start.column {
            return &sql[offset..];
        }
        (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    ""
}

fn unexpected(parser: &Parser<'_>, wanted: &str, found: TokenWithSpan) -> ParserError {
    match parser.expected::<()>(wanted, found) {
        Err(error) => error,
        Ok(()) => ParserError::ParserError(format!("expected {wanted}")),
    }
}

/// Changes the tokens that `sqlparser` would read otherwise: `FOR VERSION AS OF e` becomes `FOR SYSTEM_TIME AS OF e` (which takes any expression, and
/// has no other use here), `FOR TIMESTAMP AS OF e` loses its `FOR`, and each `?` becomes `$1`, `$2`, ...
fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let words: Vec<usize> = (0..tokens.len()).filter(|&index| !matches!(tokens[index].token, Token::Whitespace(_))).collect();
    let mut rewritten = tokens;
    let mut parameters = 0;
    for (at, &index) in words.iter().enumerate() {
        if matches!(&rewritten[index].token, Token::Placeholder(text) if text == "?") {
            parameters += 1;
            rewritten[index].token = Token::Placeholder(format!("${parameters}"));
        }
        let [Some(second), Some(third), Some(fourth)] = [1, 2, 3].map(|ahead| words.get(at + ahead).copied()) else { continue };
        if is_word(&rewritten[index], "FOR") && is_word(&rewritten[third], "AS") && is_word(&rewritten[fourth], "OF") {
            if is_word(&rewritten[second], "VERSION") {
                rewritten[second].token = Token::make_keyword("SYSTEM_TIME");
            } else if is_word(&rewritten[second], "TIMESTAMP") {
                rewritten[index].token = Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space);
            }
        }
    }
    rewritten
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    matches!(&token.token, Token::Word(Word { value, quote_style: None, .. }) if value.eq_ignore_ascii_case(wanted))
}

/// Takes the next token if it is this unquoted word. For words that are no keywords of `sqlparser`.
pub(super) fn take_word(parser: &mut Parser<'_>, word: &str) -> bool {
    let found = is_word(parser.peek_token_ref(), word);
    if found {
        parser.next_token();
    }
    found
}

fn peek_words(parser: &Parser<'_>, words: &[&str]) -> bool {
    words.iter().enumerate().all(|(ahead, word)| is_word(parser.peek_nth_token_ref(ahead), word))
}

fn take_words(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let found = peek_words(parser, words);
    if found {
        words.iter().for_each(|_| drop(parser.next_token()));
    }
    found
}

fn parse_statement(parser: &mut Parser<'_>) -> Result<Statement> {
    if take_words(parser, &["EXPLAIN"]) {
        return parse_explain(parser);
    }
    match parse_known(parser).map_err(from_parser)? {
        Some(statement) => Ok(statement),
        None => Err(not_known(parser)),
    }
}

/// The statement that starts here, or `None` if it is of no kind that nunatak has.
fn parse_known(parser: &mut Parser<'_>) -> Parsed<Option<Statement>> {
    let statement = if let Some(statement) = parse_table::parse_create_or_drop(parser)? {
        statement
    } else if let Some(show) = parse_show::parse_show(parser)? {
        Statement::Show(show)
    } else if peek_words(parser, &["INSERT"]) {
        Statement::Insert(Box::new(parser.parse_statement()?))
    } else if take_words(parser, &["COPY", "INTO"]) {
        parse_copy(parser)?
    } else if take_words(parser, &["USE"]) {
        Statement::Use(parser.parse_object_name(false)?)
    } else if take_words(parser, &["SET", "SESSION"]) {
        parse_set_session(parser)?
    } else if take_words(parser, &["RESET", "SESSION"]) {
        Statement::ResetSession { name: parse_property_name(parser)? }
    } else if starts_query(parser) {
        Statement::Query(parser.parse_query()?)
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

fn starts_query(parser: &Parser<'_>) -> bool {
    parser.peek_token_ref().token == Token::LParen || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| peek_words(parser, &[word]))
}

/// The error for a statement of another kind: a syntax error if it does not parse at all.
fn not_known(parser: &mut Parser<'_>) -> Error {
    let first = parser.peek_token();
    match parser.parse_statement() {
        Ok(_) => Error::not_supported(format!("{} statements are not supported yet", first.token.to_string().to_uppercase())),
        Err(error) => from_parser(error),
    }
}

fn parse_explain(parser: &mut Parser<'_>) -> Result<Statement> {
    let analyze = take_word(parser, "ANALYZE");
    let verbose = take_word(parser, "VERBOSE");
    if parser.peek_token_ref().token == Token::LParen
        && !is_word(parser.peek_nth_token_ref(1), "SELECT")
        && !is_word(parser.peek_nth_token_ref(1), "WITH")
    {
        skip_explain_options(parser).map_err(from_parser)?;
    }
    let statement = Box::new(parse_statement(parser)?);
    Ok(Statement::Explain(Explain { analyze, verbose, statement }))
}

/// Trino's `(TYPE DISTRIBUTED, FORMAT TEXT)`: only text is given.
fn skip_explain_options(parser: &mut Parser<'_>) -> Parsed<()> {
    parser.expect_token(&Token::LParen)?;
    loop {
        let name = parser.parse_identifier()?;
        let value = parser.parse_identifier()?;
        let (name, value) = (name.value.to_uppercase(), value.value.to_uppercase());
        if !matches!((name.as_str(), value.as_str()), ("TYPE", "LOGICAL" | "DISTRIBUTED") | ("FORMAT", "TEXT")) {
            return Err(ParserError::ParserError(format!("EXPLAIN option {name} {value} is not supported")));
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    Ok(())
}

fn parse_copy(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let table = parser.parse_object_name(false)?;
    parser.expect_keyword(Keyword::FROM)?;
    let pattern = parser.parse_literal_string()?;
    let mut options = Vec::new();
    let _ = parser.parse_keyword(Keyword::WITH);
    if parser.consume_token(&Token::LParen) {
        options = parser.parse_comma_separated(parse_copy_option)?;
        parser.expect_token(&Token::RParen)?;
    }
    Ok(Statement::CopyInto(CopyInto { table, pattern, options }))
}

/// `NAME value`, `NAME = value` or `NAME => value`; a bare word counts as text.
fn parse_copy_option(parser: &mut Parser<'_>) -> Parsed<(String, OptionValue)> {
    let name = parser.parse_identifier()?.value.to_lowercase();
    if !parser.consume_token(&Token::Eq) {
        let _ = parser.consume_token(&Token::RArrow);
    }
    let value = option_value(&parser.parse_expr()?)?;
    Ok((name, value))
}

fn parse_set_session(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let name = parse_property_name(parser)?;
    parser.expect_token(&Token::Eq)?;
    let value = option_text(&option_value(&parser.parse_expr()?)?);
    Ok(Statement::SetSession { name, value })
}

fn parse_property_name(parser: &mut Parser<'_>) -> Parsed<String> {
    let name: ast::ObjectName = parser.parse_object_name(false)?;
    Ok(name.to_string().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(sql: &str) -> String {
        parse(sql).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn versions_and_parameters_parse() {
        for sql in [
            "select * from t for version as of 123 x where a = ?",
            "select * from t for version as of 'main'",
            "select * from t FOR TIMESTAMP AS OF timestamp '2024-01-01 00:00:00' as x join u on x.a = u.a;",
            "copy into s.t from '/data/*.csv' (format csv, null_value 'NA', header true, on_error skip)",
            "set session execution_mode = 'local'",
            "explain (type distributed) select 1",
            "explain analyze (select 1)",
        ] {
            assert_eq!(error(sql), "", "{sql}");
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        assert_eq!(error("select * fro t"), "SYNTAX_ERROR: line 1:10: expected: end of statement, found: fro");
        assert!(error("select 1 from t where").starts_with("SYNTAX_ERROR"), "{}", error("select 1 from t where"));
        assert_eq!(error(" ; "), "SYNTAX_ERROR: the statement is empty");
        assert!(error("selec 1").starts_with("SYNTAX_ERROR: line 1:1"), "{}", error("selec 1"));
        assert!(error("delete from t").starts_with("NOT_SUPPORTED: DELETE statements"), "{}", error("delete from t"));
    }
}
