//! Dates and times as Trino writes them, in words of DataFusion and of our functions, which get the session's time zone as their last argument: executors know nothing of
//! a session.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Interval, ObjectNamePart, TimezoneInfo,
    TypedString, UnaryOperator, Value, ValueWithSpan,
};
use nunatak_core::{Code, Error, Result};
use nunatak_functions::datetime::Zone;

use super::names::normalized;
use super::special_forms::call;
use crate::functions::text_cast::is_skipped;

/// The zone of a session that has set none.
pub(super) const UTC: &str = "UTC";

/// Functions that depend on the session's zone, and how many arguments they have without it.
const OF_ZONE: [(&str, usize); 7] = [
    ("at_timezone", 2),
    ("from_iso8601_timestamp", 1),
    ("from_iso8601_timestamp_nanos", 1),
    ("from_unixtime", 1),
    ("from_unixtime_nanos", 1),
    ("parse_datetime", 2),
    ("to_unixtime", 1),
];

/// The fields of intervals with their units, and what stands behind them where another follows.
static FIELDS: [(DateTimeField, &str, char); 6] = [
    (DateTimeField::Year, "years", '-'),
    (DateTimeField::Month, "months", ' '),
    (DateTimeField::Day, "days", ' '),
    (DateTimeField::Hour, "hours", ':'),
    (DateTimeField::Minute, "minutes", ':'),
    (DateTimeField::Second, "seconds", ' '),
];

/// The largest offset of a time zone, in minutes.
const OFFSET_MINUTES_MAX: i64 = 14 * 60;

/// The place of the first field of intervals of days.
const DAY: usize = 2;

/// Rewrites an expression whose parts were rewritten. `keeps_zones` says whether a literal has the zone that is written in it, and not the session's, as its type.
///
/// Errors: `INVALID_LITERAL` for intervals, and for what clocks never showed.
pub(super) fn adapt(expression: &mut Expr, zone: &str, keeps_zones: bool) -> Result<()> {
    let changed = match expression {
        Expr::Function(function) => {
            make_zone_argument(function)?;
            in_zone(function, zone)
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            make_zone(time_zone)?;
            let arguments = [timestamp, time_zone].map(|part| std::mem::replace(part.as_mut(), Expr::Value(Value::Null.into())));
            Some(call("at_timezone", arguments.into_iter().chain(unless_utc(zone))))
        }
        Expr::Interval(interval) => {
            write_out(interval)?;
            None
        }
        // DataFusion would put the sign before the first part only.
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(**expr, Expr::Interval(_)) => {
            let interval = std::mem::replace(expr.as_mut(), Expr::Value(Value::Null.into()));
            **expr = Expr::Nested(Box::new(interval));
            None
        }
        Expr::TypedString(literal) => {
            refuse_skipped(literal)?;
            keeps_zones.then(|| literal_in_zone(literal, zone)).flatten()
        }
        _ => None,
    };
    if let Some(changed) = changed {
        *expression = changed;
    }
    Ok(())
}

/// `at_timezone(t, INTERVAL '2' HOUR)` has the zone as a text, too.
fn make_zone_argument(function: &mut Function) -> Result<()> {
    let is_one = matches!(function.name.0.as_slice(), [ObjectNamePart::Identifier(name)] if normalized(name) == "at_timezone");
    match &mut function.args {
        FunctionArguments::List(list) if is_one => match list.args.get_mut(1) {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(zone))) => make_zone(zone),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Makes the text of an offset (`+02:00`) of an interval that is written out; one of months stays.
///
/// Errors: `INVALID_FUNCTION_ARGUMENT` for seconds, and for more than any zone has.
fn make_zone(zone: &mut Expr) -> Result<()> {
    let Expr::Interval(Interval { value, leading_field: None, .. }) = &*zone else { return Ok(()) };
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(written), .. }) = value.as_ref() else { return Ok(()) };
    let words: Vec<&str> = written.split_ascii_whitespace().collect();
    let mut minutes = 0.0;
    for part in words.chunks(2) {
        let [number, unit] = part else { return Ok(()) };
        let Ok(number) = number.parse::<f64>() else { return Ok(()) };
        minutes += match *unit {
            "days" => number * 1440.0,
            "hours" => number * 60.0,
            "minutes" => number,
            "seconds" if number == 0.0 => 0.0,
            "seconds" => return Err(Error::new(Code::InvalidFunctionArgument, format!("the offset '{written}' of a time zone has seconds"))),
            _ => return Ok(()),
        };
    }
    let minutes = minutes as i64;
    if minutes.abs() > OFFSET_MINUTES_MAX {
        return Err(Error::new(Code::InvalidFunctionArgument, format!("no time zone has the offset '{written}': there are 14 hours at most")));
    }
    let sign = if minutes < 0 { '-' } else { '+' };
    *zone = text(&format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60));
    Ok(())
}

