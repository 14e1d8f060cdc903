//! Texts as numbers, truth values and dates, and floating-point numbers and moments as texts, where Arrow takes or writes something else than Trino: spaces around numbers are left
//! away, but not around decimals; `yes` is no truth value; `1.5` is written `1.5E0`, and there is no `T` between day and hour. Moments of microseconds and intervals are here for
//! arrays, maps and rows that hold them: by themselves they have functions of their own, see `rules::zoned_times`.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayIter, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, PrimitiveArray, StringArray, StringArrayType};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Float32Type, Float64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use arrow::util::display::FormatOptions;
use chrono::NaiveDate;
use datafusion::error::Result;
use nunatak_functions::datetime::interval_text;

use super::hex_floats::{DOUBLE, REAL, hex_float};
use super::number_cast::unscaled;
use super::text_cast::{is_text, wrong};

/// The most digits of a year.
const YEAR_DIGITS_MAX: usize = 6;

/// Whether a cast is one of these.
pub(super) fn is_needed(from: &DataType, to: &DataType) -> bool {
    match from {
        from if is_text(from) => {
            to.is_signed_integer()
                || matches!(to, DataType::Float32 | DataType::Float64 | DataType::Boolean | DataType::Date32 | DataType::Decimal128(..))
        }
        DataType::Float32 | DataType::Float64 => is_text(to),
        DataType::Timestamp(..) | DataType::Interval(IntervalUnit::MonthDayNano) => is_text(to),
        _ => false,
    }
}

/// Values for whose type a cast [is needed](is_needed). `is_try` gives NULL for what cannot be cast.
///
/// Errors: `INVALID_CAST_ARGUMENT`.
pub(super) fn cast_plain(values: &ArrayRef, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Float64 => {
            return Ok(cast(&values.as_primitive::<Float64Type>().iter().map(|value| value.map(written)).collect::<StringArray>(), to)?);
        }
        DataType::Float32 => {
            let texts: StringArray = values.as_primitive::<Float32Type>().iter().map(|value| value.map(written_real)).collect();
            return Ok(cast(&texts, to)?);
        }
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => "",
                TimeUnit::Millisecond => "%.3f",
                TimeUnit::Microsecond => "%.6f",
                TimeUnit::Nanosecond => "%.9f",
            };
            let format = format!("%Y-%m-%d %H:%M:%S{digits}");
            let with_zone = format!("{format} {}", zone.as_deref().unwrap_or_default());
            let options = FormatOptions::default().with_timestamp_format(Some(&format)).with_timestamp_tz_format(Some(&with_zone));
            return Ok(cast_with_options(values, to, &CastOptions { safe: is_try, format_options: options })?);
        }
        DataType::Interval(_) => {
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>().iter();
            let texts = intervals.map(|interval| interval.map(interval_text).transpose()).collect::<Result<StringArray>>()?;
            return Ok(cast(&texts, to)?);
        }
        _ => {}
    }
    match values.data_type() {
        DataType::Utf8View => read(values.as_string_view(), to, is_try),
        DataType::LargeUtf8 => read(values.as_string::<i64>(), to, is_try),
        _ => read(values.as_string::<i32>(), to, is_try),
    }
}

/// Texts as numbers, truth values or dates.
fn read<'a>(texts: impl StringArrayType<'a>, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    Ok(match to {
        DataType::Date32 => Arc::new(each(texts, to, is_try, date).collect::<Result<Date32Array>>()?),
        DataType::Boolean => Arc::new(each(texts, to, is_try, truth).collect::<Result<BooleanArray>>()?),
        DataType::Float64 => Arc::new(each(texts, to, is_try, double).collect::<Result<Float64Array>>()?),
        DataType::Float32 => {
            let reals = each(texts, to, is_try, real).collect::<Result<PrimitiveArray<Float32Type>>>()?;
            Arc::new(reals)
        }
        DataType::Decimal128(digits, scale) => {
            let decimals = each(texts, to, is_try, |text| decimal(text, *digits, *scale)).collect::<Result<PrimitiveArray<Decimal128Type>>>()?;
            Arc::new(decimals.with_precision_and_scale(*digits, *scale)?)
        }
        to => {
            let (least, most) = range(to);
            let whole = |text: &str| text.trim().parse::<i64>().ok().filter(|number| (least..=most).contains(number));
            cast(&each(texts, to, is_try, whole).collect::<Result<Int64Array>>()?, to)?
        }
    })
}

/// What each of the texts is, by a function that gives `None` for what is nothing.
fn each<'a, T>(
    texts: impl StringArrayType<'a>,
    to: &DataType,
    is_try: bool,
    value: impl Fn(&str) -> Option<T>,
) -> impl Iterator<Item = Result<Option<T>>> {
    ArrayIter::new(texts).map(move |text| match text.map(|text| (text, value(text))) {
        Some((text, None)) if !is_try => Err(wrong(text, to)),
        Some((_, value)) => Ok(value),
        None => Ok(None),
    })
}

