//! `$number_cast(value, type, is_try)`, which no statement can call: casts of numbers and moments that Arrow does otherwise than Trino, to the type of a NULL; those to and
//! from texts are in `plain_cast` and `text_cast`.
//!
//! A decimal, `real` or `double` that becomes a whole number is rounded, halves away from zero; Arrow cuts its fraction off. A `real` or `double` that becomes a decimal has
//! the digits that it is written with, the fewest that tell it from its neighbours; Arrow gives it those of a product, whose last ones are noise. A timestamp that becomes
//! one of fewer digits is rounded, halves to the later one, as is a time of day, whose last ones become midnight; Arrow cuts them off, which before 1970 gives a later one.
//! JSON within arrays, maps and rows is cast value by value. Arrow's casts to types that hold fewer numbers are right, but DataFusion leaves them away where they are
//! compared with a constant, as if they changed nothing: `CAST(1.4999 AS decimal(2, 1)) = 1.5`.

use std::fmt::{Display, LowerExp};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, MapArray, PrimitiveArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, DecimalType, Fields, Float32Type, Float64Type, Int64Type, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit,
};
use datafusion::common::format::DEFAULT_CAST_OPTIONS;
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit};
use nunatak_core::{Code, Error};
use nunatak_functions::json::from_json::cast_json;
use nunatak_functions::json::to_json::cast_to_json;
use nunatak_functions::signature::JSON;

use super::{map_keys, plain_cast, text_cast};
use crate::error::into_datafusion;
use crate::type_name::type_name;

const NAME: &str = "$number_cast";
const DAY_MICROS: i64 = 86_400_000_000;

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(NumberCast { signature: Signature::any(3, Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// Whether a cast is one of these, or has one within.
pub fn is_needed(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (from, to) if text_cast::is_needed(from, to) || plain_cast::is_needed(from, to) || narrows(from, to) => true,
        // Arrow has no such casts.
        (DataType::Boolean, DataType::Decimal128(..)) | (DataType::Decimal128(..), DataType::Boolean) => true,
        (DataType::Float32 | DataType::Float64 | DataType::Decimal128(_, 1..), to) => {
            to.is_signed_integer() || matches!(to, DataType::Decimal128(..)) && !from.is_decimal()
        }
        (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) => per_second(*from) > per_second(*to),
        (DataType::Timestamp(TimeUnit::Nanosecond, _) | DataType::Time64(TimeUnit::Nanosecond), DataType::Time64(TimeUnit::Microsecond)) => true,
        (DataType::List(from), DataType::List(to)) => is_needed(from.data_type(), to.data_type()),
        (DataType::Struct(from), DataType::Struct(to)) => {
            // Others DataFusion casts by name.
            let same_names = from.len() == to.len() && from.iter().zip(to).all(|(from, to)| from.name() == to.name());
            same_names && any_needed(from, to)
        }
        (DataType::Map(from, _), DataType::Map(to, _)) => match (from.data_type(), to.data_type()) {
            (DataType::Struct(from), DataType::Struct(to)) => any_needed(from, to) || may_meet(from, to),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a type of exact numbers has some that the other one has not, and Arrow casts it as Trino does.
fn narrows(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::Decimal128(_, from_scale), DataType::Decimal128(_, to_scale)) => to_scale < from_scale || whole_digits(to) < whole_digits(from),
        (DataType::Decimal128(_, ..=0), to) if to.is_signed_integer() => whole_digits(to) <= whole_digits(from),
        (from, DataType::Decimal128(..)) if from.is_signed_integer() => whole_digits(to) < whole_digits(from),
        (from, to) => from.is_signed_integer() && to.is_signed_integer() && to.primitive_width() < from.primitive_width(),
    }
}

/// How many digits the greatest number of a type has before its point.
fn whole_digits(exact: &DataType) -> i16 {
    match exact {
        DataType::Decimal128(digits, scale) => i16::from(*digits) - i16::from(*scale),
        DataType::Int8 => 3,
        DataType::Int16 => 5,
        DataType::Int32 => 10,
        _ => 19,
    }
}

/// Whether keys of maps that differ may be the same when they are cast.
fn may_meet(from: &Fields, to: &Fields) -> bool {
    let (Some(from), Some(to)) = (from.first(), to.first()) else { return false };
    let (from, to) = (from.data_type(), to.data_type());
    match to {
        DataType::Boolean => *from != DataType::Boolean && !from.is_null(),
        to if text_cast::is_text(to) => false,
        to => is_needed(from, to) || changes_json(from, to),
    }
}

/// Whether values become JSON, or JSON other values, in a cast or within it.
fn changes_json(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::List(from), DataType::List(to)) | (DataType::Map(from, _), DataType::Map(to, _)) => changes_json(from.data_type(), to.data_type()),
        (DataType::Struct(from), DataType::Struct(to)) => from.iter().zip(to).any(|(from, to)| changes_json(from.data_type(), to.data_type())),
        (from, to) => (*from == JSON) != (*to == JSON) && !from.is_null(),
    }
}

fn any_needed(from: &Fields, to: &Fields) -> bool {
    from.iter().zip(to).any(|(from, to)| is_needed(from.data_type(), to.data_type()))
}

/// The call of the function for a cast; `is_try` gives NULL for what has no value of the type.
///
/// Errors: a type that has no NULL.
pub fn call(value: Expr, to: &DataType, is_try: bool) -> Result<Expr> {
    Ok(function().call(vec![value, lit(ScalarValue::try_from(to)?), lit(is_try)]))
}

/// A value of a type for which a cast [is needed](is_needed).
///
/// Errors: `NUMERIC_VALUE_OUT_OF_RANGE` and `INVALID_CAST_ARGUMENT`.
pub fn cast_value(value: &ColumnarValue, to: &DataType, is_try: bool) -> Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(values) => ColumnarValue::Array(cast_numbers(values, to, is_try)?),
        ColumnarValue::Scalar(value) => {
            let values = cast_numbers(&value.to_array()?, to, is_try)?;
            ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
        }
    })
}

