//! Bytes as text: hexadecimal digits, base 64 and base 32.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

const DECODES: &[&str] = &["(varchar) -> varbinary", "(varbinary) -> varbinary"];
const ENCODES: &[&str] = &["(varbinary) -> varchar"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("from_base32", DECODES, from_base32, "The bytes of a text in base 32."),
    Scalar::new("from_base64", DECODES, from_base64, "The bytes of a text in base 64."),
    Scalar::new("from_base64url", DECODES, from_base64url, "The bytes of a text in base 64 with the alphabet for URLs."),
    Scalar::new("from_hex", DECODES, from_hex, "The bytes of a text of hexadecimal digits."),
    Scalar::new("to_base32", ENCODES, to_base32, "The bytes in base 32."),
    Scalar::new("to_base64", ENCODES, to_base64, "The bytes in base 64."),
    Scalar::new("to_base64url", ENCODES, to_base64url, "The bytes in base 64 with the alphabet for URLs."),
    Scalar::new("to_hex", ENCODES, to_hex, "The bytes as hexadecimal digits in upper case."),
];

/// Padding is checked here: it may be missing, but not in part. The last bits that make no byte may be anything.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(true)
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::RequireNone);
static BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, CONFIG);
static BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, CONFIG);

const HEX_DIGITS: &[u8; 16] = b"0123456789ABCDEF";
const BASE32_DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn encode(call: &Call<'_>, write: impl Fn(&[u8], &mut String)) -> Result<ArrayRef> {
    let bytes = call.bytes(0)?;
    call.written_texts(|row, out| {
        write(bytes.value(row), out);
        Ok(true)
    })
}

/// Decodes texts, or bytes that are one; `write` says by `false` that something is wrong.
fn decode(call: &Call<'_>, form: &str, write: impl Fn(&[u8], &mut Vec<u8>) -> bool) -> Result<ArrayRef> {
    let checked = |text: &[u8], out: &mut Vec<u8>| match write(text, out) {
        true => Ok(true),
        false => Err(invalid(format!("'{}' is not {form}", String::from_utf8_lossy(text)))),
    };
    if *call.argument(0)?.data_type() == DataType::Binary {
        let bytes = call.bytes(0)?;
        return call.written_binaries(|row, out| checked(bytes.value(row), out));
    }
    let texts = call.text(0)?;
    call.written_binaries(|row, out| checked(texts.value(row).as_bytes(), out))
}

fn to_hex(call: &Call<'_>) -> Result<ArrayRef> {
    encode(call, |bytes, out| {
        for byte in bytes {
            out.push(char::from(HEX_DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(HEX_DIGITS[usize::from(byte & 15)]));
        }
    })
}

fn from_hex(call: &Call<'_>) -> Result<ArrayRef> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    decode(call, "an even number of hexadecimal digits", |text, out| {
        let (pairs, rest) = text.as_chunks::<2>();
        for [high, low] in pairs {
            let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return false };
            out.push((high << 4) | low);
        }
        rest.is_empty()
    })
}

fn to_base64(call: &Call<'_>) -> Result<ArrayRef> {
    encode(call, |bytes, out| BASE64.encode_string(bytes, out))
}

fn to_base64url(call: &Call<'_>) -> Result<ArrayRef> {
    encode(call, |bytes, out| BASE64_URL.encode_string(bytes, out))
}

fn from_base64(call: &Call<'_>) -> Result<ArrayRef> {
    decode(call, "in base 64", |text, out| from_base64_by(&BASE64, text, out))
}

fn from_base64url(call: &Call<'_>) -> Result<ArrayRef> {
    decode(call, "in base 64 with the alphabet for URLs", |text, out| from_base64_by(&BASE64_URL, text, out))
}

fn from_base64_by(engine: &GeneralPurpose, text: &[u8], out: &mut Vec<u8>) -> bool {
    let bare = without_padding(text, 2);
    (bare.len() == text.len() || text.len().is_multiple_of(4)) && engine.decode_vec(bare, out).is_ok()
}

/// The text without some `=` at its end.
fn without_padding(text: &[u8], most: usize) -> &[u8] {
    let padding = text.iter().rev().take(most).take_while(|&&byte| byte == b'=').count();
    text.get(..text.len() - padding).unwrap_or_default()
}

fn to_base32(call: &Call<'_>) -> Result<ArrayRef> {
    encode(call, |bytes, out| {
        for group in bytes.chunks(5) {
            let mut bits = [0; 8];
            for (to, from) in bits.iter_mut().skip(3).zip(group) {
                *to = *from;
            }
            let bits = u64::from_be_bytes(bits);
            let digits = (group.len() * 8).div_ceil(5);
            for place in 0..8 {
                let digit = BASE32_DIGITS[((bits >> (35 - 5 * place)) & 31) as usize];
                out.push(if place < digits { char::from(digit) } else { '=' });
            }
        }
    })
}

fn from_base32(call: &Call<'_>) -> Result<ArrayRef> {
    decode(call, "in base 32", |text, out| {
        let bare = without_padding(text, text.len());
        for group in bare.chunks(8) {
            let mut bits = 0_u64;
            for place in 0..8 {
                let value = match group.get(place).copied() {
                    None => 0,
                    Some(byte @ b'A'..=b'Z') => byte - b'A',
                    Some(byte @ b'2'..=b'7') => byte - b'2' + 26,
                    Some(_) => return false,
                };
                bits = (bits << 5) | u64::from(value);
            }
            // One, three or six digits end within a byte that has none of its own.
            if matches!(group.len(), 1 | 3 | 6) {
                return false;
            }
            out.extend(bits.to_be_bytes().iter().skip(3).take(group.len() * 5 / 8));
        }
        true
    })
}
