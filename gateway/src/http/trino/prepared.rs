//! Texts of prepared statements in headers. Servers and clients refuse long headers, so that a long text is compressed there, as Trino does it: clients keep what they
//! were given, and bring it back.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use crate::limits;

/// What a compressed text begins with.
const COMPRESSED: &str = "$zstd:";

/// Trino's own level.
const ZSTD_LEVEL: i32 = 3;

/// A text as it stands in a header, before it is encoded as all values are.
pub(super) fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() < limits::PREPARED_COMPRESSED_BYTES_MIN {
        return Cow::Borrowed(text);
    }
    // What cannot be compressed is sent as it is.
    let compressed = zstd::bulk::compress(text.as_bytes(), ZSTD_LEVEL).map(|bytes| format!("{COMPRESSED}{}", URL_SAFE.encode(bytes)));
    match compressed {
        Ok(compressed) if compressed.len() + limits::PREPARED_COMPRESSED_GAIN_MIN <= text.len() => Cow::Owned(compressed),
        _ => Cow::Borrowed(text),
    }
}

/// The text that a header has; `None` if it is compressed and cannot be read, or is longer than any statement.
pub(super) fn restored(sent: String) -> Option<String> {
    let Some(compressed) = sent.strip_prefix(COMPRESSED) else { return Some(sent) };
    let bytes = zstd::bulk::decompress(&URL_SAFE.decode(compressed).ok()?, limits::PREPARED_BYTES_MAX).ok()?;
    let mut text = String::from_utf8(bytes).ok()?;
    text.shrink_to_fit();
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_compressed_where_that_helps() {
        let long = format!("SELECT '{}', ?", "ü".repeat(10_000));
        let short = shortened(&long);
        assert!(short.starts_with(COMPRESSED) && short.len() < 100, "{short}");
        assert_eq!(restored(short.into_owned()), Some(long));
        for text in ["SELECT 1".to_owned(), format!("SELECT '{}'", "x".repeat(2_000))] {
            assert_eq!(shortened(&text), text);
            assert_eq!(restored(text.clone()), Some(text));
        }
        let random: String = (0_u32..3_000).map(|n| char::from(b'0' + (n.wrapping_mul(2_654_435_761).rotate_left(7) % 75) as u8)).collect();
        assert_eq!(restored(shortened(&random).into_owned()), Some(random));
    }

    /// What Trino 476 makes of `PREPARE p FROM SELECT 'yy...y', ?`, with 3,000 letters.
    #[test]
    fn those_of_trino_are_read() {
        let text = restored("$zstd:KLUv_WDJCs0AAJBTRUxFQ1QKICAneScKLCA_CgoBALTzgRc=".to_owned());
        assert_eq!(text, Some(format!("SELECT\n  '{}'\n, ?\n\n", "y".repeat(3_000))));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let bomb = format!("{COMPRESSED}{}", URL_SAFE.encode(zstd::bulk::compress(&vec![b'x'; 10_000_000], 1).unwrap()));
        for sent in [bomb.as_str(), "$zstd:abc", "$zstd:????", "$zstd:AAAA"] {
            assert_eq!(restored(sent.to_owned()), None);
        }
    }
}