fn cast_numbers(values: &ArrayRef, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    match (values.data_type(), to) {
        (from, to) if (*from == JSON) != (*to == JSON) => match values.as_string_opt::<i64>() {
            Some(texts) => cast_json(texts, to, is_try),
            None => Ok(Arc::new(cast_to_json(values)?)),
        },
        (from, to) if text_cast::is_needed(from, to) => text_cast::cast_texts(values, to, is_try),
        (from, to) if plain_cast::is_needed(from, to) => plain_cast::cast_plain(values, to, is_try),
        (from, to) if narrows(from, to) => Ok(cast_with_options(values, to, &CastOptions { safe: is_try, ..DEFAULT_CAST_OPTIONS })?),
        (DataType::Float32, DataType::Decimal128(digits, scale)) => decimals(values.as_primitive::<Float32Type>(), *digits, *scale, is_try),
        (DataType::Float64, DataType::Decimal128(digits, scale)) => decimals(values.as_primitive::<Float64Type>(), *digits, *scale, is_try),
        (DataType::Float32, to) => {
            let whole = |value: f32| whole_number(f64::from(value));
            integers(values.as_primitive::<Float32Type>(), to, is_try, whole, |value| value.to_string())
        }
        (DataType::Float64, to) => integers(values.as_primitive::<Float64Type>(), to, is_try, whole_number, |value| value.to_string()),
        (DataType::Timestamp(from, zone), DataType::Timestamp(unit, _)) => {
            let factor = per_second(*from) / per_second(*unit);
            let counts = cast(values, &DataType::Int64)?;
            let counts: Int64Array = counts.as_primitive::<Int64Type>().unary(|count| rounded(count, factor));
            // What is left is a change of the zone.
            let moments = cast(&counts, &DataType::Timestamp(*unit, zone.clone()))?;
            cast_within(&moments, to, is_try)
        }
        // By way of moments of microseconds, which Arrow takes apart rightly before 1970 too. Of a moment with a zone it is what the clocks of that zone show.
        (DataType::Timestamp(TimeUnit::Nanosecond, zone), DataType::Time64(TimeUnit::Microsecond)) => {
            let moments = cast_numbers(values, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()), is_try)?;
            Ok(cast(&moments, to)?)
        }
        (DataType::Time64(TimeUnit::Nanosecond), DataType::Time64(TimeUnit::Microsecond)) => {
            let nanos = values.as_primitive::<Time64NanosecondType>();
            let micros: PrimitiveArray<Time64MicrosecondType> = nanos.unary(|nanos| rounded(nanos, 1_000) % DAY_MICROS);
            Ok(Arc::new(micros))
        }
        (DataType::Boolean, DataType::Decimal128(digits, scale)) => truths(values.as_boolean(), *digits, *scale, is_try),
        (DataType::Decimal128(..), DataType::Boolean) => {
            Ok(Arc::new(BooleanArray::from_unary(values.as_primitive::<Decimal128Type>(), |value| value != 0)))
        }
        (DataType::Decimal128(digits, scale), to) => {
            let written = |value: i128| Decimal128Type::format_decimal(value, *digits, *scale);
            integers(
                values.as_primitive::<Decimal128Type>(),
                to,
                is_try,
                |value| i64::try_from(divided(value, u32::from(scale.unsigned_abs()))).ok(),
                written,
            )
        }
        (DataType::List(_), DataType::List(element)) => {
            let list = values.as_list::<i32>();
            let (offsets, part) = used(list.offsets());
            let given = list.values().slice(part.start, part.len());
            let elements = cast_within(&given, element.data_type(), is_try)?;
            let nulls = without_failed(list.nulls(), &given, &elements, ranges(&offsets));
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, elements, nulls)?))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let given = values.as_struct();
            let row = cast_row(given, fields, is_try)?;
            let nulls = given.columns().iter().zip(row.columns()).fold(row.nulls().cloned(), |nulls, (given, column)| {
                without_failed(nulls.as_ref(), given, column, (0..row.len()).map(|at| at..at + 1))
            });
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), row.columns().to_vec(), nulls, row.len())?))
        }
        (DataType::Map(..), DataType::Map(entries, sorted)) => {
            let DataType::Struct(pair) = entries.data_type() else { return exec_err!("a map has no keys") };
            let map = values.as_map();
            let (offsets, part) = used(map.offsets());
            let given = map.entries().slice(part.start, part.len());
            let columns = cast_columns(&given, pair, is_try)?;
            let mut nulls = given
                .columns()
                .iter()
                .zip(&columns)
                .fold(map.nulls().cloned(), |nulls, (given, column)| without_failed(nulls.as_ref(), given, column, ranges(&offsets)));
            if may_meet(given.fields(), pair) {
                nulls = map_keys::without_twins(&columns[0], &offsets, nulls, is_try)?;
            }
            let (offsets, columns) = match columns[0].null_count() {
                0 => (offsets, columns),
                _ => map_keys::of_valid(&offsets, nulls.as_ref(), &columns)?,
            };
            let pairs = StructArray::try_new(pair.clone(), columns, None)?;
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?))
        }
        (from, to) => exec_err!("{NAME} does not cast {from} to {to}"),
    }
}

