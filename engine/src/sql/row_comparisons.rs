//! `(a, b) = (c, d)` as `a = c AND b = d`, and `(a, b) <> (c, d)` as `a <> c OR b <> d`: so a NULL decides as it does in Trino, where DataFusion takes it for a value within a row, and
//! joins have keys. Of other rows, `(a + 1, b) < x` becomes `row(a + 1, b) < x`: without the word DataFusion takes names and literals only.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, ObjectNamePart, Statement, VisitMut,
    VisitorMut, visit_expressions_mut,
};

use super::names::normalized;
use super::special_forms::{call, null};

/// Writes out all comparisons of a statement.
pub(super) fn write_out(statement: &mut Statement) {
    let _: ControlFlow<()> = statement.visit(&mut Comparisons);
}

struct Comparisons;

impl VisitorMut for Comparisons {
    type Break = ();

    /// Those within others come first.
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let Expr::BinaryOp { left, op: op @ (Eq | NotEq | Lt | LtEq | Gt | GtEq), right } = expression else { return ControlFlow::Continue(()) };
        let (left, op, right) = (std::mem::replace(left.as_mut(), null()), op.clone(), std::mem::replace(right.as_mut(), null()));
        *expression = if matches!(op, Eq | NotEq) { by_columns(left, &op, right) } else { compared(left, op, right) };
        ControlFlow::Continue(())
    }
}

fn compared(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(plain(left)), op, right: Box::new(plain(right)) }
}

fn plain(side: Expr) -> Expr {
    match side {
        Expr::Tuple(values) if values.len() > 1 => call("row", values),
        other => other,
    }
}

/// Makes calls of `row` of other rows without that word: `(a + 1, b)`, of which DataFusion takes names and literals only. Those behind `GROUP BY` are none by then.
pub(super) fn name_rows(statement: &mut Statement) {
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expression| {
        if let Expr::Tuple(values) = expression
            && values.len() > 1
            && !values.iter().all(|value| matches!(value, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_)))
        {
            *expression = call("row", std::mem::take(values));
        }
        ControlFlow::Continue(())
    });
}

/// Compares rows that are written out by their columns, and whatever else as it is.
fn by_columns(left: Expr, op: &BinaryOperator, right: Expr) -> Expr {
    let alike = columns(&left).zip(columns(&right)).filter(|(left, right)| left.len() == right.len());
    let each = alike.map(|(left, right)| {
        let pairs = left.into_iter().zip(right);
        pairs.map(|(left, right)| by_columns(left.clone(), op, right.clone())).collect::<Vec<Expr>>()
    });
    let both = if *op == Eq { And } else { Or };
    let joined = |left, right| Expr::BinaryOp { left: Box::new(left), op: both.clone(), right: Box::new(right) };
    match each.and_then(|each| each.into_iter().reduce(joined)) {
        Some(all) => Expr::Nested(Box::new(all)),
        None => compared(left, op.clone(), right),
    }
}

/// The values of a row that is written out.
fn columns(row: &Expr) -> Option<Vec<&Expr>> {
    match row {
        Expr::Nested(inner) => columns(inner),
        Expr::Tuple(values) => Some(values.iter().collect()),
        Expr::Function(Function {
            name,
            args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }),
            filter: None,
            over: None,
            ..
        }) if clauses.is_empty() && matches!(name.0.as_slice(), [ObjectNamePart::Identifier(name)] if normalized(name) == "row") => {
            args.iter().map(value_of).collect()
        }
        _ => None,
    }
}

fn value_of(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    #[test]
    fn rows_are_compared_by_their_columns() {
        for (condition, expected) in [
            ("(a, b) = (c, d + 1)", "(a = c AND b = d + 1)"),
            ("ROW(a, 1) <> (c, NULL)", "(a <> c OR 1 <> NULL)"),
            ("(a, (b, c)) = (d, ROW(e, f))", "(a = d AND (b = e AND c = f))"),
            ("(a, b) < (c, d)", r#""row"(a, b) < "row"(c, d)"#),
            ("(a, b) = r", r#""row"(a, b) = r"#),
            ("(a, b) = (c, d, e)", r#""row"(a, b) = "row"(c, d, e)"#),
            ("a = b", "a = b"),
            ("(a, b) IN ((1, 2))", "(a, b) IN ((1, 2))"),
        ] {
            let Ok(Parsed::Query(query)) = parse(&format!("SELECT a FROM t WHERE {condition}")) else { panic!("{condition} is no condition") };
            let mut statement = Statement::Query(query);
            write_out(&mut statement);
            assert_eq!(statement.to_string(), format!("SELECT a FROM t WHERE {expected}"));
        }
    }

    #[test]
    fn rows_of_expressions_have_their_word() {
        let Ok(Parsed::Query(query)) = parse("SELECT (count(*), true), (a, 1), ((a + 1, b), c) FROM t") else { panic!("it is no query") };
        let mut statement = Statement::Query(query);
        name_rows(&mut statement);
        assert_eq!(statement.to_string(), r#"SELECT "row"(count(*), true), (a, 1), "row"("row"(a + 1, b), c) FROM t"#);
    }
}
