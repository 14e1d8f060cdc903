//! Numbers written in other bases than ten.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("from_base", &["(varchar, bigint) -> bigint"], from_base, "The number that a text is in a base."),
    Scalar::new("to_base", &["(bigint, bigint) -> varchar"], to_base, "A number as a text in a base."),
];

/// A base for which there are digits.
fn base(value: i64) -> Result<u32> {
    u32::try_from(value).ok().filter(|base| (2..=36).contains(base)).ok_or_else(|| invalid(format!("a base is a number from 2 to 36, not {value}")))
}

fn from_base(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, bases) = (call.text(0)?, call.bigint(1)?);
    call.bigints(|row| {
        let (text, base) = (texts.value(row), base(bases.value(row))?);
        i64::from_str_radix(text, base).map(Some).map_err(|_| invalid(format!("'{text}' is no bigint in base {base}")))
    })
}

fn to_base(call: &Call<'_>) -> Result<ArrayRef> {
    let (numbers, bases) = (call.bigint(0)?, call.bigint(1)?);
    call.texts(|row| Ok(Some(written(numbers.value(row), base(bases.value(row))?))))
}

fn written(number: i64, base: u32) -> String {
    let base = u64::from(base);
    let mut rest = number.unsigned_abs();
    let mut text = Vec::new();
    loop {
        let digit = usize::try_from(rest % base).unwrap_or_default();
        text.push(char::from(DIGITS[digit]));
        rest /= base;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        text.push('-');
    }
    text.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for number in [0, 1, -1, 255, i64::MAX, i64::MIN] {
            for base in [2, 10, 36] {
                assert_eq!(i64::from_str_radix(&written(number, base), base), Ok(number));
            }
        }
    }
}
