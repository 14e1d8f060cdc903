//! Upper and lower case.
//!
//! As in Java, a character becomes one character: `ß` stays as it is, where Rust's strings make `SS` of it.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("lower", &["(varchar) -> varchar"], lower, "The text in lower case."),
    Scalar::new("upper", &["(varchar) -> varchar"], upper, "The text in upper case."),
];

fn lower(call: &Call<'_>) -> Result<ArrayRef> {
    mapped(call, str::make_ascii_lowercase, lower_character)
}

fn upper(call: &Call<'_>) -> Result<ArrayRef> {
    mapped(call, str::make_ascii_uppercase, upper_character)
}

fn mapped(call: &Call<'_>, ascii: fn(&mut str), character: fn(char) -> char) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.written_texts(|row, out| {
        let text = texts.value(row);
        if text.is_ascii() {
            out.push_str(text);
            ascii(out.as_mut_str());
        } else {
            out.extend(text.chars().map(character));
        }
        Ok(true)
    })
}

fn lower_character(character: char) -> char {
    // The only one that becomes more than one character is İ.
    character.to_lowercase().next().unwrap_or(character)
}

fn upper_character(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(only), None) => only,
        // Greek vowels with a iota below have a form for titles, which Unicode's table of single characters gives.
        _ => match character {
            '\u{1F80}'..='\u{1F87}' | '\u{1F90}'..='\u{1F97}' | '\u{1FA0}'..='\u{1FA7}' => {
                char::from_u32(u32::from(character) + 8).unwrap_or(character)
            }
            '\u{1FB3}' | '\u{1FC3}' | '\u{1FF3}' => char::from_u32(u32::from(character) + 9).unwrap_or(character),
            other => other,
        },
    }
}
