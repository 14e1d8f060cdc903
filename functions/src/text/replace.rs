//! Texts with parts of them changed.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "replace",
        &["(varchar, varchar) -> varchar", "(varchar, varchar, varchar) -> varchar"],
        replace,
        "The text with another in place of a part wherever it is, or without it.",
    ),
    Scalar::new(
        "translate",
        &["(varchar, varchar, varchar) -> varchar"],
        translate,
        "The text with other characters in place of some, or without those that have none.",
    ),
];

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, parts) = (call.text(0)?, call.text(1)?);
    let others = if call.len() > 2 { Some(call.text(2)?) } else { None };
    call.written_texts(|row, out| {
        let (text, part, other) = (texts.value(row), parts.value(row), others.map_or("", |others| others.value(row)));
        if part.is_empty() {
            for character in text.chars() {
                out.push_str(other);
                out.push(character);
            }
            out.push_str(other);
            return Ok(true);
        }
        let mut rest = 0;
        for (place, found) in text.match_indices(part) {
            out.push_str(text.get(rest..place).unwrap_or_default());
            out.push_str(other);
            rest = place + found.len();
        }
        out.push_str(text.get(rest..).unwrap_or_default());
        Ok(true)
    })
}

fn translate(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, from, to) = (call.text(0)?, call.text(1)?, call.text(2)?);
    call.written_texts(|row, out| {
        let (from, to) = (from.value(row), to.value(row));
        out.extend(texts.value(row).chars().filter_map(|character| match from.chars().position(|other| other == character) {
            Some(place) => to.chars().nth(place),
            None => Some(character),
        }));
        Ok(true)
    })
}
