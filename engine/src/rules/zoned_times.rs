//! Casts of moments, and comparisons of those with a time zone and those without, as Trino does them: what has a zone becomes what the clocks of that zone show, and what has
//! none is of the session's. Arrow takes both for UTC, or the one for the zone of the other.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast, lit, try_cast, when};
use datafusion::optimizer::AnalyzerRule;
use nunatak_functions::datetime::Zone;

use super::groups::is_comparison;
use super::map_expressions;
use crate::functions::column_cast;
use crate::functions::text_cast::is_text;
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
            match from.and_then(|from| change_of(&from, field.data_type(), session)) {
                Some(change) => Ok(Transformed::yes(cast(change.of(*expr)?, field.data_type().clone()))),
                None => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
            }
        }
        Expr::TryCast(TryCast { expr, field }) => {
            let from = expr.get_type(schema).ok();
            match from.and_then(|from| change_of(&from, field.data_type(), session)) {
                // What is no moment is NULL.
                Some(Change::Cast(data_type)) => Ok(Transformed::yes(try_cast(try_cast(*expr, data_type), field.data_type().clone()))),
                Some(change) => Ok(Transformed::yes(try_cast(change.of(*expr)?, field.data_type().clone()))),
                None => Ok(Transformed::no(Expr::TryCast(TryCast { expr, field }))),
            }
        }
        Expr::ScalarFunction(mut call) if *call.func == *column_cast::function() => {
            let types = match call.args.as_slice() {
                [value, column, ..] => value.get_type(schema).ok().zip(column.get_type(schema).ok()),
                _ => None,
            };
            let change = types.and_then(|(from, to)| change_of(&from, &to, session).filter(|_| to.is_nested() || to.is_temporal()));
            let Some(change) = change else { return Ok(Transformed::no(Expr::ScalarFunction(call))) };
            if let [value, _, place] = call.args.as_mut_slice() {
                let from = std::mem::take(value);
                *value = match change {
                    // What is no moment is named with the column.
                    Change::Cast(data_type) => column_cast::function().call(vec![from, lit(ScalarValue::try_from(&data_type)?), place.clone()]),
                    change => change.of(from)?,
                };
            }
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        // Its values have types of their own, and only what is compared is made alike.
        Expr::ScalarFunction(call) if call.func.name() == "nullif" && call.args.len() == 2 => {
            let types = call.args.iter().map(|value| value.get_type(schema)).collect::<Result<Vec<_>>>();
            let are_unlike = matches!(types.as_deref(), Ok([value, other])
                if of_session(value, other, session).is_some() || of_session(other, value, session).is_some());
            if !are_unlike {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            }
            let mut values = call.args.into_iter();
            let (Some(value), Some(other)) = (values.next(), values.next()) else { return internal_err!("nullif takes two values") };
            let equal = zoned(schema, value.clone().eq(other), session)?.data;
            when(equal, lit(ScalarValue::Null)).otherwise(value).map(Transformed::yes)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (left_type, right_type) = (left.get_type(schema).ok(), right.get_type(schema).ok());
            let of_session = |value: Box<Expr>, unit| moment_of(unit, session).of(*value).map(Box::new);
            Ok(match (left_type, right_type) {
                (Some(DataType::Timestamp(unit, None)), Some(other)) if is_elsewhere(&other, session) => {
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left: of_session(left, unit)?, op, right }))
                }
                (Some(other), Some(DataType::Timestamp(unit, None))) if is_elsewhere(&other, session) => {
                    Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right: of_session(right, unit)? }))
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
    /// It is a text that is read as a moment, or a moment of nanoseconds or in UTC.
    Cast(DataType),
    /// It is what the clocks of this zone show.
    Clocks(String),
}

impl Change {
    fn of(self, value: Expr) -> Result<Expr> {
        let (name, arguments) = match self {
            Self::Cast(data_type) => return Ok(cast(value, data_type)),
            Self::Call(name) => (name, vec![value]),
            Self::Clocks(zone) => {
                let shown = cast(value, DataType::Timestamp(TimeUnit::Microsecond, None));
                ("with_timezone", vec![shown, lit(ScalarValue::Utf8View(Some(zone)))])
            }
        };
        match time_function(name) {
            Some(function) => Ok(function.call(arguments)),
            None => internal_err!("function {name} is missing"),
        }
    }
}

/// How what has no zone becomes a moment of the session. Arrow refuses what clocks show twice or never, where they are put back or forward, and DataFusion takes a cast for one
/// that changes no numbers, so that it can be left away where it is compared with a constant: both are right in UTC only.
fn moment_of(unit: TimeUnit, session: &str) -> Change {
    match unit {
        TimeUnit::Nanosecond => Change::Cast(DataType::Timestamp(unit, Some(session.into()))),
        _ if Zone::parse(session) == Some(Zone::Utc) => Change::Cast(DataType::Timestamp(TimeUnit::Microsecond, Some(session.into()))),
        _ => Change::Clocks(session.to_owned()),
    }
}

