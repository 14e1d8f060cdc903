//! `ARRAY[a, b]` as a call of a function. DataFusion plans what stands within the brackets as if nothing were around them: it does not know the parameters of a function that they
//! are in (`x -> ARRAY[x]`), and takes a column of that name for one; nor the columns of outer queries, nor the queries of `WITH`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, VisitMut, visit_expressions_mut};

use super::special_forms::call;

/// Makes calls of all arrays within a statement or an expression.
pub(super) fn write_out(node: &mut impl VisitMut) {
    let _: ControlFlow<()> = visit_expressions_mut(node, |expression| {
        if let Expr::Array(array) = expression {
            *expression = call("make_array", std::mem::take(&mut array.elem));
        }
        ControlFlow::Continue(())
    });
}
