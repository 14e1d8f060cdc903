//! `date_bin(stride, value [, origin])` for all moments that columns have, in microseconds, and of dates. DataFusion's goes by nanoseconds, which reach from 1677 to 2262 only,
//! and gives NULL for what is outside; times of day are left to it.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, new_null_array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use chrono::{DateTime, Datelike, Months, Utc};
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime::date_bin::DateBinFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use nunatak_core::{Code, Error};

use super::whole_days::nanos;
use crate::error::into_datafusion;

const NAME: &str = "date_bin";
const SECOND_NANOS: i128 = 1_000_000_000;
const MICRO_NANOS: i128 = 1_000;

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(DateBin { signature, theirs: DateBinFunc::new() }))
});

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
    /// Errors: `INVALID_FUNCTION_ARGUMENT` for what is no length, or has none that is always the same.
    fn parse(interval: IntervalMonthDayNano) -> Result<Self> {
        match (interval.months, nanos(interval)) {
            (0, nanos @ 1..) => Ok(Self::Nanos(nanos)),
            (months @ 1.., 0) => Ok(Self::Months(months)),
            (0, _) | (..=-1, 0) => Err(invalid("the stride must be longer than nothing")),
            _ => Err(invalid("the stride is of months or of days and times, not of both")),
        }
    }

    /// The start of the bin in which a moment lies, all in nanoseconds. `None` if it cannot be counted.
    fn start(self, moment: i128, origin: i128) -> Option<i128> {
        match self {
            Self::Nanos(stride) => Some(origin + (moment - origin).div_euclid(stride) * stride),
            Self::Months(stride) => {
                let (moment, origin) = (date_time(moment)?, date_time(origin)?);
                let months = (moment.year() - origin.year()) * 12 + i32::try_from(moment.month0()).ok()? - i32::try_from(origin.month0()).ok()?;
                let months = months.div_euclid(stride).checked_mul(stride)?;
                let start = shifted(origin, months)?;
                // The origin may lie later in its month than the moment.
                let start = if start > moment { shifted(origin, months.checked_sub(stride)?)? } else { start };
                Some(i128::from(start.timestamp()) * SECOND_NANOS + i128::from(start.timestamp_subsec_nanos()))
            }
        }
    }
}

fn date_time(nanos: i128) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(i64::try_from(nanos.div_euclid(SECOND_NANOS)).ok()?, u32::try_from(nanos.rem_euclid(SECOND_NANOS)).ok()?)
}

fn shifted(moment: DateTime<Utc>, months: i32) -> Option<DateTime<Utc>> {
    let length = Months::new(months.unsigned_abs());
    if months < 0 { moment.checked_sub_months(length) } else { moment.checked_add_months(length) }
}

fn invalid(why: &str) -> DataFusionError {
    into_datafusion(Error::new(Code::InvalidFunctionArgument, format!("{NAME}: {why}")))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    signature: Signature,
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
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType::{Date32, Date64, Duration, Interval, Null, Time32, Time64, Timestamp};
        let ([stride, value] | [stride, value, _]) = types else { return plan_err!("{NAME} takes a stride, a value and an origin") };
        let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        if !(matches!(stride, Interval(_) | Duration(_) | Null) || is_text(stride)) {
            return plan_err!("{NAME} takes an interval for its stride, not {stride}");
        }
        let binned = match value {
            Timestamp(TimeUnit::Nanosecond, _) | Time32(_) | Time64(_) => value.clone(),
            Timestamp(_, zone) => Timestamp(TimeUnit::Microsecond, zone.clone()),
            Date32 | Date64 | Null => Timestamp(TimeUnit::Microsecond, None),
            value if is_text(value) => Timestamp(TimeUnit::Microsecond, None),
            value => return plan_err!("{NAME} takes a date, a time or a timestamp, not {value}"),
        };
        let is_time = |data_type: &DataType| matches!(data_type, Time32(_) | Time64(_));
        if let [_, _, origin] = types {
            let fits = matches!(origin, Null) || is_text(origin) || is_time(origin) == is_time(&binned);
            if !fits || !(is_text(origin) || matches!(origin, Null | Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..))) {
                return plan_err!("{NAME} takes an origin like its value, not {origin}");
            }
        }
        let stride = Interval(IntervalUnit::MonthDayNano);
        Ok(std::iter::once(stride).chain(std::iter::repeat_n(binned, types.len() - 1)).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, value, ..] => Ok(value.clone()),
            _ => plan_err!("{NAME} takes a stride, a value and an origin"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let not_constant = |which: &str| into_datafusion(Error::not_supported(format!("{NAME}: the {which} must be a constant")));
        let (stride, value, origin) = match arguments.args.as_slice() {
            [stride, value] => (stride, value, None),
            [stride, value, origin] => (stride, value, Some(origin)),
            _ => return plan_err!("{NAME} takes a stride, a value and an origin"),
        };
        let ColumnarValue::Scalar(stride) = stride else { return Err(not_constant("stride")) };
        let stride = match stride {
            ScalarValue::IntervalMonthDayNano(stride) => stride.map(Stride::parse).transpose()?,
            other => return Err(exec_datafusion_err!("{NAME} does not take {}", other.data_type())),
        };
        if matches!(value.data_type(), DataType::Time32(_) | DataType::Time64(_)) {
            return self.theirs.invoke_with_args(arguments);
        }
        let origin = match origin {
            None => Some(0),
            Some(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(origin, _))) => origin.map(|micros| i128::from(micros) * MICRO_NANOS),
            Some(ColumnarValue::Scalar(ScalarValue::TimestampNanosecond(origin, _))) => origin.map(i128::from),
            Some(_) => return Err(not_constant("origin")),
        };
        let binned = |values: &ArrayRef| match stride.zip(origin) {
            Some((stride, origin)) => binned(values, stride, origin),
            None => Ok(new_null_array(values.data_type(), values.len())),
        };
        Ok(match value {
            ColumnarValue::Array(values) => ColumnarValue::Array(binned(values)?),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(ScalarValue::try_from_array(&binned(&value.to_array()?)?, 0)?),
        })
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.theirs.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.theirs.documentation()
    }
}