fn text(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn unless_utc(zone: &str) -> Option<Expr> {
    (zone != UTC).then(|| text(zone))
}

fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

/// What stands for the call of a function of time; `None` if it stays.
fn in_zone(function: &mut Function, zone: &str) -> Option<Expr> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let name = normalized(name);
    let arguments: &[FunctionArg] = match &function.args {
        FunctionArguments::None => &[],
        FunctionArguments::List(list) => list.args.as_slice(),
        FunctionArguments::Subquery(_) => return None,
    };
    match (name.as_str(), arguments) {
        ("now" | "current_timestamp", []) if zone == UTC => None,
        ("now" | "current_timestamp", arguments) => {
            let digits = digits(arguments)?;
            Some(digits.into_iter().fold(now(zone), |now, digits| cast(now, DataType::Timestamp(Some(digits), TimezoneInfo::WithTimeZone))))
        }
        ("localtimestamp", arguments) => {
            let local = call("$local_timestamp", [now(zone)]);
            Some(digits(arguments)?.into_iter().fold(local, |local, digits| cast(local, DataType::Timestamp(Some(digits), TimezoneInfo::None))))
        }
        ("localtime" | "current_time", arguments) => {
            let time = |expression, digits| cast(expression, DataType::Time(Some(digits), TimezoneInfo::None));
            Some(match digits(arguments)? {
                None | Some(6) => call("$local_time", [now(zone)]),
                Some(9) => time(call("$local_time", [now(zone)]), 9),
                // There are no times of day of fewer digits, but values.
                Some(digits) => time(cast(call("$local_timestamp", [now(zone)]), DataType::Timestamp(Some(digits), TimezoneInfo::None)), 6),
            })
        }
        ("current_timezone", []) => Some(text(zone)),
        ("date", [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))]) => Some(cast(value.clone(), DataType::Date)),
        (name, arguments) if OF_ZONE.contains(&(name, arguments.len())) => {
            if let (FunctionArguments::List(list), Some(zone)) = (&mut function.args, unless_utc(zone)) {
                list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Expr(zone)));
            }
            None
        }
        _ => None,
    }
}

/// The moment of the query in the session's zone.
fn now(zone: &str) -> Expr {
    let now = call("now", []);
    match unless_utc(zone) {
        Some(zone) => call("at_timezone", [now, zone]),
        None => now,
    }
}

/// The digits of a precision, as many as a type of moments may have; the inner `None` without one. `None` for what is no precision.
fn digits(arguments: &[FunctionArg]) -> Option<Option<u64>> {
    let number = match arguments {
        [] => return Some(None),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. })))] => number,
        _ => return None,
    };
    match number.parse::<u64>().ok()? {
        0 => Some(Some(0)),
        digits @ 1..=9 => Some(Some(digits.div_ceil(3) * 3)),
        _ => None,
    }
}

