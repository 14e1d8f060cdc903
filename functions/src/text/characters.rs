//! Characters and their numbers, and texts as bytes.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Int32Type};
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("chr", &["(bigint) -> varchar"], chr, "The character of that number in Unicode."),
    Scalar::new("codepoint", &["(varchar) -> integer"], codepoint, "The number in Unicode of a text of one character."),
    Scalar::new("length", &["(varchar) -> bigint", "(varbinary) -> bigint"], length, "The number of characters, or of bytes.")
        .also(&["char_length", "character_length"]),
    Scalar::new("to_utf8", &["(varchar) -> varbinary"], to_utf8, "The text as bytes in UTF-8."),
    Scalar::new(
        "from_utf8",
        &["(varbinary) -> varchar", "(varbinary, varchar) -> varchar", "(varbinary, bigint) -> varchar"],
        from_utf8,
        "The text of bytes in UTF-8, with a replacement for each sequence that is none.",
    ),
];

fn chr(call: &Call<'_>) -> Result<ArrayRef> {
    let numbers = call.bigint(0)?;
    call.written_texts(|row, out| {
        out.push(character(numbers.value(row))?);
        Ok(true)
    })
}

fn character(number: i64) -> Result<char> {
    u32::try_from(number).ok().and_then(char::from_u32).ok_or_else(|| invalid(format!("{number} is not the number of a character in Unicode")))
}

fn codepoint(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.primitives::<Int32Type>(|row| {
        let mut characters = texts.value(row).chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(i32::try_from(u32::from(character)).ok()),
            _ => Err(invalid(format!("codepoint takes one character, not '{}'", texts.value(row)))),
        }
    })
}

fn length(call: &Call<'_>) -> Result<ArrayRef> {
    if *call.argument(0)?.data_type() == DataType::Binary {
        let bytes = call.bytes(0)?;
        return call.bigints(|row| Ok(Some(bytes.value(row).len() as i64)));
    }
    let texts = call.text(0)?;
    call.bigints(|row| Ok(Some(texts.value(row).chars().count() as i64)))
}

fn to_utf8(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.binaries(|row| Ok(Some(texts.value(row))))
}

fn from_utf8(call: &Call<'_>) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    if call.len() == 1 {
        return call.written_texts(|row, out| decoded(bytes.value(row), Some(char::REPLACEMENT_CHARACTER), out));
    }
    if *call.argument(1)?.data_type() == DataType::Int64 {
        let numbers = call.bigint(1)?;
        return call.written_texts(|row, out| decoded(bytes.value(row), Some(character(numbers.value(row))?), out));
    }
    let texts = call.text(1)?;
    call.written_texts(|row, out| {
        let mut characters = texts.value(row).chars();
        match (characters.next(), characters.next()) {
            (replacement, None) => decoded(bytes.value(row), replacement, out),
            _ => Err(invalid(format!("the replacement is one character or none, not '{}'", texts.value(row)))),
        }
    })
}

/// Writes the text that bytes are, and a replacement for what is no character. What counts as one wrong sequence is Trino's choice.
fn decoded(bytes: &[u8], replacement: Option<char>, out: &mut String) -> Result<bool> {
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                out.push_str(text);
                return Ok(true);
            }
            Err(error) => {
                let (right, wrong) = rest.split_at(error.valid_up_to());
                out.push_str(std::str::from_utf8(right).unwrap_or_default());
                out.extend(replacement);
                rest = wrong.get(wrong_length(wrong)..).unwrap_or_default();
            }
        }
    }
}

/// The bytes of a sequence that is no character: as many as its first byte announces, up to one that does not continue it.
fn wrong_length(bytes: &[u8]) -> usize {
    let announced = match bytes.first() {
        Some(0b1100_0000..=0b1101_1111) => 2,
        Some(0b1110_0000..=0b1110_1111) => 3,
        Some(0b1111_0000..=0b1111_0111) => 4,
        Some(0b1111_1000..=0b1111_1011) => 5,
        Some(0b1111_1100..=0b1111_1101) => 6,
        _ => 1,
    };
    1 + bytes.iter().skip(1).take(announced - 1).take_while(|&&byte| byte & 0b1100_0000 == 0b1000_0000).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_sequences_are_replaced() {
        for (bytes, expected) in [
            (&b"a\xffb"[..], "a?b"),
            (b"\xe2\x82b", "?b"),
            (b"\xed\xa0\x80", "?"),
            (b"\xe2\x82\xf0\x9f", "??"),
            (b"\x80\x80", "??"),
            (b"\xf8\x88\x80\x80\x80x", "?x"),
        ] {
            let mut out = String::new();
            decoded(bytes, Some('?'), &mut out).unwrap();
            assert_eq!(out, expected, "{bytes:x?}");
        }
    }
}
