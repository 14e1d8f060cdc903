//! Trino's expressions that look like functions but are none, or that DataFusion plans otherwise: `if(...)`, `try(...)`, and casts to `varchar(n)`, `char(n)` and `decimal`.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    CaseWhen, CastKind, CharacterLength, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, LambdaFunction, LambdaSyntax, ObjectName, ObjectNamePart, OneOrManyWithParens, Value,
};
use nunatak_core::{Code, Error, Result};
use nunatak_functions::lambda::REGEXP_REPLACE;

use super::names::normalized;
use crate::functions::attempt;

/// The function of casts to `varchar(n)`.
pub(super) const SHORTENED: &str = "$shortened";

/// The one around it of casts to `char(n)`.
pub(super) const UNPADDED: &str = "$unpadded";

/// Changes an expression of these kinds.
///
/// Errors: `SYNTAX_ERROR` for a wrong number of arguments.
pub(super) fn adapt(expression: &mut Expr) -> Result<()> {
    match expression {
        Expr::Function(function) => {
            let name = match function.name.0.as_slice() {
                [ObjectNamePart::Identifier(name)] => normalized(name),
                _ => return Ok(()),
            };
            let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
            match name.as_str() {
                "if" => *expression = chosen(arguments(list))?,
                attempt::NAME => hand_over(list)?,
                "regexp_replace" if matches!(list.args.as_slice(), [_, _, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(_)))]) => {
                    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', REGEXP_REPLACE))]);
                }
                "coalesce" if list.args.len() < 2 => return Err(Error::new(Code::SyntaxError, "coalesce takes two values or more")),
                _ => {}
            }
        }
        Expr::Cast { data_type: DataType::Decimal(number @ ExactNumberInfo::None), .. } => *number = ExactNumberInfo::PrecisionAndScale(38, 0),
        Expr::Cast { kind, expr, data_type, array: false, .. } => {
            if let Some((length, is_padded)) = text_length(data_type) {
                let text = shortened(std::mem::replace(expr.as_mut(), null()), length, kind.clone());
                // Blanks at the end of a `char(n)` do not count when it is compared.
                *expression = if is_padded { call(UNPADDED, vec![text]) } else { text };
            }
        }
        _ => {}
    }
    Ok(())
}

/// `NULL`, in the place of what is taken out of an expression.
pub(super) fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// The arguments, which are taken out, unless one of them is something else than a value.
fn arguments(list: &mut FunctionArgumentList) -> Vec<Expr> {
    let is_value = |argument: &FunctionArg| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)));
    if !list.args.iter().all(is_value) {
        return Vec::new();
    }
    let value = |argument: FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    };
    std::mem::take(&mut list.args).into_iter().filter_map(value).collect()
}

/// `if(condition, value [, other])` as `CASE`.
fn chosen(arguments: Vec<Expr>) -> Result<Expr> {
    let mut arguments = arguments.into_iter();
    let (Some(condition), Some(result), other, None) = (arguments.next(), arguments.next(), arguments.next(), arguments.next()) else {
        return Err(Error::new(Code::SyntaxError, "if takes a condition, a value, and another one for when it does not hold"));
    };
    Ok(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: other.map(Box::new),
    })
}

/// `try(expression)` with its argument as a function without parameters.
fn hand_over(list: &mut FunctionArgumentList) -> Result<()> {
    // A statement may come by again.
    if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(_)))] = list.args.as_slice() {
        return Ok(());
    }
    let mut arguments = arguments(list);
    let (Some(body), true) = (arguments.pop(), arguments.is_empty()) else {
        return Err(Error::new(Code::SyntaxError, "try takes one expression"));
    };
    let lambda = LambdaFunction { params: OneOrManyWithParens::Many(Vec::new()), body: Box::new(body), syntax: LambdaSyntax::Arrow };
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(lambda)))];
    Ok(())
}

/// The length of a `varchar(n)` or `char(n)`, and whether it is the latter, which has one letter if nothing else is said.
fn text_length(data_type: &DataType) -> Option<(u64, bool)> {
    match data_type {
        DataType::Varchar(Some(CharacterLength::IntegerLength { length, .. })) => Some((*length, false)),
        DataType::Char(Some(CharacterLength::IntegerLength { length, .. }))
        | DataType::Character(Some(CharacterLength::IntegerLength { length, .. })) => Some((*length, true)),
        DataType::Char(None) | DataType::Character(None) => Some((1, true)),
        _ => None,
    }
}

/// A cast to `varchar(n)` as one to `varchar` whose result is cut, or refused if it was something else than a text before.
fn shortened(value: Expr, length: u64, kind: CastKind) -> Expr {
    let is_try = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
    let kind_of_value = call("typeof", vec![value.clone()]);
    let text = Expr::Cast { kind, expr: Box::new(value), data_type: DataType::Varchar(None), array: false, format: None };
    let length = Expr::Value(Value::Number(length.to_string(), false).into());
    call(SHORTENED, vec![text, length, kind_of_value, Expr::Value(Value::Boolean(is_try).into())])
}

/// A call of one of our functions.
pub(super) fn call(name: &str, arguments: impl IntoIterator<Item = Expr>) -> Expr {
    call_of(Ident::with_quote('"', name), arguments)
}

/// The same by a name that is written so.
pub(super) fn call_of(name: Ident, arguments: impl IntoIterator<Item = Expr>) -> Expr {
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::super::dialect::TrinoDialect;
    use super::*;

    fn adapted(sql: &str) -> Result<String> {
        let mut expression = Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
        adapt(&mut expression)?;
        Ok(expression.to_string())
    }

    #[test]
    fn a_function_of_texts_may_be_given_a_function() {
        for (sql, expected) in [
            ("regexp_replace(a, b, x -> upper(x))", r#""$regexp_replace"(a, b, x -> upper(x))"#),
            ("regexp_replace(a, b, c)", "regexp_replace(a, b, c)"),
        ] {
            let mut expression = Parser::new(&TrinoDialect).try_with_sql(sql).unwrap().parse_expr().unwrap();
            adapt(&mut expression).unwrap();
            assert_eq!(expression.to_string(), expected);
        }
    }

    #[test]
    fn forms_are_those_of_datafusion() {
        for (sql, expected) in [
            ("if(a, b)", "CASE WHEN a THEN b END"),
            ("IF(a > 1, b, c)", "CASE WHEN a > 1 THEN b ELSE c END"),
            ("try(a / b)", "try(() -> a / b)"),
            ("CAST(a AS VARCHAR)", "CAST(a AS VARCHAR)"),
            ("TRY_CAST(a AS DECIMAL)", "TRY_CAST(a AS DECIMAL(38,0))"),
            ("CAST(a AS CHAR(3))", r#""$unpadded"("$shortened"(CAST(a AS VARCHAR), 3, "typeof"(a), false))"#),
            ("CAST(a AS VARCHAR(3))", r#""$shortened"(CAST(a AS VARCHAR), 3, "typeof"(a), false)"#),
        ] {
            assert_eq!(adapted(sql).unwrap(), expected);
        }
        assert!(adapted("if(a)").is_err() && adapted("if(a, b, c, d)").is_err() && adapted("try()").is_err());
    }
}
