//! `EXTRACT`, and what is added to moments in a zone and subtracted of dates, which DataFusion does otherwise than Trino.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use nunatak_functions::datetime::Zone;

use crate::functions::in_calendar;

/// The fields of `EXTRACT`, which are names of functions. DataFusion has others besides.
const FIELDS: [&str; 17] = [
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "day_of_month",
    "day_of_week",
    "dow",
    "day_of_year",
    "doy",
    "year_of_week",
    "yow",
    "hour",
    "minute",
    "second",
    "timezone_hour",
    "timezone_minute",
];

/// Plans them.
#[derive(Debug)]
pub(crate) struct TimeExpressions;

impl ExprPlanner for TimeExpressions {
    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let field = match arguments.as_slice() {
            [Expr::Literal(field, _), _] => field.try_as_str().flatten().map(str::to_lowercase),
            _ => None,
        };
        let part = field.filter(|field| FIELDS.contains(&field.as_str())).and_then(|field| function(&field));
        Ok(match part {
            Some(part) => PlannerResult::Planned(part.call(arguments.into_iter().skip(1).collect())),
            None => PlannerResult::Original(arguments),
        })
    }

    fn plan_binary_op(&self, expression: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator::{Minus, Plus};
        // The right side first: of a long sum the left one is as long. What has no type is a parameter without a value.
        let right_type = match &expression.op {
            Plus | Minus => expression.right.get_type(schema).ok().filter(|data_type| data_type.is_temporal()),
            _ => None,
        };
        let types = right_type.and_then(|right| Some((expression.left.get_type(schema).ok()?, right)));
        let Some((left_type, right_type)) = types else { return Ok(PlannerResult::Original(expression)) };
        let (moment, interval) = match (&expression.op, &left_type, &right_type) {
            (Plus, moment, DataType::Interval(_)) if has_clocks(moment) => (expression.left, expression.right),
            (Plus, DataType::Interval(_), moment) if has_clocks(moment) => (expression.right, expression.left),
            (Minus, moment, DataType::Interval(_)) if has_clocks(moment) => (expression.left, Expr::Negative(Box::new(expression.right))),
            // The difference is an interval, and no number.
            (Minus, DataType::Date32, DataType::Date32) => {
                let moment = |date: Expr| cast(date, DataType::Timestamp(TimeUnit::Microsecond, None));
                let RawBinaryExpr { op, left, right } = expression;
                return Ok(PlannerResult::Original(RawBinaryExpr { op, left: moment(left), right: moment(right) }));
            }
            _ => return Ok(PlannerResult::Original(expression)),
        };
        match function("$moment_plus") {
            Some(function) => Ok(PlannerResult::Planned(in_calendar::function().call(vec![function.call(vec![moment, interval])]))),
            None => datafusion::common::internal_err!("function $moment_plus is missing"),
        }
    }
}

/// Whether these are moments in a zone with other clocks than UTC's, by which Arrow adds days.
fn has_clocks(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, Some(zone)) => Zone::parse(zone).is_some_and(|zone| zone != Zone::Utc),
        _ => false,
    }
}

/// Our function of that name.
pub(crate) fn function(name: &str) -> Option<&'static Arc<ScalarUDF>> {
    nunatak_functions::scalars().iter().find(|function| function.name() == name || function.aliases().iter().any(|alias| alias == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fields_are_functions() {
        assert!(FIELDS.iter().chain(&["$moment_plus"]).all(|name| function(name).is_some()));
    }
}
