//! Quantities with units: large numbers written shortly, and sizes of data read.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Decimal128Type, i256};
use datafusion::error::Result;

use crate::{Call, Scalar, invalid, out_of_range};

/// What stands for a thousand, a million and so on.
const THOUSANDS: [&str; 6] = ["", "K", "M", "B", "T", "Q"];
/// What stands for powers of 1024.
const SIZES: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "format_number",
        &["(bigint) -> varchar", "(double) -> varchar"],
        format_number,
        "A number with three digits at most, and a letter for thousands, millions and so on.",
    ),
    Scalar::new("parse_data_size", &["(varchar) -> decimal"], parse_data_size, "The number of bytes of a size such as 2.3MB, by powers of 1024.")
        .also(&["parse_presto_data_size"]),
];

fn format_number(call: &Call<'_>) -> Result<ArrayRef> {
    if *call.argument(0)?.data_type() == DataType::Float64 {
        let numbers = call.double(0)?;
        return call.texts(|row| Ok(Some(short(numbers.value(row) as i64))));
    }
    let numbers = call.bigint(0)?;
    call.texts(|row| Ok(Some(short(numbers.value(row)))))
}

fn short(number: i64) -> String {
    let (mut value, mut units) = (number as f64, THOUSANDS.iter());
    let mut unit = units.next().copied().unwrap_or_default();
    while value.abs() >= 1000.0 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1000.0, next);
    }
    let digits = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    // Halves go away from zero, if they are halves to the last binary digit; `format!` makes the last digit even.
    let factor = [1.0, 10.0, 100.0][digits];
    let scaled = value * factor;
    let is_half = scaled.fract().abs() == 0.5 && value.mul_add(factor, -scaled) == 0.0;
    let value = if is_half { scaled.round() / factor } else { value };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

fn parse_data_size(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    call.primitives::<Decimal128Type>(|row| bytes_of(texts.value(row)).map(Some))
}

fn bytes_of(text: &str) -> Result<i128> {
    let wrong = || invalid(format!("'{text}' is no size of data: it is a number and one of {}", SIZES.join(", ")));
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').ok_or_else(wrong)?;
    let (number, unit) = text.split_at(end);
    let exponent = (0_u32..).zip(SIZES).find(|(_, size)| *size == unit).map(|(exponent, _)| 10 * exponent).ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(wrong());
    }
    let digits = i256::from_string(&format!("{whole}{fraction}"));
    let divisor = u32::try_from(fraction.len()).ok().and_then(|digits| i256::from_i128(10).checked_pow(digits));
    let bytes = digits.and_then(|digits| digits.checked_mul(i256::from_i128(1 << exponent)));
    let bytes = bytes.zip(divisor).and_then(|(bytes, divisor)| bytes.checked_div(divisor)).and_then(i256::to_i128);
    bytes.filter(|bytes| *bytes < 10_i128.pow(38)).ok_or_else(|| out_of_range(format!("'{text}' has too many bytes for a decimal(38,0)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1234, "1.23K"),
            (999_999, "1000K"),
            (-1_234_567, "-1.23M"),
            (i64::MAX, "9223Q"),
            (1125, "1.13K"),
            (10_350, "10.3K"),
            (100_500, "101K"),
        ] {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes_of("2.3MB").unwrap(), 2_411_724);
        assert_eq!(bytes_of(".5kB").unwrap(), 512);
        for wrong in ["", "1", "B", ".B", "1.1.1B", "-1B", "1KB", "1é"] {
            assert!(bytes_of(wrong).is_err(), "{wrong}");
        }
        assert!(bytes_of("99999999999999YB").is_err() && bytes_of(&format!("{}kB", "9".repeat(500))).is_err());
    }
}
