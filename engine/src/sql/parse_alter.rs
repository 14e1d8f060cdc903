//! `ALTER TABLE`, `COMMENT ON` and `TRUNCATE TABLE`.

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use nunatak_catalog::commit::{Existing, RefChange};
use nunatak_catalog::evolution::{ColumnChange, Position};
use nunatak_catalog::spec::SnapshotRetention;

use super::names::{normalized, parts};
use super::options::option_value;
use super::parse::{is_word, take_word};
use super::parse_table::{parse_comment, parse_default, parse_if_not_exists, refused, unsupported};
use super::statement::{Call, Execute, Statement, TableChange};
use super::types::parse_type;
use crate::files::OptionValue;

type Parsed<T> = Result<T, ParserError>;

/// What stands behind `ALTER TABLE`.
pub(super) fn parse_alter(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let if_exists = parse_if_exists(parser);
    let name = parser.parse_object_name(false)?;
    let change = if take_word(parser, "RENAME") {
        if take_word(parser, "TO") {
            return Ok(Statement::RenameTable { name, to: parser.parse_object_name(false)?, if_exists });
        }
        parse_rename_column(parser)?
    } else if take_word(parser, "ADD") {
        parse_add_column(parser)?
    } else if take_word(parser, "CREATE") {
        TableChange::Ref(parse_create_ref(parser)?)
    } else if take_word(parser, "DROP") {
        if let Some(is_branch) = take_branch_or_tag(parser) {
            let if_exists = parse_if_exists(parser);
            let name = parser.parse_identifier()?.value;
            TableChange::Ref(RefChange::Drop { name, is_branch, if_exists })
        } else {
            expect_word(parser, "COLUMN")?;
            let tolerant = parse_if_exists(parser);
            without_default(ColumnChange::Drop { path: parse_path(parser)? }, tolerant)
        }
    } else if take_word(parser, "ALTER") {
        expect_word(parser, "COLUMN")?;
        parse_alter_column(parser)?
    } else if take_word(parser, "SET") {
        if !take_word(parser, "PROPERTIES") {
            return refused(parser, "ALTER TABLE SET", &["AUTHORIZATION"], "PROPERTIES after SET");
        }
        TableChange::Properties(parser.parse_comma_separated(parse_property)?)
    } else if take_word(parser, "EXECUTE") {
        return parse_execute(parser, name);
    } else {
        return parser.expected("RENAME, ADD, DROP, ALTER, SET or EXECUTE after the name of the table", parser.peek_token());
    };
    Ok(Statement::AlterTable { name, if_exists, change })
}

/// `procedure`, or `procedure(value, name => value, ...)`, and `WHERE condition`.
fn parse_execute(parser: &mut Parser<'_>, table: ObjectName) -> Parsed<Statement> {
    let procedure = normalized(&parser.parse_identifier()?).to_lowercase();
    let arguments = parse_arguments(parser)?;
    let filter = if parser.parse_keyword(Keyword::WHERE) { Some(parser.parse_expr()?) } else { None };
    Ok(Statement::Execute(Box::new(Execute { table, procedure, arguments, filter })))
}

/// What stands behind `CALL`.
pub(super) fn parse_call(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let name = parser.parse_object_name(false)?;
    Ok(Statement::Call(Box::new(Call { name, arguments: parse_arguments(parser)? })))
}

/// `(value, name => value, ...)`, or nothing.
fn parse_arguments(parser: &mut Parser<'_>) -> Parsed<Vec<(Option<String>, OptionValue)>> {
    if !parser.consume_token(&Token::LParen) || parser.consume_token(&Token::RParen) {
        return Ok(Vec::new());
    }
    let arguments = parser.parse_comma_separated(parse_argument)?;
    parser.expect_token(&Token::RParen)?;
    Ok(arguments)
}

fn parse_argument(parser: &mut Parser<'_>) -> Parsed<(Option<String>, OptionValue)> {
    let mut name = None;
    if parser.peek_nth_token_ref(1).token == Token::RArrow {
        name = Some(normalized(&parser.parse_identifier()?).to_lowercase());
        parser.expect_token(&Token::RArrow)?;
    }
    Ok((name, option_value(&parser.parse_expr()?)?))
}

