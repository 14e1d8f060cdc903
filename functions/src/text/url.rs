//! URLs: their parts, and how values are written in them.

use std::borrow::Cow;

use arrow::array::ArrayRef;
use datafusion::error::Result;

use super::uri::Uri;
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("url_decode", &["(varchar) -> varchar"], url_decode, "The value that url_encode has written."),
    Scalar::new("url_encode", &["(varchar) -> varchar"], url_encode, "The text as parameters of a URL have it."),
    Scalar::new("url_extract_fragment", &["(varchar) -> varchar"], fragment, "The fragment of a URL, what is behind the #."),
    Scalar::new("url_extract_host", &["(varchar) -> varchar"], host, "The host of a URL."),
    Scalar::new("url_extract_parameter", &["(varchar, varchar) -> varchar"], parameter, "The value of the first parameter of that name in a URL."),
    Scalar::new("url_extract_path", &["(varchar) -> varchar"], path, "The path of a URL."),
    Scalar::new("url_extract_port", &["(varchar) -> bigint"], port, "The number of the port in a URL."),
    Scalar::new("url_extract_protocol", &["(varchar) -> varchar"], protocol, "The protocol of a URL."),
    Scalar::new("url_extract_query", &["(varchar) -> varchar"], query, "The query of a URL, what is behind the question mark."),
];

fn url_encode(call: &Call<'_>) -> Result<ArrayRef> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let texts = call.text(0)?;
    call.written_texts(|row, out| {
        for byte in texts.value(row).bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'*' => out.push(char::from(byte)),
                b' ' => out.push('+'),
                _ => {
                    out.push('%');
                    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                    out.push(char::from(DIGITS[usize::from(byte & 15)]));
                }
            }
        }
        Ok(true)
    })
}

fn url_decode(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row| {
        let text = texts.value(row);
        decoded(text, true).map(Some).ok_or_else(|| invalid(format!("'{text}' has a % without two digits behind it")))
    })
}

/// The text with the bytes that `%` and two digits stand for. `None` if there are no two digits.
fn decoded(text: &str, plus_is_space: bool) -> Option<Cow<'_, str>> {
    if !(text.contains('%') || plus_is_space && text.contains('+')) {
        return Some(Cow::Borrowed(text));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (digit(rest.next()?)? << 4) | digit(rest.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A part of each URL; NULL for what is none.
fn part<'a>(call: &Call<'a>, part: impl Fn(Uri<'a>) -> Option<Cow<'a, str>>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.texts(|row| Ok(Uri::parse(texts.value(row)).map(|uri| part(uri).unwrap_or_default())))
}

fn protocol(call: &Call<'_>) -> Result<ArrayRef> {
    part(call, |uri| uri.scheme.map(Cow::Borrowed))
}

fn host(call: &Call<'_>) -> Result<ArrayRef> {
    part(call, |uri| uri.host.map(Cow::Borrowed))
}

fn path(call: &Call<'_>) -> Result<ArrayRef> {
    part(call, |uri| uri.path.and_then(|path| decoded(path, false)))
}

fn query(call: &Call<'_>) -> Result<ArrayRef> {
    part(call, |uri| uri.query.and_then(|query| decoded(query, false)))
}

fn fragment(call: &Call<'_>) -> Result<ArrayRef> {
    part(call, |uri| uri.fragment.and_then(|fragment| decoded(fragment, false)))
}

fn port(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.bigints(|row| Ok(Uri::parse(texts.value(row)).and_then(|uri| uri.port).map(i64::from)))
}

fn parameter(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, names) = (call.text(0)?, call.text(1)?);
    call.texts(|row| {
        let name = names.value(row);
        let Some(query) = Uri::parse(texts.value(row)).and_then(|uri| uri.query) else { return Ok(None) };
        let mut parameters = query.split('&').map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")));
        Ok(parameters.find(|(key, _)| *key == name).and_then(|(_, value)| decoded(value, true)))
    })
}
