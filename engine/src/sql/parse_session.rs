//! What changes a session besides its properties: transactions, roles, for whom it acts, and its path.

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::names::normalized;
use super::parse::{take_word, take_words};
use super::statement::{IsolationLevel, Role, Statement, TransactionModes};

type Parsed<T> = Result<T, ParserError>;

/// The statement of this kind that starts here, if one does.
pub(super) fn parse_session(parser: &mut Parser<'_>) -> Parsed<Option<Statement>> {
    let statement = if take_words(parser, &["START", "TRANSACTION"]) {
        Statement::StartTransaction(parse_modes(parser)?)
    } else if take_word(parser, "COMMIT") {
        take_word(parser, "WORK");
        Statement::Commit
    } else if take_word(parser, "ROLLBACK") {
        take_word(parser, "WORK");
        Statement::Rollback
    } else if take_words(parser, &["SET", "ROLE"]) {
        parse_role(parser)?
    } else if take_words(parser, &["SET", "SESSION", "AUTHORIZATION"]) {
        Statement::SetAuthorization(parse_user(parser)?)
    } else if take_words(parser, &["RESET", "SESSION", "AUTHORIZATION"]) {
        Statement::ResetAuthorization
    } else if take_words(parser, &["SET", "PATH"]) {
        Statement::SetPath(parser.parse_comma_separated(|parser| parser.parse_object_name(false))?)
    } else {
        return Ok(None);
    };
    Ok(Some(statement))
}

fn parse_modes(parser: &mut Parser<'_>) -> Parsed<TransactionModes> {
    let (mut isolation, mut read_only) = (None, None);
    if !matches!(parser.peek_token_ref().token, Token::EOF | Token::SemiColon) {
        loop {
            let is_twice = if take_words(parser, &["ISOLATION", "LEVEL"]) {
                isolation.replace(parse_level(parser)?).is_some()
            } else if take_words(parser, &["READ", "ONLY"]) {
                read_only.replace(true).is_some()
            } else if take_words(parser, &["READ", "WRITE"]) {
                read_only.replace(false).is_some()
            } else {
                return parser.expected("ISOLATION LEVEL, READ ONLY or READ WRITE", parser.peek_token());
            };
            if is_twice {
                return Err(ParserError::ParserError("a mode of the transaction is given twice".to_owned()));
            }
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
    }
    Ok(TransactionModes { isolation: isolation.unwrap_or_default(), read_only: read_only.unwrap_or_default() })
}

fn parse_level(parser: &mut Parser<'_>) -> Parsed<IsolationLevel> {
    if take_words(parser, &["READ", "UNCOMMITTED"]) {
        Ok(IsolationLevel::ReadUncommitted)
    } else if take_words(parser, &["READ", "COMMITTED"]) {
        Ok(IsolationLevel::ReadCommitted)
    } else if take_words(parser, &["REPEATABLE", "READ"]) {
        Ok(IsolationLevel::RepeatableRead)
    } else if take_word(parser, "SERIALIZABLE") {
        Ok(IsolationLevel::Serializable)
    } else {
        parser.expected("READ UNCOMMITTED, READ COMMITTED, REPEATABLE READ or SERIALIZABLE", parser.peek_token())
    }
}

fn parse_role(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let role = if take_word(parser, "ALL") {
        Role::All
    } else if take_word(parser, "NONE") {
        Role::None
    } else {
        Role::Named(normalized(&parser.parse_identifier()?))
    };
    let catalog = if take_word(parser, "IN") { Some(normalized(&parser.parse_identifier()?)) } else { None };
    Ok(Statement::SetRole { role, catalog })
}

/// A name, or a text.
fn parse_user(parser: &mut Parser<'_>) -> Parsed<String> {
    match parser.peek_token_ref().token {
        Token::SingleQuotedString(_) => parser.parse_literal_string(),
        _ => parser.parse_identifier().map(|user| normalized(&user)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn modes(sql: &str) -> Option<(&'static str, bool)> {
        match parse(sql) {
            Ok(Statement::StartTransaction(modes)) => Some((modes.isolation.name(), modes.read_only)),
            _ => None,
        }
    }

    #[test]
    fn transactions_have_modes() {
        assert_eq!(modes("START TRANSACTION;"), Some(("READ UNCOMMITTED", false)));
        assert_eq!(modes("start transaction read only, isolation level repeatable read"), Some(("REPEATABLE READ", true)));
        assert_eq!(modes("START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE"), Some(("SERIALIZABLE", false)));
        for sql in ["START TRANSACTION READ ONLY, READ WRITE", "START TRANSACTION ISOLATION LEVEL NOPE", "START TRANSACTION READ ONLY,"] {
            assert!(parse(sql).is_err(), "{sql}");
        }
        assert!(matches!(parse("COMMIT WORK"), Ok(Statement::Commit)) && matches!(parse("rollback"), Ok(Statement::Rollback)));
    }

    #[test]
    fn roles_users_and_paths_are_named() {
        let role = |sql: &str| match parse(sql) {
            Ok(Statement::SetRole { role, catalog }) => Some((role, catalog)),
            _ => None,
        };
        assert_eq!(role("SET ROLE ALL"), Some((Role::All, None)));
        assert_eq!(role("SET ROLE none IN Lake"), Some((Role::None, Some("lake".to_owned()))));
        assert_eq!(role("SET ROLE \"Admin\""), Some((Role::Named("Admin".to_owned()), None)));
        assert!(matches!(parse("SET SESSION AUTHORIZATION 'Ada'"), Ok(Statement::SetAuthorization(user)) if user == "Ada"));
        assert!(matches!(parse("RESET SESSION AUTHORIZATION"), Ok(Statement::ResetAuthorization)));
        assert!(matches!(parse("SET PATH a, lake.b"), Ok(Statement::SetPath(path)) if path.len() == 2));
    }

    #[test]
    fn what_a_transaction_cannot_have_in_it_is_known() {
        let writes = |sql: &str| parse(sql).is_ok_and(|statement| statement.writes());
        for sql in ["INSERT INTO t VALUES (1)", "EXPLAIN DELETE FROM t", "CREATE SCHEMA s", "DROP VIEW v", "ANALYZE t", "TRUNCATE TABLE t"] {
            assert!(writes(sql), "{sql}");
        }
        for sql in ["SELECT 1", "SHOW TABLES", "USE s", "SET SESSION a = 1", "COMMIT", "DROP CATALOG c", "PREPARE p FROM DELETE FROM t"] {
            assert!(!writes(sql), "{sql}");
        }
        let target = parse("DELETE FROM lake.s.t WHERE a = 1").unwrap().target().map(ToString::to_string);
        assert_eq!(target.as_deref(), Some("lake.s.t"));
    }
}
