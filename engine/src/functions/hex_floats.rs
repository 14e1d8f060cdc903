//! Floating-point numbers in hexadecimal digits, as Java reads them: `0x1.8p3` is 12.

/// How many binary digits a type of floating-point numbers has, and the exponent of its least number with all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Width {
    digits: i64,
    exponent_min: i64,
}

/// Those of `double`.
pub(super) const DOUBLE: Width = Width { digits: 53, exponent_min: -1022 };
/// Those of `real`.
pub(super) const REAL: Width = Width { digits: 24, exponent_min: -126 };

/// An exponent that is beyond all numbers.
const EXPONENT_FAR: i64 = 1 << 32;

/// The number, rounded to that width, halves to the even one; `None` for what is none. `text` has no spaces around it.
pub(super) fn hex_float(text: &str, width: Width) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X"))?;
    let (digits, exponent) = digits.split_once(['p', 'P'])?;
    let exponent = binary_exponent(exponent.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(exponent))?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // The first 16 digits that count, the power of two by which they are to be multiplied, and whether there is anything behind them.
    let (mut mantissa, mut power, mut has_rest) = (0_u64, exponent, false);
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = u64::from(digit.to_digit(16)?);
        if mantissa >> 60 == 0 {
            mantissa = (mantissa << 4) | digit;
        } else {
            has_rest |= digit != 0;
            power += 4;
        }
    }
    power -= 4 * i64::try_from(fraction.len()).ok()?;
    let number = rounded(mantissa, power, has_rest, width);
    Some(if text.starts_with('-') { -number } else { number })
}

fn binary_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let exponent = digits.parse::<i64>().unwrap_or(EXPONENT_FAR).min(EXPONENT_FAR);
    Some(if text.starts_with('-') { -exponent } else { exponent })
}

/// `mantissa * 2^power`, and a bit more if there is a rest.
fn rounded(mantissa: u64, power: i64, has_rest: bool, width: Width) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let zeros = i64::from(mantissa.leading_zeros());
    let (mantissa, power) = (u128::from(mantissa << zeros), power - zeros);
    // Numbers below the least exponent have fewer digits.
    let missing = (width.exponent_min - (power + 63)).max(0);
    let dropped = 64 - width.digits + missing;
    if dropped > 65 {
        return 0.0;
    }
    let (kept, rest, half) = (mantissa >> dropped, mantissa & ((1_u128 << dropped) - 1), 1_u128 << (dropped - 1));
    let is_up = rest > half || rest == half && (has_rest || kept % 2 == 1);
    // Both are exact: so many digits a double has.
    scaled((kept + u128::from(is_up)) as f64, power + dropped)
}

/// `number * 2^power`, in two steps since no single factor reaches the least numbers.
fn scaled(number: f64, power: i64) -> f64 {
    // Beyond this all are infinite, or zero.
    let power = i32::try_from(power.clamp(-2_200, 2_200)).unwrap_or(0);
    let first = power / 2;
    number * 2_f64.powi(first) * 2_f64.powi(power - first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are those of Trino 476.
    #[test]
    fn numbers_are_those_of_java() {
        for (text, number) in [
            ("0x1p3", 8.0),
            ("-0x.8p1", -1.0),
            ("0X1.P+3d", 8.0),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1p-1075", 0.0),
            ("0x1.8p-1074", 1e-323),
            ("0x1p2000", f64::INFINITY),
            ("0x1p99999999999999999999", f64::INFINITY),
            ("0x0p99999999999999999999", 0.0),
            ("0x123456789abcdef01p1", 4.197659095884129e19),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000001p0", 1.0000000000000002),
        ] {
            assert_eq!(hex_float(text, DOUBLE), Some(number), "{text}");
        }
        assert_eq!([hex_float("0x1.000002p0", REAL), hex_float("0x1.000001p0", REAL)], [Some(f64::from(1.000_000_1_f32)), Some(1.0)]);
        for text in ["0x1", "0x1p", "0xp1", "0x.p1", "1p1", "0xgp1", "0x1p1x", "", "0x1.1.1p1"] {
            assert_eq!(hex_float(text, DOUBLE), None, "{text}");
        }
    }
}