/// The part of the values that is of a list's rows, which may be some of many, and where these lie in it.
fn used(offsets: &OffsetBuffer<i32>) -> (OffsetBuffer<i32>, Range<usize>) {
    let part = offsets.first().map_or(0, |first| *first as usize)..offsets.last().map_or(0, |last| *last as usize);
    (OffsetBuffer::from_lengths(offsets.lengths()), part)
}

/// Where the values of each row lie.
pub(super) fn ranges(offsets: &OffsetBuffer<i32>) -> impl Iterator<Item = Range<usize>> {
    offsets.windows(2).map(|ends| ends[0] as usize..ends[1] as usize)
}

/// The nulls of rows without those that hold a value which the cast made NULL: it has failed for the whole row, as in Trino.
fn without_failed(nulls: Option<&NullBuffer>, given: &ArrayRef, cast: &ArrayRef, rows: impl Iterator<Item = Range<usize>>) -> Option<NullBuffer> {
    let (given, cast) = (nulls_of(given), cast.logical_nulls());
    let is_failed = |at: usize| {
        let is_null = |nulls: &Option<NullBuffer>| nulls.as_ref().is_some_and(|nulls| nulls.is_null(at));
        is_null(&cast) && !is_null(&given)
    };
    if !(0..cast.as_ref().map_or(0, NullBuffer::len)).any(is_failed) {
        return nulls.cloned();
    }
    Some(rows.enumerate().map(|(row, mut part)| nulls.is_none_or(|nulls| nulls.is_valid(row)) && !part.any(is_failed)).collect())
}