/// `INTERVAL '1-3' YEAR TO MONTH` becomes `INTERVAL '1 years 3 months'`, which DataFusion reads.
fn write_out(interval: &mut Interval) -> Result<()> {
    let place = |field: &DateTimeField| FIELDS.iter().position(|(known, ..)| known == field);
    let Some(first) = interval.leading_field.as_ref().and_then(place) else { return Ok(()) };
    let Some(last) = interval.last_field.as_ref().map_or(Some(first), place) else { return Ok(()) };
    let Some((text, is_negative)) = signed_text(&interval.value, false) else { return Ok(()) };
    if interval.leading_precision.is_some() || interval.fractional_seconds_precision.is_some() {
        return Ok(());
    }
    let has_last = interval.last_field.is_some();
    let wrong = || {
        let fields = if !has_last { FIELDS[first].0.to_string() } else { format!("{} TO {}", FIELDS[first].0, FIELDS[last].0) };
        Error::new(Code::InvalidLiteral, format!("'{text}' is no interval of {fields}"))
    };
    if last < first || has_last && last == first || (first < DAY) != (last < DAY) {
        return Err(wrong());
    }
    let (mut rest, mut is_negative) = (text.trim(), is_negative);
    if let Some(number) = rest.strip_prefix(['-', '+']) {
        is_negative ^= rest.starts_with('-');
        rest = number;
    }
    let sign = if is_negative { "-" } else { "" };
    let mut parts = Vec::new();
    for (place, (field, unit, separator)) in FIELDS.iter().enumerate().take(last + 1).skip(first) {
        // The last ones may be left out.
        let (part, after) = match rest.split_once(*separator) {
            Some((part, after)) if place < last => (part, Some(after)),
            _ => (rest, None),
        };
        let (whole, fraction) = match part.split_once('.') {
            Some(parts) if *field == DateTimeField::Second => parts,
            _ => (part, "0"),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) {
            return Err(wrong());
        }
        parts.push(format!("{sign}{part} {unit}"));
        match after {
            Some(after) => rest = after,
            None => break,
        }
    }
    let value = Value::SingleQuotedString(parts.join(" "));
    *interval = Interval {
        value: Box::new(Expr::Value(value.into())),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    };
    Ok(())
}

/// A text with the signs before it; `None` for what is none.
fn signed_text(value: &Expr, is_negative: bool) -> Option<(String, bool)> {
    match value {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) => Some((text.clone(), is_negative)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => signed_text(expr, !is_negative),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => signed_text(expr, is_negative),
        _ => None,
    }
}

/// As Trino, takes no literal for what clocks never showed. Of texts that are cast it takes any.
fn refuse_skipped(literal: &TypedString) -> Result<()> {
    match (&literal.data_type, &literal.value.value) {
        (DataType::Timestamp(_, TimezoneInfo::WithTimeZone), Value::SingleQuotedString(text)) if is_skipped(text) => {
            let message = format!("'{text}' is no moment: clocks were put forward over it");
            Err(Error::new(Code::InvalidLiteral, message).with_hint("cast a text, which takes a moment as much later"))
        }
        _ => Ok(()),
    }
}

