//! `PREPARE`, `EXECUTE`, `DEALLOCATE` and `DESCRIBE INPUT` and `OUTPUT`.
//!
//! A prepared statement is a text, which its client keeps. `EXECUTE` puts the tokens of its values in the place of the text's `?`, so that values may stand wherever
//! an expression may, and have the types that they are written with.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use nunatak_core::{Code, Error, Location, Result};

use super::names::normalized;
use super::parse::{is_word, parse_statement, take_word, take_words};
use super::statement::{DescribedPart, ExecutePrepared, PreparedText, Statement};
use crate::error::from_parser;

type Parsed<T> = std::result::Result<T, ParserError>;

/// `name FROM statement`. The text is added by who has it.
pub(super) fn parse_prepare(parser: &mut Parser<'_>) -> Result<Statement> {
    let name = parse_name(parser).map_err(from_parser)?;
    parser.expect_keyword(Keyword::FROM).map_err(from_parser)?;
    let start = parser.peek_token_ref().span.start;
    let start = Location { line: start.line, column: start.column };
    match parse_statement(parser)? {
        Statement::Prepare { .. } | Statement::ExecutePrepared(_) | Statement::Deallocate { .. } | Statement::DescribePrepared { .. } => {
            Err(Error::not_supported("PREPARE, EXECUTE, DEALLOCATE and DESCRIBE INPUT or OUTPUT cannot be prepared").at(start))
        }
        _ => Ok(Statement::Prepare { name, text: String::new(), start }),
    }
}

/// `EXECUTE name [USING ...]`, `EXECUTE IMMEDIATE 'text' [USING ...]`, `DEALLOCATE PREPARE name` or `DESCRIBE INPUT name`, if one of them starts here.
pub(super) fn parse_known(parser: &mut Parser<'_>) -> Parsed<Option<Statement>> {
    if take_word(parser, "EXECUTE") {
        return parse_execute(parser).map(Some);
    }
    if take_word(parser, "DEALLOCATE") {
        parser.expect_keyword(Keyword::PREPARE)?;
        return Ok(Some(Statement::Deallocate { name: parse_name(parser)? }));
    }
    // A table may be called so, too.
    let names_prepared = matches!(parser.peek_nth_token_ref(2).token, Token::Word(_));
    if names_prepared && take_words(parser, &["DESCRIBE", "INPUT"]) {
        return Ok(Some(Statement::DescribePrepared { name: parse_name(parser)?, part: DescribedPart::Input }));
    }
    if names_prepared && take_words(parser, &["DESCRIBE", "OUTPUT"]) {
        return Ok(Some(Statement::DescribePrepared { name: parse_name(parser)?, part: DescribedPart::Output }));
    }
    Ok(None)
}

fn parse_name(parser: &mut Parser<'_>) -> Parsed<String> {
    parser.parse_identifier().map(|name| normalized(&name))
}

fn parse_execute(parser: &mut Parser<'_>) -> Parsed<Statement> {
    let is_immediate = is_word(parser.peek_token_ref(), "IMMEDIATE") && matches!(parser.peek_nth_token_ref(1).token, Token::SingleQuotedString(_));
    let of = if is_immediate && take_word(parser, "IMMEDIATE") {
        PreparedText::Immediate(parser.parse_literal_string()?)
    } else {
        PreparedText::Named(parse_name(parser)?)
    };
    let arguments = match take_word(parser, "USING") {
        true => parser.parse_comma_separated(parse_argument)?,
        false => Vec::new(),
    };
    Ok(Statement::ExecutePrepared(ExecutePrepared { of, arguments }))
}

/// The tokens of an expression; in parentheses where it is more than a literal.
fn parse_argument(parser: &mut Parser<'_>) -> Parsed<Vec<Token>> {
    let first = parser.index();
    let expression = parser.parse_expr()?;
    let tokens = (first..parser.index()).map(|at| parser.token_at(at).token.clone());
    Ok(match expression {
        Expr::Value(_) | Expr::TypedString(_) => tokens.collect(),
        _ => [Token::LParen].into_iter().chain(tokens).chain([Token::RParen]).collect(),
    })
}