/// Where values are NULL; the null of JSON is one that has not failed.
fn nulls_of(values: &ArrayRef) -> Option<NullBuffer> {
    let nulls = values.logical_nulls();
    match values.as_string_opt::<i64>() {
        Some(texts) => NullBuffer::union(nulls.as_ref(), Some(&texts.iter().map(|text| text != Some("null")).collect())),
        None => nulls,
    }
}

fn cast_row(row: &StructArray, fields: &Fields, is_try: bool) -> Result<StructArray> {
    Ok(StructArray::try_new_with_length(fields.clone(), cast_columns(row, fields, is_try)?, row.nulls().cloned(), row.len())?)
}

fn cast_columns(row: &StructArray, fields: &Fields, is_try: bool) -> Result<Vec<ArrayRef>> {
    row.columns().iter().zip(fields).map(|(column, field)| cast_within(column, field.data_type(), is_try)).collect()
}

/// The same for what may need no cast of ours.
fn cast_within(values: &ArrayRef, to: &DataType, is_try: bool) -> Result<ArrayRef> {
    if is_needed(values.data_type(), to) || changes_json(values.data_type(), to) {
        return cast_numbers(values, to, is_try);
    }
    let options = CastOptions { safe: is_try, ..DEFAULT_CAST_OPTIONS };
    ColumnarValue::Array(Arc::clone(values)).cast_to(to, Some(&options))?.into_array(values.len())
}

