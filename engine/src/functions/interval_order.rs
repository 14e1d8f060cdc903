//! `$interval_order(left, right)`, which no statement can call: -1, 0 or 1 as one interval is shorter than another, as long, or longer. Arrow compares months, days and
//! nanoseconds one after the other, for which 25 hours are less than a day.
//!
//! As in Trino a day has 24 hours, and intervals of months are not compared with those of days: a month has no length.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use nunatak_core::{Code, Error};

use crate::error::into_datafusion;

const NAME: &str = "$interval_order";

const NANOS_OF_MILLISECOND: i128 = 1_000_000;
const NANOS_OF_DAY: i128 = 86_400_000 * NANOS_OF_MILLISECOND;

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(IntervalOrder { signature: Signature::any(2, Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// The call of the function for two intervals, durations or NULLs.
pub fn call(left: Expr, right: Expr) -> Expr {
    function().call(vec![left, right])
}

/// How long an interval is.
#[derive(Clone, Copy)]
struct Length {
    months: i32,
    /// Days and times, in nanoseconds.
    nanos: i128,
}

impl Length {
    fn order(self, other: Self) -> Result<i64> {
        let order = if self.months == 0 && other.months == 0 {
            self.nanos.cmp(&other.nanos)
        } else if self.nanos == 0 && other.nanos == 0 {
            self.months.cmp(&other.months)
        } else {
            let error = Error::new(Code::NotSupported, "intervals of months are not compared with those of days: a month has no fixed length");
            return Err(into_datafusion(error.with_hint("compare the times that they are added to")));
        };
        Ok(i64::from(order as i8))
    }
}

fn lengths(values: &ArrayRef) -> Result<Vec<Option<Length>>> {
    let short = |nanos: i128| Length { months: 0, nanos };
    Ok(match values.data_type() {
        DataType::Null => vec![None; values.len()],
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let length = |months, days: i32, nanos: i64| Length { months, nanos: i128::from(days) * NANOS_OF_DAY + i128::from(nanos) };
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>().iter();
            intervals.map(|interval| interval.map(|interval| length(interval.months, interval.days, interval.nanoseconds))).collect()
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let nanos = |days: i32, millis: i32| i128::from(days) * NANOS_OF_DAY + i128::from(millis) * NANOS_OF_MILLISECOND;
            let intervals = values.as_primitive::<IntervalDayTimeType>().iter();
            intervals.map(|interval| interval.map(|interval| short(nanos(interval.days, interval.milliseconds)))).collect()
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let intervals = values.as_primitive::<IntervalYearMonthType>().iter();
            intervals.map(|months| months.map(|months| Length { months, nanos: 0 })).collect()
        }
        DataType::Duration(unit) => {
            let nanos: i128 = match unit {
                TimeUnit::Second => 1_000_000_000,
                TimeUnit::Millisecond => NANOS_OF_MILLISECOND,
                TimeUnit::Microsecond => 1_000,
                TimeUnit::Nanosecond => 1,
            };
            let counts = cast(values, &DataType::Int64)?;
            counts.as_primitive::<Int64Type>().iter().map(|count| count.map(|count| short(i128::from(count) * nanos))).collect()
        }
        other => return exec_err!("{NAME} does not compare {other}"),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalOrder {
    signature: Signature,
}

impl ScalarUDFImpl for IntervalOrder {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [left, right] = arrays.as_slice() else { return exec_err!("{NAME} takes two intervals") };
        let pairs = lengths(left)?.into_iter().zip(lengths(right)?);
        let orders = pairs.map(|(left, right)| match (left, right) {
            (Some(left), Some(right)) => left.order(right).map(Some),
            _ => Ok(None),
        });
        let orders: ArrayRef = Arc::new(orders.collect::<Result<Int64Array>>()?);
        match arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_))) {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&orders, 0)?)),
            false => Ok(ColumnarValue::Array(orders)),
        }
    }
}
