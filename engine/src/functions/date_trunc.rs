//! `date_trunc(unit, value)` for all moments that columns have, and of dates, which stay dates as in Trino. DataFusion's goes by nanoseconds, which reach from 1677 to
//! 2262 only; what counts otherwise than in microseconds is left to it.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringViewArray, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Date32Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType};
use chrono::{Datelike, NaiveDate};
use datafusion::common::{ScalarValue, exec_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::functions::datetime::date_trunc::DateTruncFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use nunatak_core::{Code, Error};
use nunatak_functions::datetime::Zone;

use crate::error::into_datafusion;

const NAME: &str = "date_trunc";
const DAY_MICROS: i64 = 86_400_000_000;
/// Days from the first of January of the year 1, which is day 1, to the epoch.
const EPOCH_DAYS: i64 = 719_163;

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(DateTrunc { signature, theirs: DateTruncFunc::new() }))
});

/// The function.
pub fn function() -> Arc<ScalarUDF> {
    Arc::clone(&FUNCTION)
}

/// To what a value is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// So many microseconds.
    Micros(i64),
    Week,
    Month,
    Quarter,
    Year,
}

impl Unit {
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_lowercase().as_str() {
            "microsecond" => Self::Micros(1),
            "millisecond" => Self::Micros(1_000),
            "second" => Self::Micros(1_000_000),
            "minute" => Self::Micros(60_000_000),
            "hour" => Self::Micros(3_600_000_000),
            "day" => Self::Micros(DAY_MICROS),
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// The start of the unit in which a moment lies; `None` if it cannot be counted.
    fn start(self, micros: i64) -> Option<i64> {
        match self {
            Self::Micros(length) => micros.checked_sub(micros.rem_euclid(length)),
            longer => longer.first_day(micros.div_euclid(DAY_MICROS))?.checked_mul(DAY_MICROS),
        }
    }

    /// The first day of the unit in which a day lies, both since the epoch.
    fn first_day(self, day: i64) -> Option<i64> {
        let date = NaiveDate::from_num_days_from_ce_opt(i32::try_from(day.checked_add(EPOCH_DAYS)?).ok()?)?;
        let first = match self {
            Self::Micros(_) => Some(date),
            Self::Week => return day.checked_sub(i64::from(date.weekday().num_days_from_monday())),
            Self::Month => date.with_day(1),
            Self::Quarter => NaiveDate::from_ymd_opt(date.year(), date.month0() / 3 * 3 + 1, 1),
            Self::Year => NaiveDate::from_ymd_opt(date.year(), 1, 1),
        };
        first.map(|first| i64::from(first.num_days_from_ce()) - EPOCH_DAYS)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    signature: Signature,
    theirs: DateTruncFunc,
}

impl ScalarUDFImpl for DateTrunc {
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
        let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match types {
            [unit, value] if is_text(unit) => match value {
                DataType::Timestamp(..) | DataType::Date32 | DataType::Time32(_) | DataType::Time64(_) => Ok(types.to_vec()),
                value if is_text(value) || matches!(value, DataType::Null | DataType::Date64) => {
                    Ok(vec![unit.clone(), DataType::Timestamp(TimeUnit::Microsecond, None)])
                }
                value => plan_err!("{NAME} takes a date, a time or a timestamp, not {value}"),
            },
            _ => plan_err!("{NAME} takes the name of a unit and a value"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, value] => Ok(value.clone()),
            _ => plan_err!("{NAME} takes the name of a unit and a value"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [unit, value] = arguments.args.as_slice() else { return self.theirs.invoke_with_args(arguments) };
        let data_type = value.data_type();
        if !is_ours(&data_type) {
            return self.theirs.invoke_with_args(arguments);
        }
        let unit = match unit {
            ColumnarValue::Scalar(unit) => match unit.try_as_str().flatten() {
                Some(name) => unit_for(name, &data_type)?,
                None => return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&data_type)?)),
            },
            ColumnarValue::Array(units) => {
                let units = cast(units, &DataType::Utf8View)?;
                return truncate_each(&value.to_array(arguments.number_rows)?, units.as_string_view()).map(ColumnarValue::Array);
            }
        };
        Ok(match value {
            ColumnarValue::Array(values) => ColumnarValue::Array(truncate(values, unit)?),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(ScalarValue::try_from_array(&truncate(&value.to_array()?, unit)?, 0)?),
        })
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.theirs.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.theirs.documentation()
    }
}

fn is_ours(data_type: &DataType) -> bool {
    match data_type {
        DataType::Date32 | DataType::Time64(TimeUnit::Microsecond) | DataType::Timestamp(TimeUnit::Microsecond, None) => true,
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => Zone::parse(zone).is_some(),
        _ => false,
    }
}

