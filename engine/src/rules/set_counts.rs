//! `INTERSECT ALL` and `EXCEPT ALL`, which count how often each row is there (SQL:2016, 7.17 "query expression"): of `l` equal rows on the left and `r` on the right the
//! former leaves the lesser number, the latter `l - r`. DataFusion makes joins of them that leave all `l` rows or none. Here equal rows of each side are numbered, and those
//! of one number are joined.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{Column, JoinType, NullEquality};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Distinct, Expr, ExprFunctionExt, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::AnalyzerRule;

/// The columns of numbers of both sides, which no statement can name.
const NUMBERS: [&str; 2] = ["\u{1}number", "\u{1}number on the right"];

/// The rule. It comes first, when no joins but those of set operations take NULLs for equal.
#[derive(Debug)]
pub(super) struct SetCounts;

impl AnalyzerRule for SetCounts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Join(join) if counts_rows(&join) => counted(join).map(Transformed::yes),
            other => Ok(Transformed::no(other)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "set_counts"
    }
}

/// Whether a join is one of these operations, and has no numbers yet: a plan may be analysed again. Where the left side has no row twice there is nothing to count.
fn counts_rows(join: &Join) -> bool {
    let is_set_operation = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) && join.null_equality == NullEquality::NullEqualsNull;
    let columns = join.left.schema().fields();
    let is_distinct = matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)));
    is_set_operation
        && !is_distinct
        && join.filter.is_none()
        && join.on.len() == columns.len()
        && columns.iter().all(|column| column.name() != NUMBERS[0])
}

fn counted(join: Join) -> Result<LogicalPlan> {
    let columns = join.left.schema().columns();
    let [(left, left_number), (right, right_number)] = [numbered(&join.left, NUMBERS[0])?, numbered(&join.right, NUMBERS[1])?];
    let mut on = join.on;
    on.push((left_number, right_number));
    let joined = Join::try_new(left.into(), right.into(), on, None, join.join_type, join.join_constraint, join.null_equality, join.null_aware)?;
    LogicalPlanBuilder::from(LogicalPlan::Join(joined)).project(columns.into_iter().map(Expr::Column))?.build()
}

/// A plan with the number of each row among those that are equal to it, and the column of that name.
fn numbered(plan: &Arc<LogicalPlan>, name: &str) -> Result<(LogicalPlan, Expr)> {
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let rows = LogicalPlanBuilder::new_from_arc(Arc::clone(plan)).window([row_number().partition_by(columns.clone()).build()?])?;
    let number = rows.schema().columns().pop().map(|column| Expr::Column(column).alias(name));
    Ok((rows.project(columns.into_iter().chain(number))?.build()?, Expr::Column(Column::new_unqualified(name))))
}
