//! Casts of moments, and comparisons of those with a time zone and those without, as Trino does them: what has a zone becomes what the clocks of that zone show, and what has
//! none is of the session's. Arrow takes both for UTC, or the one for the zone of the other.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast};
use datafusion::optimizer::AnalyzerRule;
use nunatak_functions::datetime::Zone;

use super::groups::is_comparison;
use super::map_expressions;
use crate::functions::column_cast;
use crate::sql::time_function;

/// The rule. It comes before types are made alike, when all casts are those that were written, and again for the casts by which they were.
#[derive(Debug)]
pub(super) struct ZonedTimes;

impl AnalyzerRule for ZonedTimes {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let session = config.execution.time_zone.as_deref().unwrap_or("UTC");
        map_expressions(plan, &|schema, expression| expression.transform_up(|expression| zoned(schema, expression, session)))
    }

    fn name(&self) -> &str {
        "zoned_times"
    }
}

fn zoned(schema: &DFSchema, expression: Expr, session: &str) -> Result<Transformed<Expr>> {
    match expression {
        Expr::Cast(Cast { expr, field }) => {
            // What has no type is a parameter without a value.
            let from = expr.get_type(schema).ok();
            match from.and_then(|from| change(&from, field.data_type(), session)) {
                Some(change) => Ok(Transformed::yes(cast(change.of(*expr)?, field.data_type().clone()))),
                None => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
            }
        }
        Expr::ScalarFunction(mut call) if *call.func == *column_cast::function() => {
            let types = match call.args.as_slice() {
                [value, column, ..] => value.get_type(schema).ok().zip(column.get_type(schema).ok()),
                _ => None,
            };
            let change = types.filter(|(_, to)| to.is_temporal()).and_then(|(from, to)| change(&from, &to, session));
            let Some(change) = change else { return Ok(Transformed::no(Expr::ScalarFunction(call))) };
            if let Some(value) = call.args.first_mut() {
                *value = change.of(std::mem::take(value))?;
            }
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (left_type, right_type) = (left.get_type(schema).ok(), right.get_type(schema).ok());
            let of_session = |value: Box<Expr>| Box::new(cast(*value, DataType::Timestamp(TimeUnit::Microsecond, Some(session.into()))));
            Ok(match (left_type, right_type) {
                (Some(DataType::Timestamp(_, None)), Some(other)) if is_elsewhere(&other, session) => {
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: of_session(left), op, right }))
                }
                (Some(other), Some(DataType::Timestamp(_, None))) if is_elsewhere(&other, session) => {
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right: of_session(right) }))
                }
                _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// What is done to a value before it is cast.
#[derive(Debug, PartialEq)]
enum Change {
    /// It is given to this function.
    Call(&'static str),
    /// It is made a moment of the session.
    Cast(DataType),
}

impl Change {
    fn of(self, value: Expr) -> Result<Expr> {
        match self {
            Self::Call(name) => match time_function(name) {
                Some(function) => Ok(function.call(vec![value])),
                None => internal_err!("function {name} is missing"),
            },
            Self::Cast(data_type) => Ok(cast(value, data_type)),
        }
    }
}

/// What is to be done where Arrow's cast does something else; `None` where it does not.
fn change(from: &DataType, to: &DataType, session: &str) -> Option<Change> {
    match from {
        // What has no zone is of the session's, also where the column that it goes to, or is compared with, has another one.
        DataType::Timestamp(unit, None) if is_elsewhere(to, session) => Some(Change::Cast(DataType::Timestamp(*unit, Some(session.into())))),
        DataType::Date32 if is_elsewhere(to, session) => Some(Change::Cast(DataType::Timestamp(TimeUnit::Microsecond, Some(session.into())))),
        from => shown(from, to).map(Change::Call),
    }
}

/// The function that gives what clocks show, where Arrow's cast does not; `None` where it does.
fn shown(from: &DataType, to: &DataType) -> Option<&'static str> {
    use DataType::{Date32, Duration, Interval, LargeUtf8, Time64, Timestamp, Utf8, Utf8View};
    match (from, to) {
        (Timestamp(TimeUnit::Microsecond, _), Utf8 | LargeUtf8 | Utf8View) => Some("$moment_text"),
        (Interval(_) | Duration(_), Utf8 | LargeUtf8 | Utf8View) => Some("$interval_text"),
        // Those of nanoseconds would lose some.
        (Timestamp(TimeUnit::Nanosecond, _), Timestamp(..) | Time64(_)) => None,
        (from, Timestamp(_, None)) if is_elsewhere(from, "UTC") => Some("$local_timestamp"),
        (from, Date32) if is_elsewhere(from, "UTC") => Some("$local_date"),
        (from, Time64(_)) if is_elsewhere(from, "UTC") => Some("$local_time"),
        _ => None,
    }
}

/// Whether these are moments in another zone than this one.
fn is_elsewhere(data_type: &DataType, zone: &str) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(own)) if Zone::parse(own) != Zone::parse(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clocks_show() {
        let moment = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        assert_eq!(shown(&moment(Some("Asia/Tokyo")), &DataType::Date32), Some("$local_date"));
        assert_eq!(shown(&moment(Some("+00:00")), &DataType::Date32), None);
        assert_eq!(shown(&moment(None), &moment(Some("Asia/Tokyo"))), None);
        assert_eq!(shown(&moment(Some("UTC")), &DataType::Utf8View), Some("$moment_text"));
        assert_eq!(change(&moment(None), &moment(Some("UTC")), "+00:00"), None);
        assert_eq!(change(&moment(None), &moment(Some("UTC")), "Asia/Tokyo"), Some(Change::Cast(moment(Some("Asia/Tokyo")))));
        for name in ["$moment_text", "$interval_text", "$local_timestamp", "$local_date", "$local_time"] {
            assert!(time_function(name).is_some(), "{name}");
        }
    }
}
