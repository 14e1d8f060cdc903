//! Arrays as texts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float32Type, Float64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use arrow::util::display::FormatOptions;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use crate::datetime::interval_text;
use crate::json::from_json::cast_json;
use crate::json::to_json::uuid_text;
use crate::json::written::{double_text, real_text};
use crate::nested::range;
use crate::signature::JSON;
use crate::type_name::type_name;
use crate::{Call, Scalar, not_found};

const UUID_BYTES: i32 = 16;

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "array_join",
    &["(array(T), varchar) -> varchar", "(array(T), varchar, varchar) -> varchar"],
    array_join,
    "The elements as texts with another between them; NULL is left out, or stands as a third one.",
)
.returning(joined)];

fn array_join(call: &Call<'_>) -> Result<ArrayRef> {
    let (list, delimiter) = (call.list(0)?, call.text(1)?);
    let in_place_of_null = if call.len() > 2 { Some(call.text(2)?) } else { None };
    let texts = texts(list.values())?;
    let texts: &StringArray = texts.as_string_opt().ok_or_else(|| internal_datafusion_err!("elements are no texts"))?;
    call.texts(|row| {
        let (mut joined, mut is_first) = (String::new(), true);
        for index in range(list.value_offsets(), row) {
            let text = match (texts.is_valid(index), in_place_of_null) {
                (true, _) => texts.value(index),
                (false, Some(other)) => other.value(row),
                (false, None) => continue,
            };
            if !is_first {
                joined.push_str(delimiter.value(row));
            }
            joined.push_str(text);
            is_first = false;
        }
        Ok(Some(joined))
    })
}

/// Elements that hold others have no texts.
fn joined(types: &[DataType]) -> Result<DataType> {
    match types.first() {
        Some(DataType::List(element)) if element.data_type().is_nested() => {
            Err(not_found(format!("function 'array_join' does not take array({}): such elements have no texts", type_name(element.data_type()))))
        }
        _ => Ok(DataType::Utf8View),
    }
}

/// Values as texts, in the form that a cast to `varchar` gives in Trino.
fn texts(values: &ArrayRef) -> Result<ArrayRef> {
    let of = |texts: StringArray| Ok(Arc::new(texts) as ArrayRef);
    match values.data_type() {
        DataType::Float64 => of(values.as_primitive::<Float64Type>().iter().map(|value| value.map(double_text)).collect()),
        DataType::Float32 => of(values.as_primitive::<Float32Type>().iter().map(|value| value.map(real_text)).collect()),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>().iter();
            of(intervals.map(|interval| interval.map(interval_text).transpose()).collect::<Result<_>>()?)
        }
        DataType::FixedSizeBinary(UUID_BYTES) => of(values.as_fixed_size_binary().iter().map(|bytes| bytes.map(uuid_text)).collect()),
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
            Ok(cast_with_options(values, &DataType::Utf8, &CastOptions { safe: false, format_options: options })?)
        }
        data_type => match values.as_string_opt::<i64>() {
            Some(json) if *data_type == JSON => cast_json(json, &DataType::Utf8, false),
            _ => Ok(cast_with_options(values, &DataType::Utf8, &CastOptions { safe: false, ..CastOptions::default() })?),
        },
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, LargeStringArray, TimestampNanosecondArray};

    use super::*;

    fn written(values: ArrayRef) -> Vec<Option<String>> {
        texts(&values).unwrap().as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn elements_are_written_as_casts_do() {
        let of = |values: &[&str]| values.iter().map(|value| Some((*value).to_owned())).collect::<Vec<_>>();
        let doubles = vec![1.5, -2.0, 0.0, 1e21, 1e-7, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let expected = ["1.5E0", "-2.0E0", "0E0", "1.0E21", "1.0E-7", "NaN", "Infinity", "-Infinity"];
        assert_eq!(written(Arc::new(Float64Array::from(doubles))), of(&expected));
        let json = LargeStringArray::from(vec![Some("\"a\""), Some("null"), None, Some("1")]);
        assert_eq!(written(Arc::new(json)), [Some("a".to_owned()), None, None, Some("1".to_owned())]);
        let moments = TimestampNanosecondArray::from(vec![1]).with_timezone("UTC");
        assert_eq!(written(Arc::new(moments)), of(&["1970-01-01 00:00:00.000000001 UTC"]));
    }
}
