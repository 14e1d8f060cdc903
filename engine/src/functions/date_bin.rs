//! `date_bin(stride, value [, origin])` for all moments that columns have. DataFusion's goes by nanoseconds, and gives NULL outside of the years 1677 to 2262; values
//! of other types than timestamps of microseconds are left to it.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, IntervalDayTime, IntervalMonthDayNano, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike, Months, Utc};
use datafusion::common::{ScalarValue, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::functions::datetime::date_bin::DateBinFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

const NAME: &str = "date_bin";
const DAY_NANOS: i128 = 86_400_000_000_000;
const MILLI_NANOS: i128 = 1_000_000;
const MICRO_NANOS: i128 = 1_000;

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(DateBin { theirs: DateBinFunc::new() })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// How long a bin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stride {
    Nanos(i128),
    Months(i32),
}

impl Stride {
    /// `None` for what DataFusion refuses, or takes for something else.
    fn parse(interval: &ScalarValue) -> Option<Self> {
        match interval {
            ScalarValue::IntervalDayTime(Some(IntervalDayTime { days, milliseconds })) => {
                let nanos = i128::from(*days) * DAY_NANOS + i128::from(*milliseconds) * MILLI_NANOS;
                (nanos > 0).then_some(Self::Nanos(nanos))
            }
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds })) => {
                let nanos = i128::from(*days) * DAY_NANOS + i128::from(*nanoseconds);
                match (*months, nanos) {
                    (0, nanos @ 1..) => Some(Self::Nanos(nanos)),
                    (months @ 1.., 0) if *days == 0 => Some(Self::Months(months)),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The start of the bin in which a moment lies, in microseconds; `origin` is in nanoseconds. `None` if it cannot be counted.
    fn start(self, micros: i64, origin: i64) -> Option<i64> {
        let origin_nanos = i128::from(origin);
        let start = match self {
            Self::Nanos(stride) => origin_nanos + (i128::from(micros) * MICRO_NANOS - origin_nanos).div_euclid(stride) * stride,
            Self::Months(stride) => {
                let (moment, origin) = (DateTime::from_timestamp_micros(micros)?, DateTime::from_timestamp_nanos(origin));
                let months = (moment.year() - origin.year()) * 12 + i32::try_from(moment.month0()).ok()? - i32::try_from(origin.month0()).ok()?;
                let months = months.div_euclid(stride) * stride;
                let start = shifted(origin, months)?;
                // The origin may lie later in its month than the moment.
                let start = if start > moment { shifted(origin, months - stride)? } else { start };
                i128::from(start.timestamp_micros()) * MICRO_NANOS
            }
        };
        i64::try_from(start.div_euclid(MICRO_NANOS)).ok()
    }
}

fn shifted(moment: DateTime<Utc>, months: i32) -> Option<DateTime<Utc>> {
    let length = Months::new(months.unsigned_abs());
    if months < 0 { moment.checked_sub_months(length) } else { moment.checked_add_months(length) }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    theirs: DateBinFunc,
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        NAME
    }

    fn aliases(&self) -> &[String] {
        self.theirs.aliases()
    }

    fn signature(&self) -> &Signature {
        self.theirs.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.theirs.return_type(types)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (stride, values, origin) = match arguments.args.as_slice() {
            [ColumnarValue::Scalar(stride), values] => (Stride::parse(stride), values, Some(0)),
            [ColumnarValue::Scalar(stride), values, ColumnarValue::Scalar(ScalarValue::TimestampNanosecond(origin, _))] => {
                (Stride::parse(stride), values, *origin)
            }
            _ => return self.theirs.invoke_with_args(arguments),
        };
        let is_ours = matches!(values.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _));
        let (Some(stride), Some(origin), true) = (stride, origin, is_ours) else { return self.theirs.invoke_with_args(arguments) };
        Ok(match values {
            ColumnarValue::Array(values) => ColumnarValue::Array(binned(values, stride, origin)?),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(ScalarValue::try_from_array(&binned(&value.to_array()?, stride, origin)?, 0)?),
        })
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.theirs.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.theirs.documentation()
    }
}

fn binned(values: &ArrayRef, stride: Stride, origin: i64) -> Result<ArrayRef> {
    let out_of_range = || exec_datafusion_err!("{NAME} of a value that is out of range");
    let values = values.as_primitive::<TimestampMicrosecondType>();
    let starts: PrimitiveArray<TimestampMicrosecondType> = values.try_unary(|micros| stride.start(micros, origin).ok_or_else(out_of_range))?;
    Ok(Arc::new(starts.with_data_type(values.data_type().clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        text.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp_micros()
    }

    fn interval(months: i32, days: i32, nanoseconds: i64) -> Option<Stride> {
        Stride::parse(&ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds })))
    }

    #[test]
    fn bins_of_all_years() {
        let hours = interval(0, 0, 6 * 3_600_000_000_000).unwrap();
        assert_eq!(hours.start(micros("9999-12-31T23:59:59.999999"), 0), Some(micros("9999-12-31T18:00:00")));
        assert_eq!(hours.start(micros("0001-01-01T00:00:00.000001"), 0), Some(micros("0001-01-01T00:00:00")));
        let quarters = interval(3, 0, 0).unwrap();
        assert_eq!(quarters.start(micros("1500-05-17T00:00:00"), 0), Some(micros("1500-04-01T00:00:00")));
        let from_second = micros("2024-01-02T00:00:00") * 1_000;
        assert_eq!(quarters.start(micros("2024-04-01T12:00:00"), from_second), Some(micros("2024-01-02T00:00:00")));
        assert_eq!(quarters.start(micros("2023-12-31T12:00:00"), from_second), Some(micros("2023-10-02T00:00:00")));
    }

    #[test]
    fn strides_that_are_no_lengths() {
        assert_eq!((interval(0, 0, 0), interval(1, 1, 0), interval(0, -1, 0)), (None, None, None));
        assert_eq!(Stride::parse(&ScalarValue::IntervalMonthDayNano(None)), None);
    }
}