fn range(integer: &DataType) -> (i64, i64) {
    match integer {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

/// The days since the epoch of a date that is written as year, month and day, the latter with one or two digits each. Arrow reads other forms, too.
fn date(text: &str) -> Option<i32> {
    let text = text.trim();
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let number = |digits: &str, most: usize| {
        let is_one = (1..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_one { digits.parse::<u32>().ok() } else { None }
    };
    let year = sign * i32::try_from(number(year, YEAR_DIGITS_MAX)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(month, 2)?, number(day, 2)?)?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

fn truth(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    match text {
        _ if is_one_of(["true", "t", "1"]) => Some(true),
        _ if is_one_of(["false", "f", "0"]) => Some(false),
        _ => None,
    }
}

/// The text of a floating-point number without spaces around it, as Rust reads it; `None` for what Java does not read.
fn plain_float(text: &str) -> Option<&str> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(digits, "NaN" | "Infinity") {
        return Some(text);
    }
    // Java has letters for the types of its own literals.
    let text = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    // Rust reads words for what is infinite, in any case.
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')).then_some(text)
}

fn double(text: &str) -> Option<f64> {
    match plain_float(text) {
        Some(plain) => f64::from_str(plain).ok(),
        None => hex_float(text.trim(), DOUBLE),
    }
}

fn real(text: &str) -> Option<f32> {
    match plain_float(text) {
        Some(plain) => f32::from_str(plain).ok(),
        None => hex_float(text.trim(), REAL).map(|number| number as f32),
    }
}

fn decimal(text: &str, digits: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let number = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let has_digit = number.bytes().any(|byte| byte.is_ascii_digit());
    let is_number =
        has_digit && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && number.bytes().filter(|byte| *byte == b'.').count() < 2;
    if !is_number { None } else { unscaled(&format!("{mantissa}e{exponent}"), digits, scale) }
}

/// A double as Trino writes it: `1.5E0`.
fn written(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value if value == 0.0 => if value.is_sign_negative() { "-0E0" } else { "0E0" }.to_owned(),
        value => with_point(&format!("{value:E}")),
    }
}

/// The same of a real, which has seven digits at most.
fn written_real(value: f32) -> String {
    if !value.is_finite() || value == 0.0 {
        return written(f64::from(value));
    }
    let shortest = format!("{value:E}");
    let digits = shortest.bytes().take_while(|byte| *byte != b'E').filter(u8::is_ascii_digit).count();
    let text = if digits > 7 { format!("{value:.6E}") } else { shortest };
    match text.split_once('E') {
        Some((mantissa, exponent)) if mantissa.contains('.') => {
            with_point(&format!("{}E{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.')))
        }
        _ => with_point(&text),
    }
}

/// `1E2` as `1.0E2`.
fn with_point(text: &str) -> String {
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str], to: &DataType, is_try: bool) -> Result<ArrayRef> {
        cast_plain(&(Arc::new(StringArray::from(values.to_vec())) as ArrayRef), to, is_try)
    }

    #[test]
    fn numbers_are_read() {
        let whole = texts(&[" 42 ", "+7", "x", "1e3", "2147483648", ""], &DataType::Int32, true).unwrap();
        let expected = [Some(42), Some(7), None, None, None, None];
        assert_eq!(whole.as_primitive::<arrow::datatypes::Int32Type>().iter().collect::<Vec<_>>(), expected);
        let doubles = texts(&[" 1.5 ", "1e3", "inf", "1d", "-Infinity", ".5", "1e400", "1_0"], &DataType::Float64, true).unwrap();
        let expected = [Some(1.5), Some(1000.0), None, Some(1.0), Some(f64::NEG_INFINITY), Some(0.5), Some(f64::INFINITY), None];
        assert_eq!(doubles.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), expected);
        let decimals = texts(&["1.555", "-1.555", "1e2", "5.", " 1", "1000", "", "1.1.1"], &DataType::Decimal128(5, 2), true).unwrap();
        let expected = [Some(156), Some(-156), Some(10_000), Some(500), None, None, None, None];
        assert_eq!(decimals.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), expected);
        assert!(texts(&["128"], &DataType::Int8, false).is_err() && texts(&["yes"], &DataType::Boolean, false).is_err());
    }

    #[test]
    fn moments_are_written() {
        for (unit, zone, expected) in [
            (TimeUnit::Second, None, "1970-01-01 02:46:40"),
            (TimeUnit::Millisecond, None, "1970-01-01 00:00:10.000"),
            (TimeUnit::Microsecond, None, "1970-01-01 00:00:00.010000"),
            (TimeUnit::Microsecond, Some("UTC"), "1970-01-01 00:00:00.010000 UTC"),
            (TimeUnit::Nanosecond, Some("Asia/Tokyo"), "1970-01-01 09:00:00.000010000 Asia/Tokyo"),
        ] {
            let moments = cast(&Int64Array::from(vec![Some(10_000), None]), &DataType::Timestamp(unit, zone.map(Into::into))).unwrap();
            assert!(is_needed(moments.data_type(), &DataType::Utf8));
            let texts = cast_plain(&moments, &DataType::Utf8, false).unwrap();
            assert_eq!(texts.as_string::<i32>().iter().collect::<Vec<_>>(), [Some(expected), None]);
        }
    }

    #[test]
    fn numbers_are_written() {
        for (value, text) in
            [(1.0, "1.0E0"), (0.1, "1.0E-1"), (123_456.789, "1.23456789E5"), (1e300, "1.0E300"), (-0.0, "-0E0"), (1.25e-7, "1.25E-7")]
        {
            assert_eq!(written(value), text);
        }
        for (value, text) in [(16_777_216.0, "1.677722E7"), (0.1, "1.0E-1"), (1e10, "1.0E10"), (1.5, "1.5E0"), (f32::NAN, "NaN")] {
            assert_eq!(written_real(value), text);
        }
    }
}