fn integers<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    to: &DataType,
    is_try: bool,
    whole: impl Fn(T::Native) -> Option<i64>,
    written: impl Fn(T::Native) -> String,
) -> Result<ArrayRef> {
    let (least, most) = match to {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    let whole = |value| whole(value).filter(|whole| (least..=most).contains(whole));
    let numbers: Int64Array = match is_try {
        true => values.unary_opt(whole),
        false => values.try_unary(|value| whole(value).ok_or_else(|| out_of_range(&written(value), &T::DATA_TYPE, to)))?,
    };
    Ok(cast(&numbers, to)?)
}

fn decimals<T>(values: &PrimitiveArray<T>, digits: u8, scale: i8, is_try: bool) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Display + LowerExp,
{
    let to = DataType::Decimal128(digits, scale);
    let unscaled = |value: T::Native| unscaled(&format!("{value:e}"), digits, scale);
    let numbers: PrimitiveArray<Decimal128Type> = match is_try {
        true => values.unary_opt(unscaled),
        false => values.try_unary(|value| unscaled(value).ok_or_else(|| out_of_range(&value.to_string(), &T::DATA_TYPE, &to)))?,
    };
    Ok(Arc::new(numbers.with_precision_and_scale(digits, scale)?))
}

/// Truth values as the numbers 1 and 0.
fn truths(values: &BooleanArray, digits: u8, scale: i8, is_try: bool) -> Result<ArrayRef> {
    let one = unscaled("1e0", digits, scale);
    let number = |value: bool| match (value, one) {
        (false, _) => Ok(Some(0)),
        (true, None) if !is_try => Err(out_of_range("true", &DataType::Boolean, &DataType::Decimal128(digits, scale))),
        (true, one) => Ok(one),
    };
    let numbers = values.iter().map(|value| value.map_or(Ok(None), number)).collect::<Result<PrimitiveArray<Decimal128Type>>>()?;
    Ok(Arc::new(numbers.with_precision_and_scale(digits, scale)?))
}

/// Halves go away from zero. `None` for what no `bigint` holds.
fn whole_number(value: f64) -> Option<i64> {
    // The least number that is too large; its negative is none too small.
    const END: f64 = 9_223_372_036_854_775_808.0;
    let rounded = value.round();
    (-END..END).contains(&rounded).then_some(rounded as i64)
}

/// How many of a unit are a second.
fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A count of a finer unit as one of a coarser one that is `factor` of it, halves to the later one.
fn rounded(count: i64, factor: i64) -> i64 {
    count.div_euclid(factor) + i64::from(2 * count.rem_euclid(factor) >= factor)
}

/// A number divided by a power of ten, halves away from zero.
fn divided(number: i128, exponent: u32) -> i128 {
    let Some(divisor) = 10_i128.checked_pow(exponent) else { return 0 };
    let (quotient, rest) = (number / divisor, (number % divisor).abs());
    // Twice the rest might be too large.
    if rest >= divisor - rest { quotient + number.signum() } else { quotient }
}

/// What a decimal counts for a number in scientific notation (`-1.25e-3`); `None` if it has too many digits, or is no number.
pub(super) fn unscaled(text: &str, digits: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = text.split_once('e')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let number: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent.parse::<i32>().ok()? - i32::try_from(fraction.len()).ok()? + i32::from(scale);
    let shifted = match u32::try_from(shift) {
        Ok(_) if number == 0 => 0,
        Ok(shift) => number.checked_mul(10_i128.checked_pow(shift)?)?,
        Err(_) => divided(number, shift.unsigned_abs()),
    };
    (shifted.unsigned_abs() < 10_u128.checked_pow(digits.into())?).then_some(shifted)
}

/// The error, which has Trino's codes: there, decimals and what no `bigint` is are wrong arguments.
fn out_of_range(value: &str, from: &DataType, to: &DataType) -> datafusion::error::DataFusionError {
    let is_wrong = value.eq_ignore_ascii_case("nan") || from.is_decimal() || to.is_decimal() || *to == DataType::Int64;
    let code = if is_wrong { Code::InvalidCastArgument } else { Code::NumericValueOutOfRange };
    into_datafusion(Error::new(code, format!("cannot cast {value} to {}", type_name(to))))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NumberCast {
    signature: Signature,
}

impl ScalarUDFImpl for NumberCast {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [_, to, _] => Ok(to.clone()),
            _ => exec_err!("{NAME} takes a value, a type, and whether NULL is given for what cannot be cast"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, _, ColumnarValue::Scalar(ScalarValue::Boolean(Some(is_try)))] = arguments.args.as_slice() else {
            return exec_err!("{NAME} takes a value, a type, and whether NULL is given for what cannot be cast");
        };
        cast_value(value, arguments.return_field.data_type(), *is_try)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Float64Array, LargeStringArray};
    use arrow::datatypes::{Field, Int16Type};

    use super::*;
    use crate::error::from_datafusion;

    fn doubles(values: &[f64], to: &DataType, is_try: bool) -> nunatak_core::Result<ArrayRef> {
        cast_numbers(&(Arc::new(Float64Array::from(values.to_vec())) as ArrayRef), to, is_try).map_err(from_datafusion)
    }

    #[test]
    fn halves_go_away_from_zero() {
        let rounded = doubles(&[1.5, -1.5, 0.49999999999999994, -0.4, 9.99, 32_767.4], &DataType::Int16, false).unwrap();
        assert_eq!(rounded.as_primitive::<Int16Type>().values(), &[2, -2, 0, 0, 10, 32_767]);
        let decimals = Decimal128Array::from(vec![Some(199), Some(-150), Some(149), None]).with_precision_and_scale(5, 2).unwrap();
        let rounded = cast_numbers(&(Arc::new(decimals) as ArrayRef), &DataType::Int64, false).unwrap();
        assert_eq!(rounded.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(2), Some(-2), Some(1), None]);
        let widest = Decimal128Array::from(vec![99_999_999_999_999_999_999_999_999_999_999_999_999]).with_precision_and_scale(38, 38).unwrap();
        assert_eq!(cast_numbers(&(Arc::new(widest) as ArrayRef), &DataType::Int64, false).unwrap().as_primitive::<Int64Type>().value(0), 1);
    }

    #[test]
    fn what_does_not_fit_is_refused_or_null() {
        let error = doubles(&[1.0, 32_767.5], &DataType::Int16, false).unwrap_err();
        assert_eq!(error.to_string(), "NUMERIC_VALUE_OUT_OF_RANGE: cannot cast 32767.5 to smallint");
        assert_eq!(doubles(&[f64::NAN], &DataType::Int64, false).unwrap_err().code(), Code::InvalidCastArgument);
        let tried = doubles(&[9_223_372_036_854_775_808.0, -9_223_372_036_854_775_808.0, f64::NAN], &DataType::Int64, true).unwrap();
        assert_eq!(tried.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [None, Some(i64::MIN), None]);
        assert!(doubles(&[9e27], &DataType::Decimal128(38, 10), false).is_ok() && doubles(&[1e28], &DataType::Decimal128(38, 10), false).is_err());
    }

    #[test]
    fn moments_are_rounded_to_the_nearest() {
        assert_eq!([-1_500, -1_501, -1, 0, 499, 500, 1_500].map(|count| rounded(count, 1_000)), [-1, -2, 0, 0, 0, 1, 2]);
        assert!(rounded(i64::MIN, 1_000) < 0 && rounded(i64::MAX, 1_000) > 0);
        let of = |unit| DataType::Timestamp(unit, None);
        assert!(is_needed(&of(TimeUnit::Nanosecond), &of(TimeUnit::Microsecond)) && !is_needed(&of(TimeUnit::Second), &of(TimeUnit::Second)));
    }

    #[test]
    fn truth_values_are_decimals_and_back() {
        let truths: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]));
        let to = DataType::Decimal128(3, 1);
        assert!(is_needed(&DataType::Boolean, &to) && is_needed(&to, &DataType::Boolean));
        let decimals = cast_numbers(&truths, &to, false).unwrap();
        assert_eq!(decimals.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), [Some(10), Some(0), None]);
        assert_eq!(cast_numbers(&decimals, &DataType::Boolean, false).unwrap().as_boolean(), truths.as_boolean());
        assert!(cast_numbers(&truths, &DataType::Decimal128(2, 2), false).is_err());
        assert!(cast_numbers(&truths, &DataType::Decimal128(2, 2), true).unwrap().is_null(0));
    }

    #[test]
    fn times_of_day_are_rounded_to_the_nearest() {
        let last = 86_400_000_000_000 - 1;
        let to = DataType::Time64(TimeUnit::Microsecond);
        for from in [DataType::Time64(TimeUnit::Nanosecond), DataType::Timestamp(TimeUnit::Nanosecond, None)] {
            let times = cast(&Int64Array::from(vec![Some(1_499), Some(1_500), Some(last), None]), &from).unwrap();
            assert!(is_needed(&from, &to));
            let rounded = cast_numbers(&times, &to, false).unwrap();
            assert_eq!(rounded.as_primitive::<Time64MicrosecondType>().iter().collect::<Vec<_>>(), [Some(1), Some(2), Some(0), None]);
        }
    }

    #[test]
    fn json_within_is_cast_value_by_value() {
        let fields = |types: [DataType; 2]| Fields::from(types.map(|data_type| Field::new("x", data_type, true)).to_vec());
        let texts = |values: Vec<Option<&str>>| Arc::new(LargeStringArray::from(values)) as ArrayRef;
        let columns = vec![texts(vec![Some("2"), Some("null"), Some("\"x\"")]), texts(vec![Some("[1]"), None, Some("[2]")])];
        let rows: ArrayRef = Arc::new(StructArray::new(fields([JSON, JSON]), columns, None));
        let to = DataType::Struct(fields([DataType::Int64, DataType::new_list(DataType::Int64, true)]));
        assert_eq!(from_datafusion(cast_numbers(&rows, &to, false).unwrap_err()).code(), Code::InvalidCastArgument);
        let tried = cast_numbers(&rows, &to, true).unwrap();
        assert_eq!((0..3).map(|row| tried.is_valid(row)).collect::<Vec<_>>(), [true, true, false]);
        let numbers = tried.as_struct().column(0).as_primitive::<Int64Type>();
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(2), None, None]);
        assert_eq!(tried.as_struct().column(1).as_list::<i32>().value(0).as_primitive::<Int64Type>().values(), &[1]);
        let numbers: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(7), None])]));
        let json = cast_numbers(&numbers, &DataType::new_list(JSON, true), false).unwrap();
        assert_eq!(json.as_list::<i32>().value(0).as_string::<i64>().iter().collect::<Vec<_>>(), [Some("7"), None]);
    }

    #[test]
    fn moments_within_have_their_texts() {
        let moments = cast(&Int64Array::from(vec![10_000]), &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap();
        let lists: ArrayRef = Arc::new(ListArray::new(
            Arc::new(Field::new_list_field(moments.data_type().clone(), true)),
            OffsetBuffer::from_lengths([1]),
            moments,
            None,
        ));
        let to = DataType::new_list(DataType::Utf8, true);
        assert!(is_needed(lists.data_type(), &to));
        let texts = cast_numbers(&lists, &to, false).unwrap();
        assert_eq!(texts.as_list::<i32>().value(0).as_string::<i32>().value(0), "1970-01-01 00:00:00.010000");
    }

    #[test]
    fn casts_to_fewer_numbers_are_ours() {
        use DataType::{Int8, Int16, Int32, Int64};
        let decimal = DataType::Decimal128;
        for (from, to) in [
            (Int64, Int32),
            (Int16, Int8),
            (Int32, decimal(9, 0)),
            (Int64, decimal(20, 2)),
            (decimal(18, 4), decimal(18, 3)),
            (decimal(18, 4), decimal(17, 4)),
            (decimal(10, 0), Int32),
        ] {
            assert!(narrows(&from, &to) && is_needed(&from, &to), "{from} {to}");
        }
        for (from, to) in [
            (Int32, Int64),
            (Int32, Int32),
            (Int32, decimal(12, 2)),
            (Int64, decimal(19, 0)),
            (decimal(18, 4), decimal(20, 5)),
            (decimal(9, 0), Int32),
            (decimal(18, 0), Int64),
            (Int64, DataType::Float64),
        ] {
            assert!(!is_needed(&from, &to), "{from} {to}");
        }
        let decimals: ArrayRef = Arc::new(Decimal128Array::from(vec![14_999, -14_500, 995_000]).with_precision_and_scale(18, 4).unwrap());
        let tried = cast_numbers(&decimals, &decimal(2, 1), true).unwrap();
        assert_eq!(tried.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), [Some(15), Some(-15), None]);
        assert_eq!(from_datafusion(cast_numbers(&decimals, &decimal(2, 1), false).unwrap_err()).code(), Code::InvalidCastArgument);
    }

    #[test]
    fn numbers_within_are_rounded() {
        let lists =
            ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(1e300)]), Some(vec![Some(1.5), None]), None, Some(vec![Some(-0.5)])]);
        // The first row is none of those that are cast.
        let lists: ArrayRef = Arc::new(lists.slice(1, 3));
        let to = DataType::new_list(DataType::Int64, true);
        assert!(is_needed(lists.data_type(), &to));
        let cast = cast_numbers(&lists, &to, false).unwrap();
        let expected = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(2), None]), None, Some(vec![Some(-1)])]);
        assert_eq!(cast.as_list::<i32>(), &expected);
    }

    #[test]
    fn what_does_not_fit_within_makes_the_whole_null() {
        let lists =
            ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(1.0)]), None, Some(vec![Some(1.0), Some(1e300)]), Some(vec![None])]);
        let lists: ArrayRef = Arc::new(lists.slice(1, 3));
        let tried = cast_numbers(&lists, &DataType::new_list(DataType::Int64, true), true).unwrap();
        assert_eq!((0..3).map(|row| tried.is_valid(row)).collect::<Vec<_>>(), [false, false, true]);
        let fields = |data_type| Fields::from(vec![Field::new("x", data_type, true)]);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![Some(1e300), Some(1.4), None]));
        let rows: ArrayRef = Arc::new(StructArray::new(fields(DataType::Float64), vec![column], None));
        let tried = cast_numbers(&rows, &DataType::Struct(fields(DataType::Int64)), true).unwrap();
        assert_eq!((0..3).map(|row| tried.is_valid(row)).collect::<Vec<_>>(), [false, true, true]);
    }

    #[test]
    fn decimals_have_the_digits_that_are_written() {
        let to = DataType::Decimal128(38, 10);
        let written = doubles(&[1e27, 0.1, 123_456.789, 1e-300, 0.0], &to, false).unwrap();
        let numbers = written.as_primitive::<Decimal128Type>();
        assert_eq!(numbers.values(), &[10_i128.pow(37), 1_000_000_000, 1_234_567_890_000_000, 0, 0]);
        assert_eq!(unscaled("-1.25e0", 3, 1), Some(-13));
        assert_eq!(unscaled("9.99e1", 2, 0), None);
        assert_eq!(unscaled("5e-1", 1, 0), Some(1));
        assert_eq!((unscaled("NaN", 38, 0), unscaled("inf", 38, 0), unscaled("0e0", 1, 0)), (None, None, Some(0)));
    }
}
