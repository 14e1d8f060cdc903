//! Trino's SQL as a dialect of `sqlparser`.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// How strongly `||` binds: less than `+`, more than comparisons.
const CONCATENATION: u8 = 25;

/// Trino's dialect: what the generic one takes, plus table versions, less what would hide a mistake.
#[derive(Debug)]
pub(super) struct TrinoDialect;

impl Dialect for TrinoDialect {
    /// Passes for the generic dialect, so that constructs which `sqlparser` ties to it by name are taken too.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || character == '_'
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        character == '"'
    }

    fn identifier_quote_style(&self, _identifier: &str) -> Option<char> {
        Some('"')
    }

    fn supports_table_versioning(&self) -> bool {
        true
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_within_after_array_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    fn supports_window_function_null_treatment_arg(&self) -> bool {
        true
    }

    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        true
    }

    fn supports_lambda_functions(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }

    fn supports_values_as_table_factor(&self) -> bool {
        true
    }

    fn supports_select_wildcard_except(&self) -> bool {
        true
    }

    fn supports_select_expr_star(&self) -> bool {
        true
    }

    fn supports_select_wildcard_rename(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn supports_boolean_literals(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        matches!(parser.peek_token_ref().token, Token::StringConcat).then_some(Ok(CONCATENATION))
    }

    /// `a IS DISTINCT FROM b AND c`: `sqlparser` takes all that follows for the right side, `b AND c`.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let is_negated = if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            false
        } else if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            true
        } else {
            return None;
        };
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(right.map(|right| {
            let (left, right) = (Box::new(expr.clone()), Box::new(right));
            if is_negated { Expr::IsNotDistinctFrom(left, right) } else { Expr::IsDistinctFrom(left, right) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(sql: &str) -> Expr {
        Parser::new(&TrinoDialect).try_with_sql(sql).unwrap().parse_expr().unwrap()
    }

    #[test]
    fn operators_bind_as_in_trino() {
        for (sql, meant) in [
            ("a IS DISTINCT FROM b AND c", "(a IS DISTINCT FROM b) AND c"),
            ("a IS NOT DISTINCT FROM b + 1 OR c IS DISTINCT FROM d OR e", "((a IS NOT DISTINCT FROM (b + 1)) OR (c IS DISTINCT FROM d)) OR e"),
            ("NOT a IS DISTINCT FROM b AND c", "(NOT (a IS DISTINCT FROM b)) AND c"),
            ("a || b + c = d || e * f AND g", "((a || (b + c)) = (d || (e * f))) AND g"),
        ] {
            assert_eq!(without_parentheses(&parsed(sql)), without_parentheses(&parsed(meant)), "{sql}");
        }
        assert_ne!(without_parentheses(&parsed("a IS DISTINCT FROM b AND c")), without_parentheses(&parsed("a IS DISTINCT FROM (b AND c)")));
    }

    /// How an expression is nested, without what wrote it down.
    fn without_parentheses(expression: &Expr) -> String {
        match expression {
            Expr::Nested(inner) => without_parentheses(inner),
            Expr::BinaryOp { left, op, right } => format!("[{} {op} {}]", without_parentheses(left), without_parentheses(right)),
            Expr::IsDistinctFrom(left, right) => format!("[{} <> {}]", without_parentheses(left), without_parentheses(right)),
            Expr::IsNotDistinctFrom(left, right) => format!("[{} == {}]", without_parentheses(left), without_parentheses(right)),
            Expr::UnaryOp { op, expr } => format!("[{op} {}]", without_parentheses(expr)),
            other => other.to_string(),
        }
    }
}
