//! `TIME` and `TIMESTAMP` in queries, and the types of literals: times count microseconds, as the columns of tables do, where nothing else is written. DataFusion would count
//! nanoseconds, which reach from 1677 to 2262 only. Times of day of both units are compared by nanoseconds, which DataFusion would not do at all.
//!
//! Also types that DataFusion has no names for (`uuid`, `varbinary`; those with parts are in `cast_types`), and intervals that are multiplied and divided.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DECIMAL_DEFAULT_SCALE, DECIMAL128_MAX_PRECISION, DataType, FieldRef, TimeUnit};
use datafusion::common::datatype::DataTypeExt;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr, TypePlanner};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::{self, ExactNumberInfo, TimezoneInfo, TypedString, Value};
use nunatak_core::{Code, Error, Location};
use nunatak_functions::datetime::Zone;

use super::cast_types;
use super::times::UTC;
use crate::error::into_datafusion;
use crate::functions::column_cast::cast_scalar;
use crate::functions::interval_scale;
use crate::functions::text_cast::{FRACTION_DIGITS_MAX, UUID, is_text, written_out};

/// The precision of a literal with more digits than microseconds have.
const NANOSECONDS: u64 = 9;

/// The most digits of a decimal.
const DECIMAL_DIGITS_MAX: u64 = DECIMAL128_MAX_PRECISION as u64;

/// The types of `TIME` and `TIMESTAMP` in literals and casts.
#[derive(Debug)]
pub(crate) struct TemporalTypes;

impl TypePlanner for TemporalTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        Ok(planned(sql_type, UTC)?.map(DataTypeExt::into_nullable_field_ref))
    }
}

/// The same where a moment with time zone has that of a session.
#[derive(Debug)]
pub(super) struct SessionTypes(pub(super) Arc<str>);

impl TypePlanner for SessionTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        Ok(planned(sql_type, &self.0)?.map(DataTypeExt::into_nullable_field_ref))
    }
}

