//! `format`, by the rules of Java's `Formatter`.

mod digits;
mod moment;
mod number;
mod spec;
mod value;

use arrow::array::{Array, ArrayRef};
use datafusion::error::Result;

use self::spec::{Piece, Source, Spec, parse};
use self::value::{Argument, Value};
use super::last::Last;
use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "format",
    &["(varchar, any, any...) -> varchar"],
    format_values,
    "A text with values in the places of conversions such as %s, %05d or %.2f.",
)
.seeing_nulls()];

fn format_values(call: &Call<'_>) -> Result<ArrayRef> {
    let templates = call.text(0)?;
    let arguments = (1..call.len()).map(|index| Argument::new(call.argument(index)?)).collect::<Result<Vec<_>>>()?;
    let mut kept = Last::new();
    call.written_texts(|row, out| {
        if templates.is_null(row) {
            return Ok(false);
        }
        let pieces = kept.get(templates.value(row), parse)?;
        write(pieces, &arguments, row, out)?;
        Ok(true)
    })
}

fn write(pieces: &[Piece], arguments: &[Argument], row: usize, out: &mut String) -> Result<()> {
    let (mut ordinary, mut last) = (0, None);
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Percent(spec) => spec.justify("%", out),
            Piece::Value(source, spec) => {
                let place = match source {
                    Source::Next => {
                        ordinary += 1;
                        Some(ordinary - 1)
                    }
                    Source::Same => last,
                    Source::At(place) => Some(*place),
                };
                let argument = place.and_then(|place| arguments.get(place)).ok_or_else(|| spec.wrong("it has no value"))?;
                last = place;
                convert(spec, &argument.value(row)?, out)?;
            }
        }
    }
    Ok(())
}

fn convert(spec: &Spec, value: &Value<'_>, out: &mut String) -> Result<()> {
    let mismatch = || spec.wrong("it does not take a value of this type");
    let text = match (spec.conversion, value) {
        ('b', Value::Null) => "false".to_owned(),
        ('b', Value::Boolean(value)) => value.to_string(),
        ('b', _) => "true".to_owned(),
        (_, Value::Null) => "null".to_owned(),
        ('s', value) => value.to_string(),
        ('h', value) => format!("{:x}", value.hash().ok_or_else(mismatch)?),
        ('d', Value::Integer(value)) => {
            number::decimal(spec, *value, out);
            return Ok(());
        }
        ('x' | 'o', Value::Integer(value)) => {
            number::unsigned(spec, *value, out);
            return Ok(());
        }
        ('e' | 'f' | 'g', value) => {
            number::fraction(spec, value, out).ok_or_else(mismatch)?;
            return Ok(());
        }
        ('a', Value::Double(value)) => number::hexadecimal(spec, *value)?,
        ('a', Value::Real(value)) => number::hexadecimal(spec, f64::from(*value))?,
        ('t', value) => moment::written(spec.field, value).ok_or_else(mismatch)?,
        _ => return Err(mismatch()),
    };
    spec.general(&text, out);
    Ok(())
}
