//! Arrays as texts.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::util::display::FormatOptions;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

use crate::nested::range;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "array_join",
    &["(array(T), varchar) -> varchar", "(array(T), varchar, varchar) -> varchar"],
    array_join,
    "The elements as texts with another between them; NULL is left out, or stands as a third one.",
)];

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

/// Values as texts, in the form that a cast to `varchar` gives in Trino.
fn texts(values: &ArrayRef) -> Result<ArrayRef> {
    fn of_floats(floats: impl Iterator<Item = Option<(f64, String)>>) -> ArrayRef {
        let texts = floats.map(|value| value.map(|(value, scientific)| of_float(value, &scientific)));
        Arc::new(texts.collect::<StringArray>())
    }
    Ok(match values.data_type() {
        DataType::Float64 => of_floats(values.as_primitive::<Float64Type>().iter().map(|value| value.map(|value| (value, format!("{value:E}"))))),
        DataType::Float32 => {
            of_floats(values.as_primitive::<Float32Type>().iter().map(|value| value.map(|value| (f64::from(value), format!("{value:E}")))))
        }
        _ => {
            let format = FormatOptions::default()
                .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.6f"))
                .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.6f %Z"));
            cast_with_options(values, &DataType::Utf8, &CastOptions { safe: false, format_options: format })?
        }
    })
}

fn of_float(value: f64, scientific: &str) -> String {
    if !value.is_finite() {
        let name = if value.is_nan() { "NaN" } else { "Infinity" };
        return if value == f64::NEG_INFINITY { format!("-{name}") } else { name.to_owned() };
    }
    let (digits, exponent) = scientific.split_once('E').unwrap_or((scientific, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_with_an_exponent() {
        let text = |value: f64| of_float(value, &format!("{value:E}"));
        assert_eq!([text(1.5), text(-2.0), text(0.0), text(1e21), text(1e-7)], ["1.5E0", "-2.0E0", "0.0E0", "1.0E21", "1.0E-7"]);
        assert_eq!([text(f64::NAN), text(f64::INFINITY), text(f64::NEG_INFINITY)], ["NaN", "Infinity", "-Infinity"]);
    }
}