/// The tokens with values in the place of each `?`.
///
/// Errors: `INVALID_PARAMETER_USAGE` where their numbers differ.
pub(super) fn with_arguments(tokens: Vec<TokenWithSpan>, arguments: Vec<Vec<Token>>) -> Result<Vec<TokenWithSpan>> {
    let is_parameter = |token: &TokenWithSpan| matches!(&token.token, Token::Placeholder(text) if text == "?");
    let (wanted, given) = (tokens.iter().filter(|token| is_parameter(token)).count(), arguments.len());
    if wanted != given {
        return Err(Error::new(Code::InvalidParameterUsage, format!("incorrect number of parameters: expected {wanted} but found {given}")));
    }
    let mut arguments = arguments.into_iter();
    let mut out = Vec::with_capacity(tokens.len());
    for token in tokens {
        match is_parameter(&token).then(|| arguments.next()).flatten() {
            Some(argument) => out.extend(argument.into_iter().map(|part| TokenWithSpan { token: part, span: token.span })),
            None => out.push(token),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::parse::{parse, parse_executed};
    use super::*;

    fn execute(text: &str, using: &str) -> Result<Statement> {
        let quoted = text.replace('\'', "''");
        match parse(&format!("EXECUTE IMMEDIATE '{quoted}'{using}"))? {
            Statement::ExecutePrepared(ExecutePrepared { of: PreparedText::Immediate(kept), arguments }) => {
                assert_eq!(kept, text);
                parse_executed(&kept, arguments)
            }
            other => panic!("{other:?}"),
        }
    }

    fn query(text: &str, using: &str) -> String {
        match execute(text, using) {
            Ok(Statement::Query(query)) => query.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn values_take_the_place_of_parameters() {
        assert_eq!(query("SELECT ? + 1, '?'", " USING 2"), "SELECT 2 + 1, '?'");
        assert_eq!(query("SELECT 3 * ? LIMIT ?", " USING 1 + 1, 5"), "SELECT 3 * (1 + 1) LIMIT 5");
        assert_eq!(query("SELECT ?, ?", " USING DATE '2024-01-01', 'it''s'"), "SELECT DATE '2024-01-01', 'it''s'");
        assert_eq!(query("SELECT 1", ""), "SELECT 1");
    }

    #[test]
    fn as_many_values_as_parameters_are_wanted() {
        for (using, found) in [("", 0), (" USING 1, 2", 2)] {
            let error = execute("SELECT ?", using).unwrap_err();
            assert_eq!((error.code(), error.message().ends_with(&format!("expected 1 but found {found}"))), (Code::InvalidParameterUsage, true));
        }
    }

    #[test]
    fn statements_are_prepared_as_they_are_written() {
        let prepared = |sql: &str| match parse(sql) {
            Ok(Statement::Prepare { name, text, .. }) => (name, text),
            other => panic!("{other:?}"),
        };
        assert_eq!(prepared("PREPARE a FROM SELECT\n ? + 1 ;"), ("a".to_owned(), "SELECT\n ? + 1".to_owned()));
        assert_eq!(prepared("prepare \"A b\" from INSERT INTO t VALUES (?, ?)").1, "INSERT INTO t VALUES (?, ?)");
        assert!(parse("PREPARE a FROM EXECUTE b").is_err() && parse("PREPARE a FROM SELEC").is_err());
    }

    #[test]
    fn tables_may_be_called_input() {
        assert!(matches!(parse("DESCRIBE input"), Ok(Statement::Show(_))));
        assert!(matches!(parse("DESCRIBE OUTPUT a"), Ok(Statement::DescribePrepared { part: DescribedPart::Output, .. })));
        assert!(matches!(parse("DEALLOCATE PREPARE a"), Ok(Statement::Deallocate { .. })));
    }
}
