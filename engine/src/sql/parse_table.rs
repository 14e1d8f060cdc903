//! `CREATE` and `DROP` of tables, schemas, views and catalogs, with Trino's properties and types.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use nunatak_core::Location;

use super::options::option_value;
use super::parse::take_word;
use super::parse_alter::parse_alter;
use super::statement::{ColumnDefinition, CreateCatalog, CreateTable, Statement, TableLike};
use super::types::parse_type;
use crate::files::OptionValue;

/// What else Trino creates and drops.
const NOT_YET: [&str; 4] = ["MATERIALIZED", "ROLE", "FUNCTION", "BRANCH"];

type Parsed<T> = Result<T, ParserError>;

/// The `CREATE`, `DROP` or `ALTER` that starts here, if one does.
pub(super) fn parse_create_or_drop(parser: &mut Parser<'_>) -> Parsed<Option<Statement>> {
    if parser.parse_keyword(Keyword::CREATE) {
        let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
        return parse_create(parser, or_replace).map(Some);
    }
    if parser.parse_keyword(Keyword::DROP) {
        return parse_drop(parser).map(Some);
    }
    if parser.parse_keyword(Keyword::ALTER) {
        return if parser.parse_keyword(Keyword::VIEW) { parse_alter_view(parser) } else { parse_alter_table(parser) }.map(Some);
    }
    Ok(None)
}

fn parse_alter_table(parser: &mut Parser<'_>) -> Parsed<Statement> {
    if !parser.parse_keyword(Keyword::TABLE) {
        return refused(parser, "ALTER", &["SCHEMA", "MATERIALIZED"], "TABLE or VIEW after ALTER");
    }
    parse_alter(parser)
}

fn parse_alter_view(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let name = parser.parse_object_name(false)?;
    if !take_word(parser, "RENAME") {
        return refused(parser, "ALTER VIEW", &["SET", "REFRESH"], "RENAME TO after the name of the view");
    }
    parser.expect_keyword(Keyword::TO)?;
    Ok(Statement::RenameView { name, to: parser.parse_object_name(false)? })
}

fn parse_create(parser: &mut Parser<'_>, or_replace: bool) -> Parsed<Statement> {
    if parser.parse_keyword(Keyword::VIEW) {
        return parse_create_view(parser, or_replace);
    }
    if parser.parse_keyword(Keyword::TABLE) {
        return parse_create_table(parser, or_replace);
    }
    if !or_replace && parser.parse_keyword(Keyword::SCHEMA) {
        let if_not_exists = parse_if_not_exists(parser);
        let name = parser.parse_object_name(false)?;
        return Ok(Statement::CreateSchema { name, if_not_exists, properties: parse_properties(parser)? });
    }
    if !or_replace && take_word(parser, "CATALOG") {
        return parse_create_catalog(parser);
    }
    refused(parser, "CREATE", &NOT_YET, "TABLE, VIEW, SCHEMA or CATALOG after CREATE")
}

fn parse_create_catalog(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let if_not_exists = parse_if_not_exists(parser);
    let name = super::names::normalized(&parser.parse_identifier()?);
    parser.expect_keyword(Keyword::USING)?;
    let kind = super::names::normalized(&parser.parse_identifier()?);
    let comment = parse_comment(parser)?;
    let properties = parse_properties(parser).map_err(without_found)?;
    Ok(Statement::CreateCatalog(CreateCatalog { name, if_not_exists, kind, comment, properties }))
}

/// An error of the parser without what it has found: that can be a secret, and errors are in the log.
fn without_found(error: ParserError) -> ParserError {
    const FOUND: &str = "found: ";
    match error {
        ParserError::ParserError(text) => {
            let (wanted, found) = text.split_once(FOUND).unwrap_or((text.as_str(), "EOF"));
            let place = found.rfind(" at Line: ").map_or("", |start| &found[start..]);
            match found.starts_with("EOF") {
                true => ParserError::ParserError(text),
                false => ParserError::ParserError(format!("{wanted}{FOUND}something else{place}")),
            }
        }
        other => other,
    }
}

/// The error for another thing than those `wanted`: Trino's `others` are not there yet.
pub(super) fn refused<T>(parser: &mut Parser<'_>, verb: &str, others: &[&str], wanted: &str) -> Parsed<T> {
    let start = parser.peek_token_ref().span.start;
    match others.iter().find(|word| take_word(parser, word)) {
        Some(word) => {
            let what = if *word == "MATERIALIZED" { "MATERIALIZED VIEW" } else { *word };
            unsupported(&format!("{verb} {what} is not supported yet at Line: {}, Column: {}", start.line, start.column))
        }
        None => parser.expected(wanted, parser.peek_token()),
    }
}

pub(super) fn unsupported<T>(what: &str) -> Parsed<T> {
    Err(ParserError::ParserError(what.to_owned()))
}

pub(super) fn parse_if_not_exists(parser: &mut Parser<'_>) -> bool {
    parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS])
}

fn parse_create_view(parser: &mut Parser<'_>, or_replace: bool) -> Parsed<Statement> {
    let if_not_exists = parse_if_not_exists(parser);
    if or_replace && if_not_exists {
        return Err(ParserError::ParserError("CREATE OR REPLACE VIEW and IF NOT EXISTS exclude each other".to_owned()));
    }
    let name = parser.parse_object_name(false)?;
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(|parser| Ok(super::names::normalized(&parser.parse_identifier()?)))?;
        parser.expect_token(&Token::RParen)?;
    }
    let comment = parse_comment(parser)?;
    let invoker =
        parser.parse_keyword(Keyword::SECURITY) && parser.expect_one_of_keywords(&[Keyword::DEFINER, Keyword::INVOKER])? == Keyword::INVOKER;
    parser.expect_keyword(Keyword::AS)?;
    let start = parser.peek_token_ref().span.start;
    let start = Location { line: start.line, column: start.column };
    let query = parser.parse_query()?;
    Ok(Statement::CreateView { name, or_replace, if_not_exists, columns, comment, invoker, query, text: String::new(), start })
}