/// The type that values of a written one have; `None` where DataFusion finds it. Errors: a type with parts that is none.
pub(super) fn planned(sql_type: &ast::DataType, zone: &str) -> Result<Option<DataType>> {
    if let Some(data_type) = cast_types::planned(sql_type, zone)? {
        return Ok(Some(data_type));
    }
    Ok(Some(match sql_type {
        ast::DataType::Timestamp(None, is_zoned) => {
            let is_zoned = matches!(is_zoned, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
            DataType::Timestamp(TimeUnit::Microsecond, is_zoned.then(|| zone.into()))
        }
        ast::DataType::Time(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => return Err(into_datafusion(no_zones_of_times())),
        ast::DataType::Time(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Microsecond),
        ast::DataType::Time(Some(NANOSECONDS), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Nanosecond),
        ast::DataType::Uuid => UUID,
        ast::DataType::Varbinary(_) => DataType::Binary,
        _ => return Ok(None),
    }))
}

impl ExprPlanner for TemporalTypes {
    /// Comparisons have to have a type before any rule sees them.
    fn plan_binary_op(&self, expression: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        use ast::BinaryOperator::{Divide, Eq, Gt, GtEq, Lt, LtEq, Multiply, NotEq};
        let RawBinaryExpr { op, mut left, mut right } = expression;
        let scaled = match op {
            Multiply => interval_scale::times(&left, &right, schema).or_else(|| interval_scale::times(&right, &left, schema)),
            Divide => interval_scale::divided(&left, &right, schema),
            _ => None,
        };
        if let Some(scaled) = scaled {
            return Ok(PlannerResult::Planned(scaled));
        }
        if matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq) {
            (left, right) = compared(left, right, schema);
        }
        Ok(PlannerResult::Original(RawBinaryExpr { op, left, right }))
    }
}

/// Both sides of a comparison, cast where one is a time of day of another unit, or a text beside a UUID.
fn compared(left: Expr, right: Expr, schema: &DFSchema) -> (Expr, Expr) {
    let (Ok(left_type), Ok(right_type)) = (left.get_type(schema), right.get_type(schema)) else { return (left, right) };
    let takes = |to: &DataType, from: &DataType| match to {
        DataType::Time64(TimeUnit::Nanosecond) => *from == DataType::Time64(TimeUnit::Microsecond),
        to => *to == UUID && is_text(from),
    };
    if takes(&left_type, &right_type) {
        (left, cast(right, left_type))
    } else if takes(&right_type, &left_type) {
        (cast(left, right_type), right)
    } else {
        (left, right)
    }
}

/// Gives a literal such as `TIMESTAMP '2024-05-01 08:00:00 +02:00'` the type that its text asks for: a zone makes it one with time zone, and a fraction
/// of more than six digits one of nanoseconds. Seconds that are not written are none.
pub(super) fn type_literal(literal: &mut TypedString) {
    let Value::SingleQuotedString(text) = &mut literal.value.value else { return };
    if matches!(literal.data_type, ast::DataType::Timestamp(..) | ast::DataType::Time(..)) {
        *text = written_out(text).into_owned();
    }
    // A date has signs and letters too.
    let time = text.split_once(':').map_or("", |(_, time)| time);
    let digits = fraction_digits(time);
    let has_zone = time.contains(|character: char| character.is_ascii_alphabetic() || matches!(character, '+' | '-'));
    match &mut literal.data_type {
        ast::DataType::Timestamp(precision, zone) => {
            if precision.is_none() && digits > 6 {
                *precision = Some(NANOSECONDS);
            }
            if has_zone && *zone == TimezoneInfo::None {
                *zone = TimezoneInfo::WithTimeZone;
            }
        }
        ast::DataType::Time(precision, _) if precision.is_none() && digits > 6 => *precision = Some(NANOSECONDS),
        ast::DataType::Decimal(size @ ExactNumberInfo::None) => {
            // As in `1_000`.
            *text = text.replace('_', "");
            *size = decimal_size(text);
        }
        _ => {}
    }
}

/// Reads a literal without a zone as it is cast when the query runs.
///
/// Errors: `INVALID_LITERAL` for what is no value of its type.
pub(super) fn check_literal(literal: &TypedString) -> nunatak_core::Result<()> {
    let Value::SingleQuotedString(text) = &literal.value.value else { return Ok(()) };
    let start = literal.value.span.start;
    let placed = |error: Error| Err(if start.line > 0 { error.at(Location { line: start.line, column: start.column }) } else { error });
    let refused = |name: &str| placed(Error::new(Code::InvalidLiteral, format!("'{text}' is no {name}")));
    let is_moment = matches!(literal.data_type, ast::DataType::Timestamp(..) | ast::DataType::Time(..));
    if is_moment && text.split_once(':').is_some_and(|(_, time)| fraction_digits(time) > FRACTION_DIGITS_MAX) {
        let message = format!("'{text}' has a fraction of more than {FRACTION_DIGITS_MAX} digits");
        return placed(Error::new(Code::NumericValueOutOfRange, message));
    }
    if names_no_zone(literal, text) {
        return refused("timestamp with time zone");
    }
    let Some((name, data_type)) = read_as(&literal.data_type) else { return Ok(()) };
    // Behind the hours there are no signs.
    if name == "time" && text.split_once(':').is_some_and(|(_, rest)| rest.contains(['+', '-'])) {
        return Err(no_zones_of_times());
    }
    if cast_scalar(ScalarValue::Utf8(Some(text.clone())), &data_type).is_ok() { Ok(()) } else { refused(name) }
}

/// How many digits the fraction of a time of day has.
fn fraction_digits(time: &str) -> usize {
    time.split_once('.').map_or(0, |(_, fraction)| fraction.bytes().take_while(u8::is_ascii_digit).count())
}

/// Whether what stands behind the time of a moment is no time zone.
fn names_no_zone(literal: &TypedString, text: &str) -> bool {
    if !matches!(literal.data_type, ast::DataType::Timestamp(_, TimezoneInfo::WithTimeZone)) {
        return false;
    }
    // A date has signs and letters too.
    let Some((_, time)) = text.split_once(':') else { return false };
    let is_first = |character: char| character.is_ascii_alphabetic() || matches!(character, '+' | '-');
    let Some(start) = time.find(is_first) else { return false };
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
    Zone::parse(time[start..].trim()).is_none() && cast_scalar(ScalarValue::Utf8(Some(text.to_owned())), &moment).is_err()
}

/// The error for a type that no column of a table can have.
fn no_zones_of_times() -> Error {
    Error::not_supported("the type 'time with time zone' is not supported").with_hint("use timestamp with time zone, or time")
}

/// What the type of a literal is called, and what it is read as. Nanoseconds are left out: those of Arrow reach less far.
fn read_as(sql_type: &ast::DataType) -> Option<(&'static str, DataType)> {
    Some(match sql_type {
        ast::DataType::Date => ("date", DataType::Date32),
        ast::DataType::Time(None | Some(0..=6), TimezoneInfo::None) => ("time", DataType::Time64(TimeUnit::Microsecond)),
        ast::DataType::Timestamp(None | Some(0..=6), TimezoneInfo::None) => ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None)),
        // One that has no size has no digits either.
        ast::DataType::Decimal(ExactNumberInfo::None) => ("decimal", DataType::Decimal128(DECIMAL128_MAX_PRECISION, DECIMAL_DEFAULT_SCALE)),
        _ => return None,
    })
}

