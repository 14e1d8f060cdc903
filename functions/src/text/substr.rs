//! Parts of texts and of bytes by their places.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::error::Result;

use crate::{Call, Scalar};

pub(crate) const FUNCTIONS: &[Scalar] = &[Scalar::new(
    "substr",
    &[
        "(varchar, bigint) -> varchar",
        "(varchar, bigint, bigint) -> varchar",
        "(varbinary, bigint) -> varbinary",
        "(varbinary, bigint, bigint) -> varbinary",
    ],
    substr,
    "The part from a place on, counted from 1, or from the end if it is negative; of some length.",
)
.also(&["substring"])];

fn substr(call: &Call<'_>) -> Result<ArrayRef> {
    let starts = call.bigint(1)?;
    let lengths = if call.len() > 2 { Some(call.bigint(2)?) } else { None };
    let length = |row: usize| lengths.map_or(i64::MAX, |lengths| lengths.value(row));
    if *call.argument(0)?.data_type() == DataType::Binary {
        let values = call.bytes(0)?;
        return call.binaries(|row| {
            let value = values.value(row);
            let (start, end) = bounds(starts.value(row), length(row), || value.len());
            Ok(Some(value.get(start..end.min(value.len())).unwrap_or_default()))
        });
    }
    let values = call.text(0)?;
    call.texts(|row| Ok(Some(part(values.value(row), starts.value(row), length(row)))))
}

fn part(value: &str, start: i64, length: i64) -> &str {
    let (first, end) = bounds(start, length, || value.len());
    // Characters are bytes if they are up to where the part ends, or begins if it reaches to the end; counted from the end, if all are.
    let looked_at = match start {
        ..=0 => value.len(),
        _ if end < value.len() => end,
        _ => first.min(value.len()),
    };
    if value.as_bytes().get(..looked_at).is_some_and(<[u8]>::is_ascii) {
        return value.get(first..end.min(value.len())).unwrap_or_default();
    }
    let (first, end) = bounds(start, length, || value.chars().count());
    let rest = skip(value, first);
    let behind = skip(rest, end.saturating_sub(first));
    rest.get(..rest.len() - behind.len()).unwrap_or_default()
}

/// The text behind some characters.
fn skip(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).and_then(|(place, _)| text.get(place..)).unwrap_or_default()
}

/// From where to where the part is, counted from 0. Nothing is where a value does not reach.
fn bounds(start: i64, length: i64, count: impl FnOnce() -> usize) -> (usize, usize) {
    let first = match start {
        0 => None,
        1.. => usize::try_from(start - 1).ok(),
        ..0 => usize::try_from(start.unsigned_abs()).ok().and_then(|back| count().checked_sub(back)),
    };
    match (first, usize::try_from(length)) {
        (Some(first), Ok(length)) => (first, first.saturating_add(length)),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_characters() {
        for (value, start, length, expected) in [
            ("abcü", 1, 3, "abc"),
            ("abcü", 2, i64::MAX, "bcü"),
            ("abcü", 3, 2, "cü"),
            ("abcü", 4, 1, "ü"),
            ("üabc", 2, 2, "ab"),
            ("üabc", 5, 1, ""),
            ("abcü", -2, 1, "c"),
            ("abc", -3, 2, "ab"),
            ("abc", -4, 2, ""),
            ("abc", 0, 2, ""),
            ("abc", 4, 2, ""),
            ("abc", i64::MAX, i64::MAX, ""),
            ("abc", 2, 0, ""),
            ("abc", 2, -1, ""),
        ] {
            assert_eq!(part(value, start, length), expected, "{value} {start} {length}");
        }
    }
}