fn parse_create_table(parser: &mut Parser<'_>, or_replace: bool) -> Parsed<Statement> {
    let if_not_exists = parse_if_not_exists(parser);
    if or_replace && if_not_exists {
        return Err(ParserError::ParserError("CREATE OR REPLACE TABLE and IF NOT EXISTS exclude each other".to_owned()));
    }
    let name = parser.parse_object_name(false)?;
    let (mut columns, mut likes) = (Vec::new(), Vec::new());
    if parser.consume_token(&Token::LParen) {
        parser.parse_comma_separated(|parser| {
            match parser.parse_keyword(Keyword::LIKE) {
                true => likes.push(parse_like(parser, columns.len())?),
                false => columns.push(parse_column(parser)?),
            }
            Ok(())
        })?;
        parser.expect_token(&Token::RParen)?;
    }
    let comment = parse_comment(parser)?;
    let properties = parse_properties(parser)?;
    let query = if likes.is_empty() && parser.parse_keyword(Keyword::AS) { Some(parser.parse_query()?) } else { None };
    if query.is_none() && columns.is_empty() && likes.is_empty() {
        return parser.expected("a list of columns or AS", parser.peek_token());
    }
    let with_data = parse_with_data(parser)?;
    Ok(Statement::CreateTable(Box::new(CreateTable { name, if_not_exists, or_replace, columns, likes, comment, properties, query, with_data })))
}

/// What stands behind `LIKE`, with so many columns before it.
fn parse_like(parser: &mut Parser<'_>, place: usize) -> Parsed<TableLike> {
    let table = parser.parse_object_name(false)?;
    let with_properties = take_word(parser, "INCLUDING");
    if (with_properties || take_word(parser, "EXCLUDING")) && !take_word(parser, "PROPERTIES") {
        return parser.expected("PROPERTIES", parser.peek_token());
    }
    Ok(TableLike { table, place, with_properties })
}

fn parse_with_data(parser: &mut Parser<'_>) -> Parsed<bool> {
    if !parser.parse_keyword(Keyword::WITH) {
        return Ok(true);
    }
    let with_data = !parser.parse_keyword(Keyword::NO);
    parser.expect_keyword(Keyword::DATA)?;
    Ok(with_data)
}

pub(super) fn parse_column(parser: &mut Parser<'_>) -> Parsed<ColumnDefinition> {
    let name = super::names::normalized(&parser.parse_identifier()?);
    let mut column = ColumnDefinition { name, column_type: None, not_null: false, default: None, comment: None };
    if matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen) {
        return Ok(column);
    }
    column.column_type = Some(parse_type(parser)?);
    loop {
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            column.not_null = true;
        } else if let Some(comment) = parse_comment(parser)? {
            column.comment = Some(comment);
        } else if parser.parse_keyword(Keyword::DEFAULT) {
            column.default = Some(parse_default(parser)?);
        } else if !parser.parse_keyword(Keyword::NULL) {
            return Ok(column);
        }
    }
}

/// The value behind `DEFAULT`. What may stand behind it is no part of it.
pub(super) fn parse_default(parser: &mut Parser<'_>) -> Parsed<Expr> {
    parser.parse_prefix()
}

pub(super) fn parse_comment(parser: &mut Parser<'_>) -> Parsed<Option<String>> {
    if parser.parse_keyword(Keyword::COMMENT) { parser.parse_literal_string().map(Some) } else { Ok(None) }
}

/// `WITH (name = value, ...)`, if it stands here.
pub(super) fn parse_properties(parser: &mut Parser<'_>) -> Parsed<Vec<(String, OptionValue)>> {
    if parser.peek_nth_token_ref(1).token != Token::LParen || !parser.parse_keyword(Keyword::WITH) {
        return Ok(Vec::new());
    }
    parser.expect_token(&Token::LParen)?;
    let properties = parser.parse_comma_separated(|parser| {
        let name = parser.parse_identifier()?.value.to_lowercase();
        parser.expect_token(&Token::Eq)?;
        Ok((name, option_value(&parser.parse_expr()?)?))
    })?;
    parser.expect_token(&Token::RParen)?;
    Ok(properties)
}

fn parse_drop(parser: &mut Parser<'_>) -> Parsed<Statement> {
    if take_word(parser, "CATALOG") {
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        return Ok(Statement::DropCatalog { name: super::names::normalized(&parser.parse_identifier()?), if_exists });
    }
    let Some(kind) = parser.parse_one_of_keywords(&[Keyword::TABLE, Keyword::VIEW, Keyword::SCHEMA]) else {
        return refused(parser, "DROP", &NOT_YET, "TABLE, VIEW, SCHEMA or CATALOG after DROP");
    };
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    if kind == Keyword::SCHEMA && !parser.parse_keyword(Keyword::RESTRICT) && parser.parse_keyword(Keyword::CASCADE) {
        return unsupported("DROP SCHEMA ... CASCADE is not supported yet");
    }
    Ok(match kind {
        Keyword::TABLE => Statement::DropTable { name, if_exists },
        Keyword::VIEW => Statement::DropView { name, if_exists },
        _ => Statement::DropSchema { name, if_exists },
    })
}