/// What is to be done where Arrow's cast does something else; `None` where it does not.
fn change(from: &DataType, to: &DataType, session: &str) -> Option<Change> {
    let is_moment = is_elsewhere(to, session) || is_elsewhere(to, "UTC");
    match from {
        // What has no zone is of the session's, also where the column that it goes to, or is compared with, has another one.
        DataType::Timestamp(TimeUnit::Nanosecond, None) => is_elsewhere(to, session).then(|| moment_of(TimeUnit::Nanosecond, session)),
        DataType::Timestamp(unit, None) if is_moment => Some(moment_of(*unit, session)),
        DataType::Date32 if is_moment => Some(moment_of(TimeUnit::Microsecond, session)),
        from if is_text(from) && is_elsewhere(to, session) => Some(Change::Cast(DataType::Timestamp(TimeUnit::Microsecond, Some(session.into())))),
        from => shown(from, to).map(Change::Call),
    }
}

/// The same for values with moments in them, which are cast as a whole.
fn change_of(from: &DataType, to: &DataType, session: &str) -> Option<Change> {
    match to.is_nested() {
        true => of_session(from, to, session).map(Change::Cast),
        false => change(from, to, session),
    }
}

/// A type whose moments without a zone are of the session's, where those of the other type are of another zone; `None` if nothing is.
fn of_session(from: &DataType, to: &DataType, session: &str) -> Option<DataType> {
    let within = |from: &FieldRef, to: &FieldRef| {
        let changed = of_session(from.data_type(), to.data_type(), session)?;
        Some(Arc::new(from.as_ref().clone().with_data_type(changed)))
    };
    match (from, to) {
        (DataType::Timestamp(unit, None), to) if is_elsewhere(to, session) => Some(DataType::Timestamp(*unit, Some(session.into()))),
        (DataType::List(from), DataType::List(to)) => within(from, to).map(DataType::List),
        (DataType::Map(from, is_sorted), DataType::Map(to, _)) => within(from, to).map(|pairs| DataType::Map(pairs, *is_sorted)),
        (DataType::Struct(from), DataType::Struct(to)) => {
            let changed: Vec<Option<FieldRef>> = from.iter().zip(to).map(|(from, to)| within(from, to)).collect();
            let is_changed = changed.iter().any(Option::is_some);
            let fields = from.iter().zip(changed).map(|(field, changed)| changed.unwrap_or_else(|| Arc::clone(field)));
            is_changed.then(|| DataType::Struct(fields.collect()))
        }
        _ => None,
    }
}

/// The function that gives what clocks show, where Arrow's cast does not; `None` where it does.
fn shown(from: &DataType, to: &DataType) -> Option<&'static str> {
    use DataType::{Date32, Duration, Interval, LargeUtf8, Time64, Timestamp, Utf8, Utf8View};
    match (from, to) {
        (Timestamp(TimeUnit::Microsecond, _), Utf8 | LargeUtf8 | Utf8View) => Some("$moment_text"),
        (Interval(_) | Duration(_), Utf8 | LargeUtf8 | Utf8View) => Some("$interval_text"),
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
        let of_nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("Asia/Tokyo".into()));
        assert_eq!(shown(&of_nanos, &DataType::Time64(TimeUnit::Nanosecond)), Some("$local_time"));
        assert_eq!(shown(&moment(Some("UTC")), &DataType::Utf8View), Some("$moment_text"));
        assert_eq!(change(&moment(None), &moment(Some("UTC")), "+00:00"), None);
        let of_clocks = || Some(Change::Clocks("Asia/Tokyo".to_owned()));
        assert_eq!(change(&moment(None), &moment(Some("UTC")), "Asia/Tokyo"), of_clocks());
        assert_eq!(change(&moment(None), &moment(Some("Asia/Tokyo")), "Asia/Tokyo"), of_clocks());
        assert_eq!(change(&DataType::Date32, &moment(Some("UTC")), "Asia/Tokyo"), of_clocks());
        assert_eq!(change(&moment(None), &moment(Some("Asia/Tokyo")), "UTC"), Some(Change::Cast(moment(Some("UTC")))));
        assert_eq!(change(&DataType::Utf8, &moment(Some("UTC")), "Asia/Tokyo"), Some(Change::Cast(moment(Some("Asia/Tokyo")))));
        assert_eq!(change(&moment(None), &DataType::Date32, "Asia/Tokyo"), None);
        let list = |zone: Option<&str>| DataType::new_list(moment(zone), true);
        assert_eq!(change_of(&list(None), &list(Some("UTC")), "Asia/Tokyo"), Some(Change::Cast(list(Some("Asia/Tokyo")))));
        assert_eq!(change_of(&list(None), &list(Some("Asia/Tokyo")), "Asia/Tokyo"), None);
        assert_eq!(change_of(&list(Some("UTC")), &list(None), "Asia/Tokyo"), None);
        for name in ["with_timezone", "$moment_text", "$interval_text", "$local_timestamp", "$local_date", "$local_time"] {
            assert!(time_function(name).is_some(), "{name}");
        }
    }
}