/// What stands behind `COMMENT`.
pub(super) fn parse_comment_on(parser: &mut Parser<'_>) -> Parsed<Statement> {
    expect_word(parser, "ON")?;
    let of_column = take_word(parser, "COLUMN");
    let of_view = !of_column && take_word(parser, "VIEW");
    if !of_column && !of_view && !take_word(parser, "TABLE") {
        return parser.expected("TABLE, VIEW or COLUMN after ON", parser.peek_token());
    }
    let mut name = parser.parse_object_name(false)?;
    let column = match of_column {
        true if name.0.len() > 1 => name.0.pop(),
        true => return parser.expected("a table and its column, as in t.c", parser.peek_token()),
        false => None,
    };
    expect_word(parser, "IS")?;
    let text = if parser.parse_keyword(Keyword::NULL) { None } else { Some(parser.parse_literal_string()?) };
    if of_view {
        return Ok(Statement::CommentOnView { name, comment: text });
    }
    let change = match column {
        Some(column) => {
            let path = parts(&ObjectName(vec![column]));
            without_default(ColumnChange::Document { path, doc: text }, false)
        }
        None => TableChange::Comment(text),
    };
    Ok(Statement::AlterTable { name, if_exists: false, change })
}

fn parse_if_exists(parser: &mut Parser<'_>) -> bool {
    parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS])
}

fn expect_word(parser: &mut Parser<'_>, word: &str) -> Parsed<()> {
    match take_word(parser, word) {
        true => Ok(()),
        false => parser.expected(word, parser.peek_token()),
    }
}

/// `column` or `column.field`.
fn parse_path(parser: &mut Parser<'_>) -> Parsed<Vec<String>> {
    Ok(parts(&parser.parse_object_name(false)?))
}

fn parse_rename_column(parser: &mut Parser<'_>) -> Parsed<TableChange> {
    if !take_word(parser, "COLUMN") {
        return parser.expected("TO or COLUMN after RENAME", parser.peek_token());
    }
    let tolerant = parse_if_exists(parser);
    let path = parse_path(parser)?;
    expect_word(parser, "TO")?;
    let to = normalized(&parser.parse_identifier()?);
    Ok(without_default(ColumnChange::Rename { path, to }, tolerant))
}

fn parse_add_column(parser: &mut Parser<'_>) -> Parsed<TableChange> {
    expect_word(parser, "COLUMN")?;
    let tolerant = parse_if_not_exists(parser);
    let path = parse_path(parser)?;
    let field_type = parse_type(parser)?;
    let (mut doc, mut position, mut default, mut required) = (None, None, None, false);
    loop {
        if parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]) {
            required = true;
        } else if parser.parse_keyword(Keyword::DEFAULT) {
            default = Some(Box::new(parse_default(parser)?));
        } else if let Some(comment) = parse_comment(parser)? {
            doc = Some(comment);
        } else if take_word(parser, "LAST") {
            position = None;
        } else if let Some(place) = parse_position(parser)? {
            position = Some(place);
        } else {
            return Ok(TableChange::Column {
                change: Box::new(ColumnChange::Add { path, field_type, default: None, required, doc, position }),
                default,
                tolerant,
            });
        }
    }
}

fn without_default(change: ColumnChange, tolerant: bool) -> TableChange {
    TableChange::Column { change: Box::new(change), default: None, tolerant }
}

fn parse_position(parser: &mut Parser<'_>) -> Parsed<Option<Position>> {
    if take_word(parser, "FIRST") {
        return Ok(Some(Position::First));
    }
    if take_word(parser, "AFTER") {
        return Ok(Some(Position::After(normalized(&parser.parse_identifier()?))));
    }
    Ok(None)
}

