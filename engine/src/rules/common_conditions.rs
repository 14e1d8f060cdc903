//! Conditions that name columns of the query around a subquery, taken out of all alternatives of an `OR`: `(u.k = t.k AND a) OR (u.k = t.k AND b)` is
//! `u.k = t.k AND (a OR b)`, whatever of it is NULL. DataFusion makes joins only of conditions that stand beside the others.

use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::utils::{conjunction, disjunction, split_binary, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Operator, lit};

/// A condition with these taken out.
pub(super) fn taken_out(condition: Expr) -> Transformed<Expr> {
    if split_conjunction(&condition).into_iter().all(|part| divided(part).is_none()) {
        return Transformed::no(condition);
    }
    let parts = split_conjunction_owned(condition).into_iter().flat_map(|part| divided(&part).unwrap_or_else(|| vec![part]));
    Transformed::yes(conjunction(parts).unwrap_or_else(|| lit(true)))
}

/// What all alternatives have in common, and what is left of them. `None` if nothing of it names columns of the query around.
fn divided(part: &Expr) -> Option<Vec<Expr>> {
    let alternatives = split_binary(part, Operator::Or);
    if alternatives.len() < 2 || !part.contains_outer() {
        return None;
    }
    let alternatives: Vec<Vec<&Expr>> = alternatives.into_iter().map(split_conjunction).collect();
    let (first, others) = alternatives.split_first()?;
    let is_common = |part: &&Expr| part.contains_outer() && others.iter().all(|other| other.contains(part));
    let common: Vec<&Expr> = first.iter().copied().filter(is_common).collect();
    if common.is_empty() {
        return None;
    }
    let left = alternatives.iter().map(|alternative| {
        let others = alternative.iter().filter(|part| !common.contains(part));
        conjunction(others.map(|part| (*part).clone()))
    });
    // Where an alternative has nothing else, the others do not matter.
    let left = left.collect::<Option<Vec<Expr>>>().and_then(disjunction);
    Some(common.into_iter().cloned().chain(left).collect())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::logical_expr::{col, out_ref_col};

    use super::*;

    fn tie() -> Expr {
        col("u.k").eq(out_ref_col(DataType::Int64, "t.k"))
    }

    #[test]
    fn what_all_alternatives_have_is_taken_out() {
        let (a, b) = (col("a").eq(lit(1)), col("b").eq(lit(2)));
        let condition = tie().and(a.clone()).or(tie().and(b.clone())).and(col("c"));
        assert_eq!(taken_out(condition).data, tie().and(a.clone().or(b)).and(col("c")));
        assert_eq!(taken_out(tie().and(a).or(tie())).data, tie());
    }

    #[test]
    fn other_conditions_stay() {
        let (a, b) = (col("a").eq(lit(1)), col("b").eq(lit(2)));
        for condition in [tie(), tie().and(a.clone()).or(b.clone()), a.clone().and(b.clone()).or(a)] {
            let same = taken_out(condition.clone());
            assert!(!same.transformed && same.data == condition, "{condition}");
        }
    }
}
