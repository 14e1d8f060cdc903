//! What is computed of dates, timestamps and intervals as Trino has it: a date or timestamp outside of the years 1 to 9999 is an error, and intervals have their hours as days
//! where they are more than a day has, so that all that compares them field by field takes equal ones for equal. Between two timestamps or times of day lie whole milliseconds.

use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use super::map_expressions;
use crate::functions::{in_calendar, whole_days, whole_millis};

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// The rule. It comes after types are made alike, when it is known what is added to what.
#[derive(Debug)]
pub(super) struct TemporalArithmetic;

impl AnalyzerRule for TemporalArithmetic {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        map_expressions(plan, &|schema, expression| expression.transform_up(|expression| checked(schema, expression)))
    }

    fn name(&self) -> &str {
        "temporal_arithmetic"
    }
}

fn checked(schema: &DFSchema, expression: Expr) -> Result<Transformed<Expr>> {
    let function = match &expression {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(written)), metadata) => {
            let whole = whole_days::whole_days(*written)?;
            return Ok(match whole == *written {
                true => Transformed::no(expression),
                false => Transformed::yes(Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(whole)), metadata.clone())),
            });
        }
        // A plan that was analysed before has the call already.
        Expr::ScalarFunction(ScalarFunction { func, args }) if is_ours(func) => {
            return Ok(match args.as_slice() {
                [Expr::ScalarFunction(within)] if within.func == *func => Transformed::yes(Expr::ScalarFunction(within.clone())),
                _ => Transformed::no(expression),
            });
        }
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) if *field.data_type() == INTERVAL => whole_days::function(),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus), right }) => {
            // What has no type is a parameter without a value.
            let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else { return Ok(Transformed::no(expression)) };
            match (&left_type, &right_type) {
                // Those with a time zone Trino subtracts otherwise: their milliseconds are cut off before.
                (DataType::Timestamp(_, None), DataType::Timestamp(_, None)) if *op == Operator::Minus => whole_millis::function(),
                (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Interval(IntervalUnit::MonthDayNano))
                    if *op == Operator::Minus && was_duration(schema, left) && was_duration(schema, right) =>
                {
                    whole_millis::function()
                }
                (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Interval(IntervalUnit::MonthDayNano)) => whole_days::function(),
                (moment, DataType::Interval(_) | DataType::Duration(_)) | (DataType::Interval(_) | DataType::Duration(_), moment)
                    if matches!(moment, DataType::Date32 | DataType::Timestamp(..)) =>
                {
                    in_calendar::function()
                }
                _ => return Ok(Transformed::no(expression)),
            }
        }
        _ => return Ok(Transformed::no(expression)),
    };
    Ok(Transformed::yes(function.call(vec![expression])))
}

/// Whether an interval was made of a duration: DataFusion makes both of the operands where times of day are subtracted.
fn was_duration(schema: &DFSchema, operand: &Expr) -> bool {
    let operand = match operand {
        Expr::ScalarFunction(ScalarFunction { func, args }) if *func == whole_days::function() => args.first(),
        operand => Some(operand),
    };
    matches!(operand, Some(Expr::Cast(Cast { expr, .. })) if matches!(expr.get_type(schema), Ok(DataType::Duration(_))))
}

fn is_ours(function: &ScalarUDF) -> bool {
    [whole_days::function(), whole_millis::function(), in_calendar::function()].iter().any(|ours| *function == **ours)
}
