//! From text to [`Statement`]: tokens, the rewriting of a few of them, and one parser per kind of statement.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};
use nunatak_core::{Code, Error, Location, Result};

use super::changes::Change;
use super::dialect::TrinoDialect;
use super::missing_features;
use super::options::{option_text, option_value};
use super::parse_alter;
use super::parse_session;
use super::parse_show;
use super::parse_table;
use super::prepared;
use super::rewrite::rewrite;
use super::statement::{ColumnDefinition, CopyInto, Explain, Statement, WithSession};
use super::unicode_texts;
use crate::error::{from_parser, suggest};
use crate::files::OptionValue;

/// The longest SQL text that is taken, in bytes.
pub const SQL_BYTES_MAX: usize = 16 << 20;

/// How deeply expressions and queries may be nested.
const NESTING_MAX: usize = 200;

/// How the statements begin that are run.
const STATEMENTS: &[&str] = &[
    "SELECT",
    "WITH",
    "VALUES",
    "TABLE",
    "INSERT",
    "DELETE",
    "UPDATE",
    "MERGE",
    "CREATE",
    "DROP",
    "ALTER",
    "TRUNCATE",
    "COMMENT",
    "ANALYZE",
    "COPY",
    "SHOW",
    "DESCRIBE",
    "EXPLAIN",
    "USE",
    "SET",
    "RESET",
    "CALL",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "START",
    "COMMIT",
    "ROLLBACK",
];

/// How Trino's other statements begin.
const OTHER_STATEMENTS: &[&str] = &["DENY", "GRANT", "REFRESH", "REVOKE"];

type Parsed<T> = std::result::Result<T, ParserError>;

/// Parses one statement; a trailing semicolon is fine.
///
/// Errors: `SYNTAX_ERROR` with its place, `QUERY_TEXT_TOO_LARGE`, `NOT_SUPPORTED` for SQL that parses but that nunatak does not run.
pub fn parse(sql: &str) -> Result<Statement> {
    parse_tokens(sql, tokenize(sql)?)
}

/// Parses the text of a prepared statement with values in the place of its parameters.
///
/// Errors: those of [`parse`], and `INVALID_PARAMETER_USAGE` where there are more or fewer values than parameters.
pub fn parse_executed(sql: &str, arguments: Vec<Vec<Token>>) -> Result<Statement> {
    let has_arguments = !arguments.is_empty();
    let statement = parse_tokens(sql, prepared::with_arguments(tokenize(sql)?, arguments)?)?;
    // Its text is kept, and has no values.
    if has_arguments && matches!(statement, Statement::CreateView { .. }) {
        return Err(Error::not_supported("a view cannot have parameters"));
    }
    Ok(statement)
}

fn tokenize(sql: &str) -> Result<Vec<TokenWithSpan>> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(Error::new(Code::QueryTextTooLarge, format!("the statement has {} bytes, more than the limit of {SQL_BYTES_MAX}", sql.len())));
    }
    let tokens = Tokenizer::new(&TrinoDialect, sql).tokenize_with_location().map_err(|error| from_parser(error.into()))?;
    if tokens.iter().all(|token| matches!(token.token, Token::Whitespace(_) | Token::SemiColon | Token::EOF)) {
        return Err(Error::new(Code::SyntaxError, "the statement is empty"));
    }
    unicode_texts::decoded(tokens)
}

