//! `$whole_days(interval)`, which no statement can call: an interval with its hours as days where they are more than a day has, as Trino writes it. So one of 24 hours is one of
//! a day wherever intervals are compared field by field: in `GROUP BY`, `DISTINCT`, `ORDER BY`, joins, `min` and `max`.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use nunatak_core::{Code, Error};

use crate::error::into_datafusion;

const NAME: &str = "$whole_days";
/// The length of a day.
pub(super) const DAY_NANOS: i128 = 86_400_000_000_000;

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(WholeDays { signature: Signature::any(1, Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// The interval of so many months, and days and times in nanoseconds.
///
/// Errors: `NUMERIC_VALUE_OUT_OF_RANGE`.
pub fn interval(months: i128, nanos: i128) -> Result<IntervalMonthDayNano> {
    let (days, rest) = (nanos / DAY_NANOS, nanos % DAY_NANOS);
    match (i32::try_from(months), i32::try_from(days), i64::try_from(rest)) {
        (Ok(months), Ok(days), Ok(nanoseconds)) => Ok(IntervalMonthDayNano { months, days, nanoseconds }),
        _ => Err(into_datafusion(Error::new(Code::NumericValueOutOfRange, format!("an interval of {months} months and {days} days is too long")))),
    }
}

/// The days and times of an interval, in nanoseconds.
pub fn nanos(interval: IntervalMonthDayNano) -> i128 {
    i128::from(interval.days) * DAY_NANOS + i128::from(interval.nanoseconds)
}

/// The same interval in whole days and what is left.
///
/// Errors: `NUMERIC_VALUE_OUT_OF_RANGE`.
pub fn whole_days(value: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    interval(i128::from(value.months), nanos(value))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WholeDays {
    signature: Signature,
}

impl ScalarUDFImpl for WholeDays {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.as_slice() {
            [ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(value))] => {
                Ok(ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(value.map(whole_days).transpose()?)))
            }
            [ColumnarValue::Array(values)] if values.data_type() == &DataType::Interval(IntervalUnit::MonthDayNano) => {
                let values = values.as_primitive::<IntervalMonthDayNanoType>();
                let whole: PrimitiveArray<IntervalMonthDayNanoType> = values.try_unary(whole_days)?;
                Ok(ColumnarValue::Array(Arc::new(whole)))
            }
            _ => exec_err!("{NAME} takes one interval"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(days: i32, nanoseconds: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano { months: 0, days, nanoseconds }
    }

    #[test]
    fn hours_become_days() {
        let hour = 3_600_000_000_000;
        assert_eq!(whole_days(of(0, 25 * hour)).unwrap(), of(1, hour));
        assert_eq!(whole_days(of(1, -hour)).unwrap(), of(0, 23 * hour));
        assert_eq!(whole_days(of(0, -25 * hour)).unwrap(), of(-1, -hour));
        assert!(whole_days(of(i32::MAX, i64::MAX)).is_err());
    }

    #[test]
    fn fields_have_the_order_of_lengths() {
        let hour = 3_600_000_000_000;
        let ordered = [of(0, -25 * hour), of(-1, 0), of(0, -hour), of(0, 0), of(0, hour), of(1, -hour), of(0, 24 * hour), of(1, hour)];
        let fields: Vec<_> = ordered.into_iter().map(|value| whole_days(value).map(|whole| (whole.days, whole.nanoseconds)).unwrap()).collect();
        assert!(fields.is_sorted());
    }
}