/// The size of `DECIMAL '12.30'`: as many digits as are written, as in Trino.
fn decimal_size(text: &str) -> ExactNumberInfo {
    let number = text.trim().trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('0');
    let digits = (whole.len() + fraction.len()).max(1);
    let are_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    match (u64::try_from(digits), i64::try_from(fraction.len())) {
        (Ok(digits), Ok(scale)) if are_digits && digits <= DECIMAL_DIGITS_MAX => ExactNumberInfo::PrecisionAndScale(digits, scale),
        // What is no number is told so where it is read.
        _ => ExactNumberInfo::None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn typed(literal: &str) -> DataType {
        let parsed = Parser::new(&GenericDialect {}).try_with_sql(literal).unwrap().parse_expr().unwrap();
        let ast::Expr::TypedString(mut literal) = parsed else { panic!("{literal} is no literal") };
        type_literal(&mut literal);
        // What is not planned here DataFusion plans.
        TemporalTypes.plan_type_field(&literal.data_type).unwrap().map_or(DataType::Null, |field| field.data_type().clone())
    }

    #[test]
    fn decimals_have_the_digits_that_are_written() {
        for (text, digits, scale) in [("12.30", 4, 2), ("-0.5", 1, 1), ("001.20", 3, 2), ("0", 1, 0), ("5.", 1, 0), (".05", 2, 2)] {
            assert_eq!(decimal_size(text), ExactNumberInfo::PrecisionAndScale(digits, scale), "{text}");
        }
        assert_eq!([decimal_size("1e3"), decimal_size(&"1".repeat(39))], [ExactNumberInfo::None, ExactNumberInfo::None]);
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for (text, is_one) in [
            ("DATE '2024-02-29'", true),
            ("DATE '2024-13-01'", false),
            ("TIME '8:00'", true),
            ("TIME '25:00'", false),
            ("TIMESTAMP '2024-5-1 8:00'", true),
            ("TIMESTAMP '2024-05-01 08:00:00.123456789'", true),
            ("TIMESTAMP '2024-05-01 08:00:00.1234567890123'", false),
            ("TIME '08:00:00.123456789012'", true),
            ("TIME '08:00:00.1234567890123'", false),
            ("TIMESTAMP '2024-05-01 08:61'", false),
            ("TIMESTAMP '2024-05-01 08:00:00 Mars/Base'", false),
            ("TIMESTAMP '2024-05-01 08:00:00 Europe/Berlin'", true),
            ("TIMESTAMP '2024-05-01 08:00:00 +05:30'", true),
            ("DECIMAL '-1_000.5'", true),
            ("DECIMAL 'x'", false),
        ] {
            let parsed = Parser::new(&GenericDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
            let ast::Expr::TypedString(mut literal) = parsed else { panic!("{text} is no literal") };
            type_literal(&mut literal);
            assert_eq!(check_literal(&literal).is_ok(), is_one, "{text}");
        }
    }

    #[test]
    fn decimals_are_written_without_marks_between_digits() {
        let parsed = Parser::new(&GenericDialect {}).try_with_sql("DECIMAL '-1_000.50'").unwrap().parse_expr().unwrap();
        let ast::Expr::TypedString(mut literal) = parsed else { panic!("this is no literal") };
        type_literal(&mut literal);
        assert_eq!(literal.to_string(), "DECIMAL(6,2) '-1000.50'");
    }

    #[test]
    fn literals_have_the_type_that_they_are_written_as() {
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        assert_eq!(typed("TIMESTAMP '9999-12-31'"), micros(None));
        assert_eq!(typed("TIMESTAMP '0001-01-01 00:00:00.123456'"), micros(None));
        assert_eq!(typed("TIMESTAMP '2024-05-01T08:00:00Z'"), micros(Some("UTC")));
        assert_eq!(typed("TIMESTAMP '2024-05-01 08:00:00 -02:00'"), micros(Some("UTC")));
        assert_eq!(typed("TIMESTAMP '2024-05-01 08:00:00.1234567 UTC'"), DataType::Null);
        assert_eq!(typed("TIME '08:00:00'"), DataType::Time64(TimeUnit::Microsecond));
        assert_eq!(typed("TIME '08:00:00.123456789'"), DataType::Time64(TimeUnit::Nanosecond));
        assert_eq!(typed("DATE '2024-05-01'"), DataType::Null);
    }
}
