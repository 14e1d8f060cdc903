//! Aggregate functions with a syntax of their own, in the form of others: `LISTAGG(x, s ON OVERFLOW ...) WITHIN GROUP (ORDER BY y)` becomes `listagg(x, s, ... ORDER BY y)`, and
//! `reduce_agg(x, ...)`, whose functions no aggregate can be given, `reduce` over the array of all `x`.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments, Ident,
    LambdaFunction, LambdaFunctionParameter, LambdaSyntax, ListAggOnOverflow, ObjectName, ObjectNamePart, OneOrManyWithParens, Value,
};
use nunatak_core::{Error, Result};

use super::names::normalized;

/// What stands where a result of `listagg` was cut off, if nothing else is wanted.
const FILLER: &str = "...";

/// Changes a call of one of these functions.
///
/// Errors: `NOT_SUPPORTED` for an order of what is aggregated over a window.
pub(super) fn adapt(call: &mut Function) -> Result<()> {
    let [ObjectNamePart::Identifier(name)] = call.name.0.as_slice() else { return Ok(()) };
    let function = normalized(name);
    match function.as_str() {
        "listagg" => listagg(call),
        "reduce_agg" => reduce_agg(call),
        _ => {}
    }
    if let (Some(_), FunctionArguments::List(list)) = (&call.over, &call.args)
        && list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
    {
        let error = Error::not_supported(format!("{function}(... ORDER BY ...) OVER is not supported"));
        return Err(error.with_hint("a window with ORDER BY aggregates the rows in that order"));
    }
    Ok(())
}

fn argument(expression: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))
}

fn value(value: Value) -> FunctionArg {
    argument(Expr::Value(value.into()))
}

fn text(text: &str) -> FunctionArg {
    value(Value::SingleQuotedString(text.to_owned()))
}

fn listagg(call: &mut Function) {
    let FunctionArguments::List(list) = &mut call.args else { return };
    let overflow = list.clauses.extract_if(.., |clause| matches!(clause, FunctionArgumentClause::OnOverflow(_))).next();
    if let Some(FunctionArgumentClause::OnOverflow(ListAggOnOverflow::Truncate { filler, with_count })) = overflow {
        if list.args.len() == 1 {
            list.args.push(text(""));
        }
        list.args.push(filler.map_or_else(|| text(FILLER), |filler| argument(*filler)));
        list.args.push(value(Value::Boolean(with_count)));
    }
    let order = std::mem::take(&mut call.within_group);
    if !order.is_empty() {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
}

fn reduce_agg(call: &mut Function) {
    let mut array = call.clone();
    let FunctionArguments::List(list) = &mut array.args else { return };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(values)), initial, merge, FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Lambda(_)))] =
        list.args.as_slice()
    else {
        return;
    };
    let known = Box::new(Expr::IsNotNull(Box::new(values.clone())));
    let (initial, merge) = (initial.clone(), merge.clone());
    list.args.truncate(1);
    array.name = named("array_agg");
    array.filter = Some(match array.filter.take() {
        Some(filter) => Box::new(Expr::BinaryOp { left: Box::new(Expr::Nested(filter)), op: BinaryOperator::And, right: known }),
        None => known,
    });
    let state = Ident::new("state");
    let same = LambdaFunction {
        params: OneOrManyWithParens::One(LambdaFunctionParameter { name: state.clone(), data_type: None }),
        body: Box::new(Expr::Identifier(state)),
        syntax: LambdaSyntax::Arrow,
    };
    let args = vec![argument(Expr::Function(array)), initial, merge, argument(Expr::Lambda(same))];
    call.name = named("reduce");
    call.args = FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() });
    call.filter = None;
    call.over = None;
}

fn named(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))])
}

#[cfg(test)]
mod tests {
    use super::super::dialect::TrinoDialect;
    use super::*;
    use datafusion::sql::sqlparser::parser::Parser;

    fn adapted(sql: &str) -> String {
        let Expr::Function(mut call) = Parser::new(&TrinoDialect).try_with_sql(sql).unwrap().parse_expr().unwrap() else {
            panic!("{sql} is no call")
        };
        adapt(&mut call).unwrap();
        call.to_string()
    }

    #[test]
    fn calls_become_plain() {
        for (sql, expected) in [
            ("listagg(x, ',') WITHIN GROUP (ORDER BY y DESC, z)", "listagg(x, ',' ORDER BY y DESC, z)"),
            ("listagg(x) WITHIN GROUP (ORDER BY x) FILTER (WHERE x > 'a')", "listagg(x ORDER BY x) FILTER (WHERE x > 'a')"),
            ("listagg(x, ',' ON OVERFLOW ERROR) WITHIN GROUP (ORDER BY x)", "listagg(x, ',' ORDER BY x)"),
            ("listagg(x ON OVERFLOW TRUNCATE '~' WITH COUNT) WITHIN GROUP (ORDER BY x)", "listagg(x, '', '~', true ORDER BY x)"),
            (
                "reduce_agg(x, 0, (a, b) -> a + b, (a, b) -> a + b) FILTER (WHERE y)",
                "reduce(array_agg(x) FILTER (WHERE (y) AND x IS NOT NULL), 0, (a, b) -> a + b, state -> state)",
            ),
            ("max(x)", "max(x)"),
        ] {
            assert_eq!(adapted(sql), expected);
        }
    }
}