/// The unit of that name, for values of a type. Errors: `INVALID_FUNCTION_ARGUMENT`.
fn unit_for(name: &str, data_type: &DataType) -> Result<Unit> {
    let refused = |why: &str| into_datafusion(Error::new(Code::InvalidFunctionArgument, format!("{NAME}: '{name}' is {why}")));
    let unit = Unit::parse(name).ok_or_else(|| refused("no unit of time"))?;
    let is_part_of_day = matches!(unit, Unit::Micros(length) if length < DAY_MICROS);
    match data_type {
        DataType::Date32 if is_part_of_day => Err(refused("no unit of dates")),
        DataType::Time64(_) if !is_part_of_day => Err(refused("no unit of times of day")),
        _ => Ok(unit),
    }
}

/// Each value to its own unit, which is rare enough to be done one by one.
fn truncate_each(values: &ArrayRef, units: &StringViewArray) -> Result<ArrayRef> {
    if values.is_empty() {
        return Ok(Arc::clone(values));
    }
    let rows = (0..values.len()).map(|row| match units.is_null(row) {
        true => Ok(new_null_array(values.data_type(), 1)),
        false => truncate(&values.slice(row, 1), unit_for(units.value(row), values.data_type())?),
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    Ok(concat(&rows.iter().map(|row| row.as_ref()).collect::<Vec<&dyn Array>>())?)
}

fn truncate(values: &ArrayRef, unit: Unit) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Date32 => mapped(values.as_primitive::<Date32Type>(), |day| i32::try_from(unit.first_day(i64::from(day))?).ok()),
        DataType::Time64(_) => mapped(values.as_primitive::<Time64MicrosecondType>(), |micros| unit.start(micros)),
        DataType::Timestamp(_, Some(zone)) => {
            let zone = Zone::parse(zone).unwrap_or_default();
            mapped(values.as_primitive::<TimestampMicrosecondType>(), |micros| start_in(zone, unit, micros))
        }
        _ => mapped(values.as_primitive::<TimestampMicrosecondType>(), |micros| unit.start(micros)),
    }
}

/// The start of the unit by the clocks of a zone. An hour that is there twice starts twice.
fn start_in(zone: Zone, unit: Unit, micros: i64) -> Option<i64> {
    let local = zone.local(micros).ok()?;
    let start = unit.start(local)?;
    match unit {
        Unit::Micros(length) if length < DAY_MICROS => start.checked_sub(local.checked_sub(micros)?),
        _ => zone.utc(start).ok(),
    }
}

/// The values of a type with its zone.
fn mapped<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, start: impl Fn(T::Native) -> Option<T::Native>) -> Result<ArrayRef> {
    let started: PrimitiveArray<T> =
        values.try_unary(|value| start(value).ok_or_else(|| exec_datafusion_err!("{NAME} of a value that is out of range")))?;
    Ok(Arc::new(started.with_data_type(values.data_type().clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> i64 {
        text.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp_micros()
    }

    fn day(text: &str) -> i64 {
        micros(&format!("{text}T00:00:00")) / DAY_MICROS
    }

    #[test]
    fn moments_of_all_years_are_cut() {
        for (unit, moment, start) in [
            ("year", "9999-12-31T23:59:59.999999", "9999-01-01T00:00:00"),
            ("quarter", "0001-03-31T01:00:00", "0001-01-01T00:00:00"),
            ("quarter", "2024-06-30T01:00:00", "2024-04-01T00:00:00"),
            ("month", "1969-02-28T23:00:00", "1969-02-01T00:00:00"),
            ("WEEK", "1969-12-31T00:00:00.000001", "1969-12-29T00:00:00"),
            ("week", "2024-05-06T00:00:00", "2024-05-06T00:00:00"),
            ("day", "1500-05-01T23:59:59", "1500-05-01T00:00:00"),
            ("hour", "1969-12-31T23:59:59.5", "1969-12-31T23:00:00"),
            ("millisecond", "2024-05-01T08:00:00.123456", "2024-05-01T08:00:00.123"),
        ] {
            assert_eq!(Unit::parse(unit).unwrap().start(micros(moment)), Some(micros(start)), "{unit} of {moment}");
        }
        assert_eq!(Unit::parse("decade"), None);
    }

    #[test]
    fn moments_are_cut_by_the_clocks_of_their_zone() {
        let zone = Zone::parse("America/New_York").unwrap();
        for (unit, moment, start) in [
            ("day", "2020-05-10T03:00:00", "2020-05-09T04:00:00"),
            ("month", "2020-11-10T12:00:00", "2020-11-01T04:00:00"),
            // The second hour from one to two o'clock.
            ("hour", "2020-11-01T06:34:56", "2020-11-01T06:00:00"),
        ] {
            assert_eq!(start_in(zone, Unit::parse(unit).unwrap(), micros(moment)), Some(micros(start)), "{unit} of {moment}");
        }
        assert_eq!(start_in(zone, Unit::Year, i64::MAX), None);
    }

    #[test]
    fn dates_stay_dates() {
        assert_eq!(Unit::Month.first_day(day("1969-12-31")), Some(day("1969-12-01")));
        assert_eq!(Unit::Micros(DAY_MICROS).first_day(day("0001-01-01")), Some(day("0001-01-01")));
    }
}
