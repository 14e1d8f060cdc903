//! Keys of maps, which are texts in JSON.

use std::borrow::Cow;

use nunatak_core::Result;

use super::{Writer, text};

/// A key of a map is a text in JSON, whatever its type.
pub(super) fn key(keys: &Writer<'_>, entry: usize, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    keys(entry, out)?;
    if out.get(start) != Some(&b'"') {
        let written = String::from_utf8_lossy(&out.split_off(start)).into_owned();
        text(out, &as_java_shows(&written));
    }
    Ok(())
}

/// What is written in JSON as Java shows it, which Trino makes keys of: `["a",1]` as `[a, 1]`, and `{"k":1e10}` as `{k=1.0E10}`.
pub(super) fn as_java_shows(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    let (mut rest, mut is_text) = (json, false);
    while let Some(character) = rest.chars().next() {
        if !is_text && (character.is_ascii_digit() || character == '-') {
            let length = rest.bytes().take_while(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte)).count();
            let (number, behind) = rest.split_at(length);
            shown.push_str(&number_of_java(number));
            rest = behind;
            continue;
        }
        let mut behind = rest.chars();
        behind.next();
        match character {
            '"' => is_text = !is_text,
            '\\' => shown.extend(escaped(&mut behind)),
            ',' if !is_text => shown.push_str(", "),
            ':' if !is_text => shown.push('='),
            character => shown.push(character),
        }
        rest = behind.as_str();
    }
    shown
}

/// A number with an exponent where Java writes one.
fn number_of_java(text: &str) -> Cow<'_, str> {
    let is_float = text.contains(['.', 'e', 'E']);
    let Some(value) = text.parse::<f64>().ok().filter(|_| is_float) else { return Cow::Borrowed(text) };
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return Cow::Owned(format!("{value:?}"));
    }
    let scientific = format!("{value:E}");
    Cow::Owned(match scientific.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => scientific,
    })
}

/// The character that [`text`] has written behind a backslash.
fn escaped(characters: &mut std::str::Chars<'_>) -> Option<char> {
    match characters.next()? {
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let digits: String = characters.by_ref().take(4).collect();
            u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
        }
        other => Some(other),
    }
}