fn binned(values: &ArrayRef, stride: Stride, origin: i128) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => starts::<TimestampMicrosecondType>(values, stride, origin, MICRO_NANOS),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => starts::<TimestampNanosecondType>(values, stride, origin, 1),
        other => Err(exec_datafusion_err!("{NAME} does not take {other}")),
    }
}

/// The starts of the bins of values that count units of so many nanoseconds.
fn starts<T: ArrowPrimitiveType<Native = i64>>(values: &ArrayRef, stride: Stride, origin: i128, unit: i128) -> Result<ArrayRef> {
    let start = |value: i64| {
        let start = stride.start(i128::from(value) * unit, origin).and_then(|start| i64::try_from(start.div_euclid(unit)).ok());
        start.ok_or_else(|| into_datafusion(Error::new(Code::NumericValueOutOfRange, format!("{NAME} of a value that is out of range"))))
    };
    let starts: PrimitiveArray<T> = values.as_primitive::<T>().try_unary(start)?;
    Ok(Arc::new(starts.with_data_type(values.data_type().clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i128 {
        i128::from(text.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp_micros()) * MICRO_NANOS
    }

    fn interval(months: i32, days: i32, nanoseconds: i64) -> Option<Stride> {
        Stride::parse(IntervalMonthDayNano { months, days, nanoseconds }).ok()
    }

    #[test]
    fn bins_of_all_years() {
        let hours = interval(0, 0, 6 * 3_600_000_000_000).unwrap();
        assert_eq!(hours.start(micros("9999-12-31T23:59:59.999999"), 0), Some(micros("9999-12-31T18:00:00")));
        assert_eq!(hours.start(micros("0001-01-01T00:00:00.000001"), 0), Some(micros("0001-01-01T00:00:00")));
        assert_eq!(hours.start(micros("2024-01-01T00:00:00"), micros("9000-01-01T01:00:00")), Some(micros("2023-12-31T19:00:00")));
        let quarters = interval(3, 0, 0).unwrap();
        assert_eq!(quarters.start(micros("1500-05-17T00:00:00"), 0), Some(micros("1500-04-01T00:00:00")));
        let from_second = micros("2024-01-02T00:00:00");
        assert_eq!(quarters.start(micros("2024-04-01T12:00:00"), from_second), Some(micros("2024-01-02T00:00:00")));
        assert_eq!(quarters.start(micros("2023-12-31T12:00:00"), from_second), Some(micros("2023-10-02T00:00:00")));
    }

    #[test]
    fn strides_that_are_no_lengths() {
        assert_eq!((interval(0, 0, 0), interval(1, 1, 0), interval(0, -1, 0), interval(-1, 0, 0)), (None, None, None, None));
        assert!(interval(0, 1, -1).is_some());
    }
}
