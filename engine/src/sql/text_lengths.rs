//! How long Trino says that the texts of a query's columns may be. Texts have no length here: that a column is a `varchar(10)` is only told to clients, and only where a
//! cast in the statement says it, or in a view of it.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use super::special_forms::{SHORTENED, UNPADDED};

/// How far below a column its cast is looked for.
const DEPTH_MAX: usize = 100;

/// The longest `char(n)` that clients are told of, in characters: its values have that length on their way, and others are not.
const PADDED_MAX: u64 = 255;

/// The length from which on a text has none to Trino.
const UNBOUNDED: u64 = i32::MAX as u64;

/// The length of a `varchar(n)` or `char(n)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLength {
    /// How many characters a value has at most.
    pub(super) characters: u64,
    /// Whether it is a `char(n)`, whose values clients get with blanks up to that length.
    pub(super) is_padded: bool,
}

/// The lengths of the columns of a plan, before types were made alike; `None` for those that say none.
pub fn text_lengths(plan: &LogicalPlan) -> Vec<Option<TextLength>> {
    (0..plan.schema().fields().len()).map(|index| of_column(plan, index, 0)).collect()
}

fn of_column(plan: &LogicalPlan, index: usize, depth: usize) -> Option<TextLength> {
    if depth > DEPTH_MAX {
        return None;
    }
    let below = |input: &LogicalPlan, index| of_column(input, index, depth + 1);
    match plan {
        LogicalPlan::Projection(projection) => of_expression(projection.expr.get(index)?, &projection.input, depth),
        // What comes behind the expressions is of several groupings.
        LogicalPlan::Aggregate(aggregate) => of_expression(aggregate.group_expr.get(index)?, &aggregate.input, depth),
        LogicalPlan::SubqueryAlias(alias) => below(&alias.input, index),
        LogicalPlan::Filter(filter) => below(&filter.input, index),
        LogicalPlan::Sort(sort) => below(&sort.input, index),
        LogicalPlan::Limit(limit) => below(&limit.input, index),
        LogicalPlan::Distinct(Distinct::All(input)) => below(input, index),
        LogicalPlan::Window(window) if index < window.input.schema().fields().len() => below(&window.input, index),
        LogicalPlan::Join(join) => match (join.join_type, join.left.schema().fields().len()) {
            (JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full, left) if index >= left => below(&join.right, index - left),
            (JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti, _) => {
                below(&join.left, index)
            }
            _ => None,
        },
        LogicalPlan::Union(union) => {
            let lengths = union.inputs.iter().map(|input| below(input, index)).collect::<Option<Vec<_>>>()?;
            let are_padded = lengths.iter().all(|length| length.is_padded);
            let are_alike = are_padded || lengths.iter().all(|length| !length.is_padded);
            lengths.into_iter().max_by_key(|length| length.characters).filter(|_| are_alike)
        }
        _ => None,
    }
}

fn of_expression(expression: &Expr, input: &LogicalPlan, depth: usize) -> Option<TextLength> {
    match expression {
        Expr::Alias(alias) => of_expression(&alias.expr, input, depth),
        Expr::Column(column) => of_column(input, input.schema().maybe_index_of_column(column)?, depth + 1),
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            (SHORTENED, [_, Expr::Literal(characters, _), ..]) => {
                let characters = whole(characters).filter(|characters| *characters < UNBOUNDED)?;
                Some(TextLength { characters, is_padded: false })
            }
            (UNPADDED, [text]) => of_expression(text, input, depth)
                .filter(|length| length.characters <= PADDED_MAX)
                .map(|length| TextLength { is_padded: true, ..length }),
            _ => None,
        },
        _ => None,
    }
}

fn whole(number: &ScalarValue) -> Option<u64> {
    match number {
        ScalarValue::Int32(Some(number)) => u64::try_from(*number).ok(),
        ScalarValue::Int64(Some(number)) => u64::try_from(*number).ok(),
        ScalarValue::UInt64(Some(number)) => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::logical_expr::{LogicalPlanBuilder, Union, col, lit};

    use super::*;

    fn call(name: &str, arguments: Vec<Expr>) -> Expr {
        let function = nunatak_functions::scalars().iter().find(|function| function.name() == name).unwrap();
        function.call(arguments)
    }

    fn varchar(text: Expr, length: i64) -> Expr {
        call(SHORTENED, vec![text, lit(length), lit("varchar"), lit(false)])
    }

    fn texts() -> LogicalPlanBuilder {
        LogicalPlanBuilder::values(vec![vec![lit("a"), lit("b")]]).unwrap()
    }

    fn length(characters: u64, is_padded: bool) -> Option<TextLength> {
        Some(TextLength { characters, is_padded })
    }

    #[test]
    fn casts_say_lengths_through_what_passes_columns_on() {
        let casts = vec![varchar(col("column1"), 10).alias("v"), call(UNPADDED, vec![varchar(col("column2"), 5)]).alias("c"), col("column1")];
        let plan = texts().project(casts).unwrap().alias("t").unwrap().filter(col("v").is_not_null()).unwrap();
        let plan = plan.project(vec![col("t.c"), col("column1"), col("v")]).unwrap().limit(0, Some(1)).unwrap();
        assert_eq!(text_lengths(&plan.clone().build().unwrap()), [length(5, true), None, length(10, false)]);
        let long = texts().project(vec![call(UNPADDED, vec![varchar(col("column1"), 256)])]).unwrap().build().unwrap();
        assert_eq!(text_lengths(&long), [None]);
        let of_columns = plan.project(vec![call("rtrim", vec![col("v")]), col("v").is_null()]).unwrap().build().unwrap();
        assert_eq!(text_lengths(&of_columns), [None, None]);
    }

    #[test]
    fn the_longest_of_a_union_counts() {
        let of = |expression: Expr| Arc::new(texts().project(vec![expression.alias("x")]).unwrap().build().unwrap());
        let union = |one: Arc<LogicalPlan>, other| {
            let schema = Arc::clone(one.schema());
            text_lengths(&LogicalPlan::Union(Union { inputs: vec![one, other], schema }))
        };
        let text = || col("column1");
        assert_eq!(union(of(varchar(text(), 3)), of(varchar(text(), 7))), [length(7, false)]);
        assert_eq!(union(of(varchar(text(), 3)), of(text())), [None]);
        assert_eq!(union(of(varchar(text(), 3)), of(call(UNPADDED, vec![varchar(text(), 3)]))), [None]);
    }
}
