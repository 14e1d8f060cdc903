//! `$whole_millis(length)`, which no statement can call: the time between two timestamps or times of day in whole milliseconds, as Trino has it: halves go to the later one.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, DurationMicrosecondType, DurationNanosecondType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit,
};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::whole_days::{interval, nanos};

const NAME: &str = "$whole_millis";
const MILLI_MICROS: i64 = 1_000;
const MILLI_NANOS: i64 = 1_000_000;

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(WholeMillis { signature: Signature::any(1, Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// A length in whole milliseconds, of which `unit` are one. What is too long to be rounded up stays below.
fn rounded(length: i64, unit: i64) -> i64 {
    let rest = length.rem_euclid(unit);
    let below = length.saturating_sub(rest);
    if rest >= unit - rest { below.saturating_add(unit) } else { below }
}

/// An interval of days and parts of them, with its hours as days where they are more than a day has.
fn whole(value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let unit = i128::from(MILLI_NANOS);
    let millis = (nanos(value) + unit / 2).div_euclid(unit);
    interval(i128::from(value.months), millis * unit)
}

fn of_durations<T: ArrowPrimitiveType<Native = i64>>(values: &ArrayRef, unit: i64) -> ArrayRef {
    let whole: PrimitiveArray<T> = values.as_primitive::<T>().unary(|length| rounded(length, unit));
    Arc::new(whole)
}

fn round(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Duration(TimeUnit::Nanosecond) => of_durations::<DurationNanosecondType>(values, MILLI_NANOS),
        DataType::Duration(TimeUnit::Microsecond) => of_durations::<DurationMicrosecondType>(values, MILLI_MICROS),
        DataType::Duration(_) => Arc::clone(values),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let whole: PrimitiveArray<IntervalMonthDayNanoType> = values.as_primitive::<IntervalMonthDayNanoType>().try_unary(whole)?;
            Arc::new(whole)
        }
        other => return exec_err!("{NAME} does not take {other}"),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WholeMillis {
    signature: Signature,
}

impl ScalarUDFImpl for WholeMillis {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [length] => Ok(length.clone()),
            _ => exec_err!("{NAME} takes one length"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.as_slice() {
            [ColumnarValue::Array(values)] => round(values).map(ColumnarValue::Array),
            [ColumnarValue::Scalar(value)] => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&round(&value.to_array()?)?, 0)?)),
            _ => exec_err!("{NAME} takes one length"),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::DurationMicrosecondArray;

    use super::*;

    #[test]
    fn halves_go_to_the_later_one() {
        assert_eq!([-1_501, -1_500, -1, 0, 499, 500, 1_888_800].map(|length| rounded(length, 1_000)), [-2_000, -1_000, 0, 0, 0, 1_000, 1_889_000]);
        assert!(rounded(i64::MAX, 1_000) > 0 && rounded(i64::MIN, 1_000) < 0);
        let of = |nanoseconds| whole(IntervalMonthDayNano { months: 0, days: 0, nanoseconds }).unwrap();
        assert_eq!(of(1_888_800_000), of(1_889_000_000));
        assert_eq!(of(-1_888_800_000), IntervalMonthDayNano { months: 0, days: 0, nanoseconds: -1_889_000_000 });
        assert_eq!(of(86_399_999_999_999), IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 0 });
    }

    #[test]
    fn null_stays() {
        let rounded = round(&(Arc::new(DurationMicrosecondArray::from(vec![Some(1_500), None])) as ArrayRef)).unwrap();
        assert_eq!(rounded.as_primitive::<DurationMicrosecondType>().iter().collect::<Vec<_>>(), [Some(2_000), None]);
    }
}
