//! Values of properties and options, as written in SQL: `WITH (name = value)`, `(NAME value)`, `name => value`.

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value};
use datafusion::sql::sqlparser::parser::ParserError;

use crate::files::OptionValue;

/// Reads a literal, a bare word (as text), an `ARRAY[...]` of texts, or a `MAP(ARRAY[...], ARRAY[...])` of texts.
pub(super) fn option_value(expression: &Expr) -> Result<OptionValue, ParserError> {
    let wrong = || ParserError::ParserError(format!("expected a literal or an array of texts as the value of an option, found: {expression}"));
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().map(OptionValue::Number).or_else(|_| Ok(OptionValue::Text(text.clone()))),
            Value::Boolean(value) => Ok(OptionValue::Boolean(*value)),
            other => other.clone().into_string().map(OptionValue::Text).ok_or_else(wrong),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match option_value(expr)? {
            OptionValue::Number(number) => Ok(OptionValue::Number(-number)),
            _ => Err(wrong()),
        },
        Expr::Identifier(word) => Ok(OptionValue::Text(word.value.clone())),
        Expr::Array(array) => {
            array.elem.iter().map(|element| option_value(element).map(|value| option_text(&value))).collect::<Result<_, _>>().map(OptionValue::List)
        }
        Expr::Function(function) => map_value(function).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

fn map_value(function: &Function) -> Option<OptionValue> {
    let FunctionArguments::List(arguments) = &function.args else { return None };
    let list = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => match option_value(expression) {
            Ok(OptionValue::List(texts)) => Some(texts),
            _ => None,
        },
        _ => None,
    };
    match &arguments.args[..] {
        [keys, values] if function.name.to_string().eq_ignore_ascii_case("map") => {
            let (keys, values) = (list(keys)?, list(values)?);
            (keys.len() == values.len()).then(|| OptionValue::Map(keys.into_iter().zip(values).collect()))
        }
        _ => None,
    }
}

/// The value as text.
pub fn option_text(value: &OptionValue) -> String {
    match value {
        OptionValue::Text(text) => text.clone(),
        OptionValue::Number(number) => number.to_string(),
        OptionValue::Boolean(value) => value.to_string(),
        OptionValue::List(values) => values.join(","),
        OptionValue::Map(pairs) => pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","),
    }
}
