//! `SHOW ...` and `DESCRIBE`.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::like_text::LikeText;
use super::parse::{take_word, take_words};
use super::parse_table::refused;
use super::statement::{RolesOf, Show, Statement, StatisticsOf};

type Parsed<T> = Result<T, ParserError>;

/// The listing that starts here, if one does.
pub(super) fn parse_show(parser: &mut Parser<'_>) -> Parsed<Option<Statement>> {
    if take_word(parser, "DESCRIBE") || take_word(parser, "DESC") {
        return Ok(Some(Statement::Show(Show::Columns { table: parser.parse_object_name(false)?, like: None })));
    }
    if !take_word(parser, "SHOW") {
        return Ok(None);
    }
    if take_word(parser, "STATS") {
        return parse_show_stats(parser).map(Some);
    }
    let show = if take_word(parser, "CATALOGS") {
        Show::Catalogs { like: parse_like(parser)? }
    } else if take_word(parser, "SCHEMAS") {
        Show::Schemas { catalog: parse_from(parser)?.map(|name| last_part(&name)), like: parse_like(parser)? }
    } else if take_word(parser, "TABLES") {
        Show::Tables { schema: parse_from(parser)?, like: parse_like(parser)? }
    } else if take_word(parser, "COLUMNS") {
        let Some(table) = parse_from(parser)? else {
            return parser.expected("FROM", parser.peek_token());
        };
        Show::Columns { table, like: parse_like(parser)? }
    } else if take_word(parser, "CREATE") {
        parse_show_create(parser)?
    } else if take_word(parser, "SESSION") {
        Show::Session { like: parse_like(parser)? }
    } else if take_word(parser, "FUNCTIONS") {
        Show::Functions { schema: parse_from(parser)?, like: parse_like(parser)? }
    } else if take_word(parser, "GRANTS") {
        Show::Grants { table: parse_grants_on(parser)? }
    } else if take_word(parser, "ROLES") {
        Show::Roles { of: RolesOf::All, catalog: parse_from(parser)?.map(|name| last_part(&name)) }
    } else if take_words(parser, &["CURRENT", "ROLES"]) {
        Show::Roles { of: RolesOf::Session, catalog: parse_from(parser)?.map(|name| last_part(&name)) }
    } else if take_words(parser, &["ROLE", "GRANTS"]) {
        Show::Roles { of: RolesOf::User, catalog: parse_from(parser)?.map(|name| last_part(&name)) }
    } else {
        let wanted = "CATALOGS, SCHEMAS, TABLES, COLUMNS, CREATE, SESSION, STATS, FUNCTIONS, GRANTS, ROLES, CURRENT ROLES or ROLE GRANTS";
        return parser.expected(wanted, parser.peek_token());
    };
    Ok(Some(Statement::Show(show)))
}

fn parse_show_stats(parser: &mut Parser<'_>) -> Parsed<Statement> {
    parser.expect_keyword(Keyword::FOR)?;
    if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        return Ok(Statement::ShowStats(StatisticsOf::Query(query)));
    }
    Ok(Statement::ShowStats(StatisticsOf::Table(parser.parse_object_name(false)?)))
}

fn parse_show_create(parser: &mut Parser<'_>) -> Parsed<Show> {
    if take_word(parser, "TABLE") {
        Ok(Show::CreateTable(parser.parse_object_name(false)?))
    } else if take_word(parser, "VIEW") {
        Ok(Show::CreateView(parser.parse_object_name(false)?))
    } else if take_word(parser, "SCHEMA") {
        Ok(Show::CreateSchema(parser.parse_object_name(false)?))
    } else {
        refused(parser, "SHOW CREATE", &["MATERIALIZED", "FUNCTION"], "TABLE, VIEW or SCHEMA")
    }
}

/// `ON [TABLE] t`.
fn parse_grants_on(parser: &mut Parser<'_>) -> Parsed<Option<ObjectName>> {
    if !take_word(parser, "ON") {
        return Ok(None);
    }
    take_word(parser, "TABLE");
    parser.parse_object_name(false).map(Some)
}

fn parse_from(parser: &mut Parser<'_>) -> Parsed<Option<ObjectName>> {
    if parser.parse_one_of_keywords(&[Keyword::FROM, Keyword::IN]).is_some() { parser.parse_object_name(false).map(Some) } else { Ok(None) }
}

fn parse_like(parser: &mut Parser<'_>) -> Parsed<Option<LikeText>> {
    if !parser.parse_keyword(Keyword::LIKE) {
        return Ok(None);
    }
    let pattern = parser.parse_literal_string()?;
    let escape = if take_word(parser, "ESCAPE") { Some(parser.parse_literal_string()?) } else { None };
    Ok(Some(LikeText { pattern, escape }))
}

fn last_part(name: &ObjectName) -> String {
    super::names::parts(name).pop().unwrap_or_default()
}