fn parse_alter_column(parser: &mut Parser<'_>) -> Parsed<TableChange> {
    let path = parse_path(parser)?;
    if parser.parse_keywords(&[Keyword::SET, Keyword::DEFAULT]) {
        let default = Some(Box::new(parse_default(parser)?));
        return Ok(TableChange::Column { change: Box::new(ColumnChange::SetDefault { path, default: None }), default, tolerant: false });
    }
    if parser.parse_keywords(&[Keyword::DROP, Keyword::DEFAULT]) {
        return Ok(without_default(ColumnChange::SetDefault { path, default: None }, false));
    }
    if let Some(position) = parse_position(parser)? {
        return Ok(without_default(ColumnChange::Move { path, position }, false));
    }
    if parser.parse_keywords(&[Keyword::SET, Keyword::DATA, Keyword::TYPE]) || take_word(parser, "TYPE") {
        return Ok(without_default(ColumnChange::Retype { path, to: parse_type(parser)? }, false));
    }
    if parser.parse_keywords(&[Keyword::DROP, Keyword::NOT, Keyword::NULL]) {
        return Ok(without_default(ColumnChange::MakeOptional { path }, false));
    }
    if parser.parse_keywords(&[Keyword::SET, Keyword::NOT, Keyword::NULL]) {
        return unsupported("SET NOT NULL is not supported: rows that are there may have no value");
    }
    if parser.parse_keywords(&[Keyword::SET, Keyword::DEFAULT]) || parser.parse_keywords(&[Keyword::DROP, Keyword::DEFAULT]) {
        return unsupported("DEFAULT values of columns are not supported yet");
    }
    parser.expected("SET DATA TYPE, DROP NOT NULL, FIRST or AFTER", parser.peek_token())
}

/// Whether a branch or a tag is meant.
fn take_branch_or_tag(parser: &mut Parser<'_>) -> Option<bool> {
    if take_word(parser, "BRANCH") {
        return Some(true);
    }
    take_word(parser, "TAG").then_some(false)
}

/// Spark's `[OR REPLACE] BRANCH [IF NOT EXISTS] b [AS OF VERSION n] [RETAIN n DAYS] [WITH SNAPSHOT RETENTION [n SNAPSHOTS] [n DAYS]]`, and the same of a tag.
fn parse_create_ref(parser: &mut Parser<'_>) -> Parsed<RefChange> {
    let replaces = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
    let Some(is_branch) = take_branch_or_tag(parser) else { return parser.expected("BRANCH or TAG after CREATE", parser.peek_token()) };
    let existing = match parse_if_not_exists(parser) {
        true => Existing::Kept,
        false if replaces => Existing::Replaced,
        false => Existing::Refused,
    };
    let name = parser.parse_identifier()?.value;
    let mut snapshot_id = None;
    if parser.parse_keyword(Keyword::AS) {
        expect_word(parser, "OF")?;
        expect_word(parser, "VERSION")?;
        snapshot_id = Some(parse_count(parser)?);
    }
    let max_ref_age_ms = if take_word(parser, "RETAIN") { Some(parse_time(parser)?) } else { None };
    let (mut min_snapshots_to_keep, mut max_snapshot_age_ms) = (None, None);
    if is_branch && parser.parse_keyword(Keyword::WITH) {
        expect_word(parser, "SNAPSHOT")?;
        expect_word(parser, "RETENTION")?;
        if is_word(parser.peek_nth_token_ref(1), "SNAPSHOTS") {
            min_snapshots_to_keep = i32::try_from(parse_count(parser)?).ok();
            parser.next_token();
        }
        if matches!(parser.peek_token_ref().token, Token::Number(..)) {
            max_snapshot_age_ms = Some(parse_time(parser)?);
        }
    }
    let retention = match is_branch {
        true => SnapshotRetention::branch(min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms),
        false => SnapshotRetention::Tag { max_ref_age_ms },
    };
    Ok(RefChange::Create { name, snapshot_id, retention, existing })
}

fn parse_count(parser: &mut Parser<'_>) -> Parsed<i64> {
    i64::try_from(parser.parse_literal_uint()?).map_err(|error| ParserError::ParserError(error.to_string()))
}

/// `7 DAYS`, in milliseconds.
fn parse_time(parser: &mut Parser<'_>) -> Parsed<i64> {
    const UNITS: [(&str, i64); 3] = [("DAYS", 86_400_000), ("HOURS", 3_600_000), ("MINUTES", 60_000)];
    let count = parse_count(parser)?;
    match UNITS.iter().find(|(unit, _)| take_word(parser, unit)) {
        Some((_, unit_ms)) => Ok(count.saturating_mul(*unit_ms)),
        None => parser.expected("DAYS, HOURS or MINUTES", parser.peek_token()),
    }
}

/// `name = value`, or `name = DEFAULT`.
fn parse_property(parser: &mut Parser<'_>) -> Parsed<(String, Option<OptionValue>)> {
    let name = parser.parse_identifier()?.value.to_lowercase();
    parser.expect_token(&Token::Eq)?;
    let value = if parser.parse_keyword(Keyword::DEFAULT) { None } else { Some(option_value(&parser.parse_expr()?)?) };
    Ok((name, value))
}
