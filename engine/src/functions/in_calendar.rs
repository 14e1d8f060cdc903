//! `$in_calendar(value)`, which no statement can call: a date or a timestamp that was computed, if it lies in the years 1 to 9999. Others cannot be written as SQL writes
//! them, and other engines cannot read them.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::{max, min};
use arrow::datatypes::{
    ArrowNumericType, DataType, Date32Type, FieldRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampSecondType,
};
use chrono::{DateTime, NaiveDate};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use nunatak_core::{Code, Error};

use crate::error::into_datafusion;

const NAME: &str = "$in_calendar";

/// The first day of the year 1, in days since the epoch.
const FIRST_DAY: i64 = -719_162;
/// The last day of the year 9999.
const LAST_DAY: i64 = 2_932_896;
const DAY_SECONDS: i64 = 86_400;

static FUNCTION: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(InCalendar { signature: Signature::any(1, Volatility::Immutable) })));

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// That dates and timestamps lie in the years 1 to 9999. Timestamps of nanoseconds always do.
///
/// Errors: `NUMERIC_VALUE_OUT_OF_RANGE`.
pub fn check(values: &ArrayRef) -> Result<()> {
    match values.data_type() {
        DataType::Date32 => check_days(values.as_primitive::<Date32Type>()),
        DataType::Timestamp(TimeUnit::Second, _) => check_moments(values.as_primitive::<TimestampSecondType>(), 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => check_moments(values.as_primitive::<TimestampMillisecondType>(), 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => check_moments(values.as_primitive::<TimestampMicrosecondType>(), 1_000_000),
        _ => Ok(()),
    }
}

fn check_days(values: &PrimitiveArray<Date32Type>) -> Result<()> {
    match [min(values), max(values)].into_iter().flatten().find(|day| !(FIRST_DAY..=LAST_DAY).contains(&i64::from(*day))) {
        Some(day) => Err(out_of_range("date", day.checked_add(719_163).and_then(NaiveDate::from_num_days_from_ce_opt).map(|date| date.to_string()))),
        None => Ok(()),
    }
}

fn check_moments<T: ArrowNumericType<Native = i64>>(values: &PrimitiveArray<T>, per_second: i64) -> Result<()> {
    let within = FIRST_DAY * DAY_SECONDS * per_second..(LAST_DAY + 1) * DAY_SECONDS * per_second;
    match [min(values), max(values)].into_iter().flatten().find(|moment| !within.contains(moment)) {
        Some(moment) => {
            Err(out_of_range("timestamp", DateTime::from_timestamp(moment.div_euclid(per_second), 0).map(|moment| moment.naive_utc().to_string())))
        }
        None => Ok(()),
    }
}

fn out_of_range(kind: &str, value: Option<String>) -> datafusion::error::DataFusionError {
    let message = match value {
        Some(value) => format!("{kind} {value} is out of range"),
        None => format!("a {kind} is out of range"),
    };
    let error = Error::new(Code::NumericValueOutOfRange, message);
    into_datafusion(error.with_hint("dates and timestamps reach from year 1 to year 9999"))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct InCalendar {
    signature: Signature,
}

impl ScalarUDFImpl for InCalendar {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value] => Ok(value.clone()),
            _ => exec_err!("{NAME} takes one value"),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        match arguments.arg_fields {
            [field] => Ok(Arc::clone(field)),
            _ => exec_err!("{NAME} takes one value"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Ok([value]) = <[ColumnarValue; 1]>::try_from(arguments.args) else { return exec_err!("{NAME} takes one value") };
        match &value {
            ColumnarValue::Array(values) => check(values)?,
            ColumnarValue::Scalar(value) => check(&value.to_array()?)?,
        }
        Ok(value)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(inputs.first().map_or(SortProperties::Unordered, |input| input.sort_properties))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, TimestampMicrosecondArray};

    use super::*;
    use crate::error::from_datafusion;

    fn refused(values: ArrayRef) -> Option<String> {
        check(&values).err().map(|error| from_datafusion(error).message().to_owned())
    }

    #[test]
    fn years_reach_from_1_to_9999() {
        let moments = |micros: i64| refused(Arc::new(TimestampMicrosecondArray::from(vec![None, Some(0), Some(micros)])));
        assert_eq!((moments(253_402_300_799_999_999), moments(-62_135_596_800_000_000)), (None, None));
        assert_eq!(moments(253_402_300_800_000_000).as_deref(), Some("timestamp +10000-01-01 00:00:00 is out of range"));
        assert!(moments(-62_135_596_800_000_001).is_some() && moments(i64::MIN).is_some());
        let days = |day: i32| refused(Arc::new(Date32Array::from(vec![Some(day), None])));
        assert_eq!((days(2_932_896), days(-719_162)), (None, None));
        assert_eq!(days(2_932_897).as_deref(), Some("date +10000-01-01 is out of range"));
        assert!(days(-719_163).is_some() && days(i32::MAX).is_some());
    }
}
