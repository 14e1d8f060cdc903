//! Functions of DataFusion whose results are text of Arrow's large kind, which is JSON here: they become plain text.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Value,
};

use super::names::normalized;

/// Their names.
const OF_LARGE_TEXT: [&str; 1] = ["string_agg"];

/// What makes plain text of them; it leaves plain text as it is.
const TO_TEXT: &str = "$plain_text";

/// Makes plain text of what such a call gives. To be called once for each expression, when those within it are done.
pub(super) fn make_plain(expression: &mut Expr) {
    let Expr::Function(function) = expression else { return };
    let is_large = match function.name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => OF_LARGE_TEXT.contains(&normalized(name).as_str()),
        _ => false,
    };
    if !is_large {
        return;
    }
    let mut outer = function.clone();
    outer.name = ObjectName::from(vec![Ident::with_quote('"', TO_TEXT)]);
    (outer.filter, outer.over, outer.null_treatment, outer.parameters) = (None, None, None, FunctionArguments::None);
    outer.within_group.clear();
    let call = std::mem::replace(expression, Expr::Value(Value::Null.into()));
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(call));
    outer.args = FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args: vec![argument], clauses: Vec::new() });
    *expression = Expr::Function(outer);
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn large_text_becomes_plain() {
        for (sql, expected) in [
            ("string_agg(DISTINCT x, ',') FILTER (WHERE y)", r#""$plain_text"(string_agg(DISTINCT x, ',') FILTER (WHERE y))"#),
            ("STRING_AGG(x, ',') OVER (PARTITION BY y)", r#""$plain_text"(STRING_AGG(x, ',') OVER (PARTITION BY y))"#),
            ("concat(x)", "concat(x)"),
        ] {
            let mut expression = Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
            make_plain(&mut expression);
            assert_eq!(expression.to_string(), expected);
        }
    }
}