fn parse_tokens(sql: &str, tokens: Vec<TokenWithSpan>) -> Result<Statement> {
    missing_features::refuse(&tokens)?;
    let nothing_selected = nothing_selected(&tokens);
    let mut parser = Parser::new(&TrinoDialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(rewrite(tokens));
    let mut statement = parse_statement(&mut parser).map_err(|error| nothing_selected.unwrap_or_else(|| placed(error, sql)))?;
    if let Statement::CreateView { text, start, .. } | Statement::Prepare { text, start, .. } = &mut statement {
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

/// The error for a `FROM` where a column is wanted, for a statement that does not parse. The parser reads it as the name of one.
fn nothing_selected(tokens: &[TokenWithSpan]) -> Option<Error> {
    let words: Vec<&TokenWithSpan> = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let text = |at: usize| {
        let before = words[at - 1];
        let is_quantified = at > 1 && is_word(words[at - 2], "SELECT") && ["DISTINCT", "ALL"].iter().any(|word| is_word(before, word));
        if is_word(before, "SELECT") || is_quantified {
            Some("a SELECT without columns")
        } else {
            (before.token == Token::Comma).then_some("there is a comma and no column before FROM")
        }
    };
    (1..words.len()).filter(|&at| is_word(words[at], "FROM")).find_map(|at| {
        let start = words[at].span.start;
        let error = Error::new(Code::SyntaxError, text(at)?).with_hint("name columns before FROM, or write *");
        Some(error.at(Location { line: start.line, column: start.column }))
    })
}

/// Reads a list of columns with their types, as within the parentheses of `CREATE TABLE`.
pub(super) fn parse_columns(text: &str) -> Result<Vec<ColumnDefinition>> {
    let mut parser = Parser::new(&TrinoDialect).with_recursion_limit(NESTING_MAX).try_with_sql(text).map_err(from_parser)?;
    let columns = parser.parse_comma_separated(parse_table::parse_column).map_err(|error| placed(from_parser(error), text))?;
    match parser.peek_token() {
        TokenWithSpan { token: Token::EOF, .. } => Ok(columns),
        rest => Err(from_parser(unexpected(&parser, "a comma or the end", rest))),
    }
}

/// The parser knows no place for the end of the text.
fn placed(error: Error, sql: &str) -> Error {
    if error.location().is_some() || !error.message().ends_with("found: EOF") {
        return error;
    }
    let text = sql.trim_end();
    let (line, last) = text.split('\n').enumerate().last().unwrap_or((0, text));
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    error.at(Location { line: count(line + 1), column: count(last.chars().count() + 1) })
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

pub(super) fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
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

pub(super) fn take_words(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    let found = peek_words(parser, words);
    if found {
        words.iter().for_each(|_| drop(parser.next_token()));
    }
    found
}

pub(super) fn parse_statement(parser: &mut Parser<'_>) -> Result<Statement> {
    if take_words(parser, &["EXPLAIN"]) {
        return parse_explain(parser);
    }
    if take_words(parser, &["PREPARE"]) {
        return prepared::parse_prepare(parser);
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
    } else if let Some(statement) = prepared::parse_known(parser)? {
        statement
    } else if let Some(show) = parse_show::parse_show(parser)? {
        show
    } else if peek_words(parser, &["INSERT"]) {
        Statement::Insert(Box::new(parser.parse_statement()?))
    } else if peek_words(parser, &["DELETE"]) {
        parse_delete(parser)?
    } else if peek_words(parser, &["UPDATE"]) || peek_words(parser, &["MERGE"]) {
        parse_update_or_merge(parser)?
    } else if take_words(parser, &["TRUNCATE", "TABLE"]) {
        Statement::Change(Change::Truncate(parser.parse_object_name(false)?))
    } else if take_words(parser, &["CALL"]) {
        parse_alter::parse_call(parser)?
    } else if take_words(parser, &["COMMENT"]) {
        parse_alter::parse_comment_on(parser)?
    } else if take_words(parser, &["COPY", "INTO"]) {
        parse_copy(parser)?
    } else if take_words(parser, &["ANALYZE"]) {
        Statement::Analyze { name: parser.parse_object_name(false)?, properties: parse_table::parse_properties(parser)? }
    } else if take_words(parser, &["USE"]) {
        Statement::Use(parser.parse_object_name(false)?)
    } else if take_words(parser, &["SET", "TIME", "ZONE"]) {
        Statement::SetTimeZone(if take_word(parser, "LOCAL") { None } else { Some(option_text(&option_value(&parser.parse_expr()?)?)) })
    } else if let Some(statement) = parse_session::parse_session(parser)? {
        statement
    } else if take_words(parser, &["SET", "SESSION"]) {
        parse_set_session(parser)?
    } else if take_words(parser, &["RESET", "SESSION"]) {
        Statement::ResetSession { name: parse_property_name(parser)? }
    } else if starts_with_session(parser) {
        parse_with_session(parser)?
    } else if starts_query(parser) {
        parse_query(parser)?
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

/// A query, or `WITH` and an `INSERT` of its rows.
fn parse_query(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let query = parser.parse_query()?;
    let changes =
        |body: &ast::SetExpr| matches!(body, ast::SetExpr::Insert(_) | ast::SetExpr::Update(_) | ast::SetExpr::Delete(_) | ast::SetExpr::Merge(_));
    if !changes(&query.body) {
        return Ok(Statement::Query(query));
    }
    let ast::Query { with, body, .. } = *query;
    match *body {
        ast::SetExpr::Insert(ast::Statement::Insert(mut insert)) => {
            match &mut insert.source {
                Some(source) if source.with.is_none() => source.with = with,
                _ => return parse_table::unsupported("WITH before INSERT and in its query is not supported: write it in one of these places"),
            }
            Ok(Statement::Insert(Box::new(ast::Statement::Insert(insert))))
        }
        _ => {
            parse_table::unsupported("WITH before UPDATE, DELETE and MERGE is not supported: write it in their subqueries, or in the one after USING")
        }
    }
}

fn parse_delete(parser: &mut Parser<'_>) -> Parsed<Statement> {
    if !peek_words(parser, &["DELETE", "FROM"]) {
        parser.next_token();
        return parser.expected("FROM", parser.peek_token());
    }
    match parser.parse_statement()? {
        ast::Statement::Delete(delete) => Ok(Statement::Change(Change::Delete(Box::new(delete)))),
        other => Err(ParserError::ParserError(format!("DELETE was read as {other}"))),
    }
}

fn parse_update_or_merge(parser: &mut Parser<'_>) -> Parsed<Statement> {
    match parser.parse_statement()? {
        ast::Statement::Update(update) => Ok(Statement::Change(Change::Update(Box::new(update)))),
        ast::Statement::Merge(merge) if merge.clauses.is_empty() => parser.expected("WHEN", parser.peek_token()),
        ast::Statement::Merge(merge) => Ok(Statement::Change(Change::Merge(Box::new(merge)))),
        other => Err(ParserError::ParserError(format!("UPDATE or MERGE was read as {other}"))),
    }
}

fn starts_query(parser: &Parser<'_>) -> bool {
    parser.peek_token_ref().token == Token::LParen || ["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| peek_words(parser, &[word]))
}

/// The error for a statement of another kind.
fn not_known(parser: &Parser<'_>) -> Error {
    let first = parser.peek_token();
    let word = first.token.to_string().to_uppercase();
    if OTHER_STATEMENTS.contains(&word.as_str()) {
        let text = match word.as_str() {
            "REFRESH" => "REFRESH MATERIALIZED VIEW is not supported yet".to_owned(),
            _ => format!("{word} statements are not supported yet"),
        };
        return Error::not_supported(text).at(Location { line: first.span.start.line, column: first.span.start.column });
    }
    suggest(from_parser(unexpected(parser, "an SQL statement", first)), &word, STATEMENTS.iter().chain(OTHER_STATEMENTS).copied())
}

fn parse_explain(parser: &mut Parser<'_>) -> Result<Statement> {
    let analyze = take_word(parser, "ANALYZE");
    let verbose = take_word(parser, "VERBOSE");
    let has_options =
        parser.peek_token_ref().token == Token::LParen && ["TYPE", "FORMAT"].iter().any(|option| is_word(parser.peek_nth_token_ref(1), option));
    // EXPLAIN ANALYZE has none.
    let validate = has_options && !analyze && parse_explain_options(parser).map_err(from_parser)?;
    let statement = Box::new(parse_statement(parser)?);
    Ok(Statement::Explain(Explain { analyze, verbose, validate, statement }))
}

/// Trino's `(TYPE DISTRIBUTED, FORMAT TEXT)`: only text is given. Whether it is `TYPE VALIDATE`; the first type counts, as in Trino.
fn parse_explain_options(parser: &mut Parser<'_>) -> Parsed<bool> {
    let mut validate = None;
    parser.expect_token(&Token::LParen)?;
    loop {
        if take_word(parser, "TYPE") {
            let given = parse_explain_option(parser, "TYPE", &["LOGICAL", "DISTRIBUTED", "VALIDATE"], &["IO"])?;
            validate.get_or_insert(given == "VALIDATE");
        } else if take_word(parser, "FORMAT") {
            parse_explain_option(parser, "FORMAT", &["TEXT"], &["GRAPHVIZ", "JSON"])?;
        } else {
            return parser.expected("TYPE or FORMAT", parser.peek_token());
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    parser.expect_token(&Token::RParen)?;
    Ok(validate.unwrap_or_default())
}

fn parse_explain_option(parser: &mut Parser<'_>, option: &str, known: &'static [&'static str], others: &[&str]) -> Parsed<&'static str> {
    match known.iter().copied().find(|word| take_word(parser, word)) {
        Some(word) => Ok(word),
        None => parse_table::refused(parser, &format!("EXPLAIN option {option}"), others, &[known, others].concat().join(", ")),
    }
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

/// Whether `WITH SESSION name = value` stands here. `WITH session AS (...)` and `WITH session (a) AS (...)` are queries of that name.
fn starts_with_session(parser: &Parser<'_>) -> bool {
    let names = matches!(parser.peek_nth_token_ref(2).token, Token::Word(_));
    peek_words(parser, &["WITH", "SESSION"]) && names && matches!(parser.peek_nth_token_ref(3).token, Token::Period | Token::Eq)
}

fn parse_with_session(parser: &mut Parser<'_>) -> Parsed<Statement> {
    take_words(parser, &["WITH", "SESSION"]);
    let properties = parser.parse_comma_separated(|parser| {
        let name = parse_property_name(parser)?;
        parser.expect_token(&Token::Eq)?;
        let value = match parser.parse_expr()? {
            ast::Expr::Cast { expr, data_type: ast::DataType::Varchar(_), .. } => option_value(&expr)?,
            value => option_value(&value)?,
        };
        Ok((name, option_text(&value)))
    })?;
    match parse_query(parser)? {
        Statement::Query(query) => Ok(Statement::WithSession(WithSession { properties, query })),
        _ => parse_table::unsupported("WITH SESSION before INSERT is not supported: SET SESSION sets properties"),
    }
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
    fn queries_may_have_session_properties() {
        let Ok(Statement::WithSession(with)) = parse("WITH SESSION Time_Zone = 'UTC', a.b = CAST(1 AS varchar) WITH t AS (SELECT 1) SELECT * FROM t")
        else {
            panic!("it is not read")
        };
        assert_eq!(with.properties, [("time_zone", "UTC"), ("a.b", "1")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(with.query.to_string(), "WITH t AS (SELECT 1) SELECT * FROM t");
        for sql in ["WITH session AS (SELECT 1) SELECT * FROM session", "WITH session (a) AS (SELECT 1) SELECT a FROM session"] {
            assert!(matches!(parse(sql), Ok(Statement::Query(_))), "{sql}");
        }
        for sql in ["WITH SESSION a = 1", "WITH SESSION a = 1 SET SESSION b = 2", "WITH SESSION a = 1 INSERT INTO t VALUES (1)"] {
            assert!(parse(sql).is_err(), "{sql}");
        }
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
            "explain (type validate, format text) select 1",
            "explain (values 1)",
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
        assert_eq!(error("selec 1"), "SYNTAX_ERROR: line 1:1: expected: an SQL statement, found: selec (did you mean 'SELECT'?)");
        assert_eq!(error("delete t where a = 1"), "SYNTAX_ERROR: line 1:8: expected: FROM, found: t");
        assert_eq!(error("select from t"), "SYNTAX_ERROR: line 1:8: a SELECT without columns (name columns before FROM, or write *)");
        assert!(error("select a, from t").starts_with("SYNTAX_ERROR: line 1:11: there is a comma"), "{}", error("select a, from t"));
        assert_eq!(error("select (1\n  + 2 "), "SYNTAX_ERROR: line 2:6: expected: ), found: EOF");
        // What stands there may be a secret.
        let found = error("create catalog c using rest with (token = 'a' 's3cr3t')");
        assert_eq!(found, "SYNTAX_ERROR: line 1:47: expected: ), found: something else");
        let found = error("create catalog c using rest with (token = 'a' || 's3cr3t')");
        assert!(found.starts_with("SYNTAX_ERROR") && found.ends_with("found: something else"), "{found}");
        assert!(error("create catalog c using rest with (token = 'a'").ends_with("found: EOF"));
    }

    #[test]
    fn what_is_not_there_yet_says_so() {
        for sql in ["explain (format json) select 1", "create role r", "drop role r"] {
            assert!(error(sql).starts_with("NOT_SUPPORTED: "), "{}", error(sql));
        }
        for (sql, text) in [
            ("GRANT SELECT ON t TO USER x", "line 1:1: GRANT statements are not supported yet"),
            ("REVOKE SELECT ON t FROM USER x", "line 1:1: REVOKE statements are not supported yet"),
            ("DENY SELECT ON t TO USER x", "line 1:1: DENY statements are not supported yet"),
            ("CREATE FUNCTION f(x bigint) RETURNS bigint RETURN x", "line 1:8: CREATE FUNCTION is not supported yet"),
            ("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 1", "line 1:19: CREATE MATERIALIZED VIEW is not supported yet"),
            ("DROP MATERIALIZED VIEW v", "line 1:6: DROP MATERIALIZED VIEW is not supported yet"),
            ("REFRESH MATERIALIZED VIEW v", "line 1:1: REFRESH MATERIALIZED VIEW is not supported yet"),
            ("SHOW CREATE MATERIALIZED VIEW v", "line 1:13: SHOW CREATE MATERIALIZED VIEW is not supported yet"),
        ] {
            assert_eq!(error(sql), format!("NOT_SUPPORTED: {text}"));
        }
        assert_eq!(error("create table t (a char(3))"), "NOT_SUPPORTED: line 1:19: type 'char' is not supported: Iceberg has none like it");
        assert_eq!(error("create table t (a nope)"), "TYPE_NOT_FOUND: line 1:19: type 'nope' does not exist");
    }
}
