//! Functions that SQL writes with words among their arguments, as calls of functions of that meaning: DataFusion plans `TRIM(LEADING ..)`, `POSITION(.. IN ..)` and
//! `SUBSTRING(.. FROM ..)` as functions of its own, which differ from Trino's, whatever is registered.

use std::iter::once;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectNamePart, TrimWhereField, Value,
};

use super::special_forms::call_of;

/// Unicode's normal forms, the second argument of `NORMALIZE`, which are words there.
static NORMAL_FORMS: [&str; 4] = ["NFC", "NFD", "NFKC", "NFKD"];

/// Makes a plain call of such an expression; others stay.
pub(super) fn to_call(expression: &mut Expr) {
    match expression {
        Expr::Function(function) => quote_normal_form(function),
        Expr::Trim { .. } | Expr::Position { .. } | Expr::Substring { substring_from: Some(_), .. } => {
            *expression = called(std::mem::replace(expression, Expr::Value(Value::Null.into())));
        }
        _ => {}
    }
}

fn called(expression: Expr) -> Expr {
    let (name, arguments): (_, Vec<Expr>) = match expression {
        Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                Some(TrimWhereField::Both) | None => "trim",
            };
            let characters = trim_what.into_iter().map(|what| *what).chain(trim_characters.into_iter().flatten());
            (name, once(*expr).chain(characters).collect())
        }
        Expr::Position { expr, r#in } => ("strpos", vec![*r#in, *expr]),
        Expr::Substring { expr, substring_from: Some(start), substring_for, .. } => {
            ("substr", [*expr, *start].into_iter().chain(substring_for.into_iter().map(|length| *length)).collect())
        }
        other => return other,
    };
    call_of(Ident::new(name), arguments)
}

fn quote_normal_form(function: &mut Function) {
    let ([ObjectNamePart::Identifier(name)], FunctionArguments::List(list)) = (function.name.0.as_slice(), &mut function.args) else { return };
    if !name.value.eq_ignore_ascii_case("normalize") {
        return;
    }
    if let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = list.args.as_mut_slice()
        && let Expr::Identifier(word) = &*argument
        && let Some(form) = NORMAL_FORMS.iter().find(|form| form.eq_ignore_ascii_case(&word.value))
    {
        *argument = Expr::Value(Value::SingleQuotedString((*form).to_owned()).into());
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use datafusion::sql::sqlparser::ast::{Statement, visit_expressions_mut};

    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    #[test]
    fn words_among_arguments_are_gone() {
        for (written, expected) in [
            ("trim(a)", "trim(a)"),
            ("trim(a, 'x')", "trim(a, 'x')"),
            ("trim(BOTH 'x' FROM a)", "trim(a, 'x')"),
            ("trim(LEADING 'x' FROM trim(a))", "ltrim(trim(a), 'x')"),
            ("trim(TRAILING FROM a)", "rtrim(a)"),
            ("position(a IN b)", "strpos(b, a)"),
            ("substring(a FROM 1 FOR 2)", "substr(a, 1, 2)"),
            ("substr(a, -1)", "substr(a, -1)"),
            ("normalize(a, nfd)", "normalize(a, 'NFD')"),
            ("normalize(a, b)", "normalize(a, b)"),
        ] {
            let Ok(Parsed::Query(query)) = parse(&format!("SELECT {written}")) else { panic!("{written} is not parsed") };
            let mut statement = Statement::Query(query);
            let _: ControlFlow<()> = visit_expressions_mut(&mut statement, |expression| {
                to_call(expression);
                ControlFlow::Continue(())
            });
            assert_eq!(statement.to_string(), format!("SELECT {expected}"));
        }
    }
}
