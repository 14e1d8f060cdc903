//! Long conditions. `a OR b OR c` is parsed as `(a OR b) OR c`: of a thousand terms that is a tree a thousand deep, and DataFusion asks each of its nodes for its type,
//! which asks all nodes below, again and again. `AND` and `OR` may be put together in any order, so that of many terms becomes a tree as flat as can be.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, VisitMut, VisitorMut};
use nunatak_core::{Error, Result};

/// Conditions of fewer terms stay as they are.
const TERMS_MIN: usize = 17;

/// The most terms of a sum and its like, which stays as deep as it is long: it is planned in a time that goes with the square of that.
const TERMS_MAX: usize = 2_000;

/// The most terms of `AND`: the optimiser takes them apart, and puts them in a row again. Threads that evaluate it have a stack.
const CONJUNCTS_MAX: usize = 5_000;

/// Makes all long conditions in a statement flat.
///
/// Errors: `NOT_SUPPORTED` for what is too deep.
pub(super) fn flatten(node: &mut impl VisitMut) -> Result<()> {
    match node.visit(&mut Flattener) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Flattener;

impl VisitorMut for Flattener {
    type Break = Error;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        if let Some((op, terms_max)) = too_long(expression) {
            take_apart(std::mem::replace(expression, Expr::Value(Value::Null.into())));
            let error = Error::not_supported(format!("more than {terms_max} terms in a row, joined by {op}, are not supported"));
            return ControlFlow::Break(error.with_hint("IN (...) and joins take any number of values"));
        }
        if let Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } = expression
            && is_long(expression)
            && let Some(flat) = flat(std::mem::replace(expression, Expr::Value(Value::Null.into())))
        {
            *expression = flat;
        }
        ControlFlow::Continue(())
    }
}

/// The operator of too many terms in a row, and how many there may be.
fn too_long(expression: &Expr) -> Option<(BinaryOperator, usize)> {
    let Expr::BinaryOp { op, .. } = expression else { return None };
    let terms_max = match op {
        BinaryOperator::Or => return None,
        BinaryOperator::And => CONJUNCTS_MAX,
        _ => TERMS_MAX,
    };
    let (mut at, mut terms) = (expression, 1);
    while let Expr::BinaryOp { left, .. } = at {
        (at, terms) = (left.as_ref(), terms + 1);
        if terms > terms_max {
            return Some((op.clone(), terms_max));
        }
    }
    None
}

/// Drops an expression that is too deep to be dropped as a whole.
fn take_apart(mut expression: Expr) {
    while let Expr::BinaryOp { left, right, .. } = expression {
        drop(right);
        expression = *left;
    }
}

/// Whether there are many operators of one kind down the left side. In a flat one there are few.
fn is_long(expression: &Expr) -> bool {
    let (mut at, mut terms, mut of) = (expression, 1, None);
    while let Expr::BinaryOp { left, op, .. } = at
        && of.is_none_or(|of| of == op)
    {
        (at, terms, of) = (left.as_ref(), terms + 1, Some(op));
        if terms >= TERMS_MIN {
            return true;
        }
    }
    false
}

/// The same terms in the same order, put together in pairs, these in pairs, and so on.
fn flat(expression: Expr) -> Option<Expr> {
    let Expr::BinaryOp { op, .. } = &expression else { return Some(expression) };
    let op = op.clone();
    let mut terms = terms(expression, &op);
    while terms.len() > 1 {
        let mut pairs = Vec::with_capacity(terms.len().div_ceil(2));
        let mut rest = terms.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => Expr::BinaryOp { left: Box::new(left), op: op.clone(), right: Box::new(right) },
                None => left,
            });
        }
        terms = pairs;
    }
    terms.pop()
}

/// What stands between the operators.
fn terms(mut expression: Expr, op: &BinaryOperator) -> Vec<Expr> {
    let mut terms = Vec::new();
    loop {
        match expression {
            Expr::BinaryOp { left, op: found, right } if found == *op => {
                terms.push(*right);
                expression = *left;
            }
            first => {
                terms.push(first);
                terms.reverse();
                return terms;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use nunatak_core::Code;

    use super::*;
    use crate::sql::{Statement as Parsed, parse};

    /// How deep a condition is, and its text.
    fn flattened(condition: &str) -> (usize, String) {
        let Ok(Parsed::Query(query)) = parse(&format!("SELECT * FROM t WHERE {condition}")) else { panic!("{condition} is not a condition") };
        let mut statement = Statement::Query(query);
        flatten(&mut statement).unwrap();
        let text = statement.to_string().replace("SELECT * FROM t WHERE ", "");
        struct Depth(usize, usize);
        impl datafusion::sql::sqlparser::ast::Visitor for Depth {
            type Break = ();
            fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
                self.0 += 1;
                self.1 = self.1.max(self.0);
                ControlFlow::Continue(())
            }
            fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
                self.0 -= 1;
                ControlFlow::Continue(())
            }
        }
        let mut depth = Depth(0, 0);
        let _: ControlFlow<()> = datafusion::sql::sqlparser::ast::Visit::visit(&statement, &mut depth);
        (depth.1, text)
    }

    #[test]
    fn long_conditions_become_flat() {
        for (op, other) in [("OR", "AND"), ("AND", "OR")] {
            let terms: Vec<String> = (0..1_000).map(|number| format!("(a = {number} {other} b)")).collect();
            let condition = terms.join(&format!(" {op} "));
            let (depth, text) = flattened(&condition);
            assert_eq!(text, condition, "the terms are the same, in the same order");
            // Ten levels of pairs, and four within each term.
            assert_eq!(depth, 14);
        }
    }

    #[test]
    fn what_stays_deep_has_a_limit() {
        let with_terms = |op: &str, terms: usize| {
            let condition = vec!["a"; terms].join(op);
            let Ok(Parsed::Query(query)) = parse(&format!("SELECT {condition} FROM t")) else { panic!("it is no query") };
            let mut statement = Statement::Query(query);
            flatten(&mut statement).map_err(|error| error.code())
        };
        assert_eq!(with_terms(" OR ", 20_000), Ok(()));
        assert_eq!(with_terms(" AND ", 5_000), Ok(()));
        assert_eq!(with_terms(" AND ", 5_001), Err(Code::NotSupported));
        assert_eq!(with_terms(" + ", 20_000), Err(Code::NotSupported));
    }

    #[test]
    fn short_and_mixed_ones_stay() {
        let short = ["a"; 16].join(" OR ");
        assert_eq!(flattened(&short), (16, short.clone()));
        let sums = ["a"; 40].join(" + ");
        assert_eq!(flattened(&format!("{sums} > 1")).0, 41);
        let mixed = format!("a AND {} OR c", ["b"; 20].join(" AND "));
        assert_eq!(flattened(&mixed), (7, mixed.clone()));
    }
}