/// A moment in the zone that is written in it; `None` if it has none, or is one of UTC as all of the session are.
fn literal_in_zone(literal: &TypedString, session: &str) -> Option<Expr> {
    let DataType::Timestamp(precision @ (None | Some(0..=9)), TimezoneInfo::WithTimeZone) = literal.data_type else { return None };
    let Value::SingleQuotedString(written) = &literal.value.value else { return None };
    let time = written.find(':')?;
    // Neither letters nor signs are in a time of day.
    let start = time + written[time..].find(|character: char| character.is_ascii_alphabetic() || matches!(character, '+' | '-'))?;
    let zone = Zone::parse(written[start..].trim())?;
    if zone == Zone::Utc && session == UTC {
        return None;
    }
    // Arrow would refuse what clocks show twice, when they are put back.
    let value = Value::SingleQuotedString(written[..start].trim_end().to_owned()).into();
    let local = TypedString { data_type: DataType::Timestamp(precision, TimezoneInfo::None), value, uses_odbc_syntax: false };
    Some(call("with_timezone", [Expr::TypedString(local), text(&zone.name())]))
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn adapted(sql: &str, zone: &str) -> Result<String> {
        let mut expression = Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap().parse_expr().unwrap();
        if let Expr::TypedString(literal) = &mut expression {
            super::super::temporal_types::type_literal(literal);
        }
        adapt(&mut expression, zone, true).map(|()| expression.to_string())
    }

    #[test]
    fn intervals_are_written_out() {
        for (sql, expected) in [
            ("INTERVAL '1-3' YEAR TO MONTH", "INTERVAL '1 years 3 months'"),
            ("INTERVAL '-2 03:04:05.678' DAY TO SECOND", "INTERVAL '-2 days -03 hours -04 minutes -05.678 seconds'"),
            ("INTERVAL -'-2' DAY", "INTERVAL '2 days'"),
            ("INTERVAL '-12 10' DAY TO SECOND", "INTERVAL '-12 days -10 hours'"),
            ("INTERVAL '10:45' HOUR TO SECOND", "INTERVAL '10 hours 45 minutes'"),
            ("INTERVAL '124' YEAR TO MONTH", "INTERVAL '124 years'"),
            ("- INTERVAL '1 02' DAY TO HOUR", "-(INTERVAL '1 02' DAY TO HOUR)"),
            ("INTERVAL '2' WEEK", "INTERVAL '2' WEEK"),
            ("INTERVAL '2 days'", "INTERVAL '2 days'"),
        ] {
            assert_eq!(adapted(sql, UTC).unwrap(), expected);
        }
        for sql in [
            "INTERVAL '12' DAY TO DAY",
            "INTERVAL '30' MONTH TO MONTH",
            "INTERVAL 'x' DAY",
            "INTERVAL '1:2' DAY TO HOUR",
            "INTERVAL '1 2' MONTH TO DAY",
            "INTERVAL '1.5' DAY",
            "INTERVAL '' DAY",
        ] {
            assert_eq!(adapted(sql, UTC).unwrap_err().code(), Code::InvalidLiteral, "{sql}");
        }
    }

    #[test]
    fn functions_get_the_zone() {
        let zone = "Asia/Tokyo";
        for (sql, expected) in [
            ("from_unixtime(1)", "from_unixtime(1, 'Asia/Tokyo')"),
            ("from_unixtime(1, 'UTC')", "from_unixtime(1, 'UTC')"),
            ("now()", r#""at_timezone"("now"(), 'Asia/Tokyo')"#),
            ("current_timezone()", "'Asia/Tokyo'"),
            ("x AT TIME ZONE 'UTC'", r#""at_timezone"(x, 'UTC', 'Asia/Tokyo')"#),
            ("x AT TIME ZONE INTERVAL '-2 hours -30 minutes'", r#""at_timezone"(x, '-02:30', 'Asia/Tokyo')"#),
            ("at_timezone(x, INTERVAL '1 hours')", "at_timezone(x, '+01:00', 'Asia/Tokyo')"),
            ("localtimestamp(2)", r#"CAST("$local_timestamp"("at_timezone"("now"(), 'Asia/Tokyo')) AS TIMESTAMP(3))"#),
            ("TIMESTAMP '2020-05-01 08:00:00.123456789 +05:30'", r#""with_timezone"(TIMESTAMP(9) '2020-05-01 08:00:00.123456789', '+05:30')"#),
            ("localtime(0)", r#"CAST(CAST("$local_timestamp"("at_timezone"("now"(), 'Asia/Tokyo')) AS TIMESTAMP(0)) AS TIME(6))"#),
            ("localtime(9)", r#"CAST("$local_time"("at_timezone"("now"(), 'Asia/Tokyo')) AS TIME(9))"#),
            ("TIMESTAMP '2020-05-01 08:00:00+0530'", r#""with_timezone"(TIMESTAMP '2020-05-01 08:00:00', '+05:30')"#),
        ] {
            assert_eq!(adapted(sql, zone).unwrap(), expected);
        }
        let skipped = adapted("TIMESTAMP '2024-03-31 02:30:00 Europe/Berlin'", zone).unwrap_err();
        assert_eq!(skipped.code(), Code::InvalidLiteral);
        assert_eq!(adapted("now()", UTC).unwrap(), "now()");
        assert_eq!(adapted("TIMESTAMP '2020-05-01 08:00:00Z'", UTC).unwrap(), "TIMESTAMP WITH TIME ZONE '2020-05-01 08:00:00Z'");
    }
}
