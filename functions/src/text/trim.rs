//! Texts without what stands at their ends.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use crate::{Call, Scalar};

const SIGNATURES: &[&str] = &["(varchar) -> varchar", "(varchar, varchar) -> varchar"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("trim", SIGNATURES, trim, "The text without whitespace, or these characters, at both ends.").also(&["btrim"]),
    Scalar::new("ltrim", SIGNATURES, ltrim, "The text without whitespace, or these characters, at its start."),
    Scalar::new("rtrim", SIGNATURES, rtrim, "The text without whitespace, or these characters, at its end."),
];

fn trim(call: &Call<'_>) -> Result<ArrayRef> {
    trimmed(call, true, true)
}

fn ltrim(call: &Call<'_>) -> Result<ArrayRef> {
    trimmed(call, true, false)
}

fn rtrim(call: &Call<'_>) -> Result<ArrayRef> {
    trimmed(call, false, true)
}

fn trimmed(call: &Call<'_>, at_start: bool, at_end: bool) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    if call.len() == 1 {
        return call.texts(|row| Ok(Some(without(texts.value(row), at_start, at_end, is_whitespace))));
    }
    let characters = call.text(1)?;
    call.texts(|row| {
        let characters = characters.value(row);
        Ok(Some(without(texts.value(row), at_start, at_end, |character| characters.contains(character))))
    })
}

fn without(text: &str, at_start: bool, at_end: bool, is_dropped: impl Fn(char) -> bool) -> &str {
    let text = if at_start { text.trim_start_matches(&is_dropped) } else { text };
    if at_end { text.trim_end_matches(&is_dropped) } else { text }
}

/// Whether Java takes a character for whitespace: Unicode's that breaks lines, and the separators of ASCII.
fn is_whitespace(character: char) -> bool {
    match character {
        '\u{1C}'..='\u{1F}' => true,
        '\u{85}' | '\u{A0}' | '\u{2007}' | '\u{202F}' => false,
        other => other.is_whitespace(),
    }
}
