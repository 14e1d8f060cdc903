//! `x > ANY (subquery)` and `x > ALL (subquery)` where their value is wanted: of all values of the subquery, the least or the greatest decides (SQL:2016, 8.9 "quantified
//! comparison predicate"). In conditions DataFusion makes joins of them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue, not_impl_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::expr::{InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit, not, when};

use super::correlated_subqueries::named;
use super::in_subqueries;

/// The column of what is known of all values, which no statement can name.
const KNOWN: &str = "\u{1}known";

/// An expression without them.
pub(super) fn written_out(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    let written = expression.transform_up(|part| match part {
        Expr::SetComparison(SetComparison { expr, subquery, op: Operator::Eq, quantifier: SetQuantifier::Any }) => {
            in_subqueries::written_out(InSubquery::new(expr, subquery, false), schema).map(Transformed::yes)
        }
        Expr::SetComparison(SetComparison { expr, subquery, op: Operator::NotEq, quantifier: SetQuantifier::All }) => {
            in_subqueries::written_out(InSubquery::new(expr, subquery, true), schema).map(Transformed::yes)
        }
        Expr::SetComparison(comparison) => decided(comparison).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    });
    written.data()
}

/// What holds for no values if there are none, or if neither a value nor a NULL decides otherwise.
fn decided(comparison: SetComparison) -> Result<Expr> {
    let SetComparison { expr: value, subquery, op, quantifier } = comparison;
    let subquery = named(subquery)?;
    let element = Expr::Column(Column::from(subquery.subquery.schema().qualified_field(0)));
    let of_all = |aggregate: Expr| {
        let rows = LogicalPlanBuilder::new_from_arc(Arc::clone(&subquery.subquery)).aggregate(Vec::<Expr>::new(), vec![aggregate.alias(KNOWN)])?;
        let plan = rows.project([Expr::Column(Column::new_unqualified(KNOWN))])?.build()?;
        Ok::<_, datafusion::error::DataFusionError>(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery.clone() }))
    };
    let is_any = matches!(quantifier, SetQuantifier::Any);
    let (least, greatest) = (|| of_all(min(element.clone())), || of_all(max(element.clone())));
    let compared = |bound: Expr| binary_expr(value.as_ref().clone(), op, bound);
    let decides = match (op, is_any) {
        (Operator::Gt | Operator::GtEq, true) | (Operator::Lt | Operator::LtEq, false) => compared(least()?),
        (Operator::Lt | Operator::LtEq, true) | (Operator::Gt | Operator::GtEq, false) => compared(greatest()?),
        (Operator::NotEq, true) => compared(least()?).or(compared(greatest()?)),
        (Operator::Eq, false) => compared(least()?).and(compared(greatest()?)),
        _ => return not_impl_err!("{op} {quantifier} (subquery) is not supported"),
    };
    let decides = if is_any { decides } else { not(decides) };
    let (rows, values) = (of_all(count(lit(1_i64)))?, of_all(count(element.clone()))?);
    let is_unsure = value.as_ref().clone().is_null().or(values.lt(rows.clone()));
    let mut cases = when(rows.eq(lit(0_i64)), lit(!is_any));
    cases.when(decides, lit(is_any)).when(is_unsure, lit(ScalarValue::Boolean(None))).otherwise(lit(!is_any))
}
