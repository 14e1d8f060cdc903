//! Numbers of JSON: whole ones, decimals and doubles, and what paths reckon with them, by the rules of Trino's types.

use std::cmp::Ordering;

use super::written::{double_text, is_whole, write_double};

/// The digits that a decimal may have.
const DECIMAL_DIGITS_MAX: u32 = 38;

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Number {
    Bigint(i64),
    Double(f64),
    /// Its digits, and how many of them are behind the point.
    Decimal(i128, u32),
    /// A whole number that no `bigint` is: it can be passed on only.
    Large(String),
}

/// What two numbers are made one by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulus,
}

impl Number {
    /// That of a text of JSON.
    pub(super) fn of_json(digits: &str) -> Self {
        if !is_whole(digits) {
            return Self::Double(digits.parse().unwrap_or(f64::NAN));
        }
        digits.parse().map_or_else(|_| Self::Large(digits.to_owned()), Self::Bigint)
    }

    /// That of a literal of a path: with a point it is a decimal, with an exponent a double.
    pub(super) fn of_literal(text: &str) -> Option<Self> {
        if text.contains(['e', 'E']) {
            return text.parse().ok().map(Self::Double);
        }
        match text.split_once('.') {
            Some((_, fraction)) => {
                let scale = u32::try_from(fraction.len()).ok()?;
                let digits: i128 = text.replace('.', "").parse().ok()?;
                in_digits(digits).filter(|_| scale <= DECIMAL_DIGITS_MAX).map(|digits| Self::Decimal(digits, scale))
            }
            None => text.parse().ok().map(Self::Bigint),
        }
    }

    pub(super) fn to_double(&self) -> Option<f64> {
        match self {
            Self::Bigint(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            Self::Decimal(digits, scale) => format!("{digits}e-{scale}").parse().ok(),
            Self::Large(_) => None,
        }
    }

    /// The place in an array, halves away from zero.
    pub(super) fn to_place(&self) -> Option<i64> {
        match self {
            Self::Bigint(value) => Some(*value),
            Self::Double(value) => whole_of(*value),
            Self::Decimal(digits, scale) => i64::try_from(rescaled(*digits, *scale, 0)?).ok(),
            Self::Large(_) => None,
        }
    }

    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bigint(left), Self::Bigint(right)) => Some(left.cmp(right)),
            (Self::Double(_), _) | (_, Self::Double(_)) => self.to_double()?.partial_cmp(&other.to_double()?),
            _ => {
                let ((left, left_scale), (right, right_scale)) = (self.to_decimal()?, other.to_decimal()?);
                let scale = left_scale.max(right_scale);
                Some(rescaled(left, left_scale, scale)?.cmp(&rescaled(right, right_scale, scale)?))
            }
        }
    }

    fn to_decimal(&self) -> Option<(i128, u32)> {
        match self {
            Self::Bigint(value) => Some((i128::from(*value), 0)),
            Self::Decimal(digits, scale) => Some((*digits, *scale)),
            Self::Double(_) | Self::Large(_) => None,
        }
    }

    /// `None` for what has no value of the type.
    pub(super) fn reckon(&self, operator: Operator, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Bigint(left), Self::Bigint(right)) => Some(Self::Bigint(match operator {
                Operator::Add => left.checked_add(*right)?,
                Operator::Subtract => left.checked_sub(*right)?,
                Operator::Multiply => left.checked_mul(*right)?,
                Operator::Divide => left.checked_div(*right)?,
                Operator::Modulus => left.checked_rem(*right)?,
            })),
            (Self::Double(_), _) | (_, Self::Double(_)) => {
                let (left, right) = (self.to_double()?, other.to_double()?);
                Some(Self::Double(match operator {
                    Operator::Add => left + right,
                    Operator::Subtract => left - right,
                    Operator::Multiply => left * right,
                    Operator::Divide => left / right,
                    Operator::Modulus => left % right,
                }))
            }
            _ => self.reckon_decimals(operator, other),
        }
    }

    fn reckon_decimals(&self, operator: Operator, other: &Self) -> Option<Self> {
        let ((left, left_scale), (right, right_scale)) = (self.to_decimal()?, other.to_decimal()?);
        let scale = left_scale.max(right_scale);
        if operator == Operator::Multiply {
            let scale = left_scale + right_scale;
            return in_digits(left.checked_mul(right)?).filter(|_| scale <= DECIMAL_DIGITS_MAX).map(|digits| Self::Decimal(digits, scale));
        }
        let (left, right) = (rescaled(left, left_scale, scale)?, rescaled(right, right_scale, scale)?);
        let digits = match operator {
            Operator::Add => left.checked_add(right)?,
            Operator::Subtract => left.checked_sub(right)?,
            Operator::Modulus => left.checked_rem(right)?,
            Operator::Divide | Operator::Multiply => divided(left.checked_mul(10_i128.checked_pow(scale)?)?, right)?,
        };
        in_digits(digits).map(|digits| Self::Decimal(digits, scale))
    }

    pub(super) fn negated(&self) -> Option<Self> {
        match self {
            Self::Bigint(value) => value.checked_neg().map(Self::Bigint),
            Self::Double(value) => Some(Self::Double(-value)),
            Self::Decimal(digits, scale) => Some(Self::Decimal(digits.checked_neg()?, *scale)),
            Self::Large(_) => None,
        }
    }

    pub(super) fn absolute(&self) -> Option<Self> {
        match self.compare(&Self::Bigint(0)) {
            Some(Ordering::Less) => self.negated(),
            _ => Some(self.clone()).filter(|number| !matches!(number, Self::Large(_))),
        }
    }

    /// The next whole number that is not larger, or not smaller.
    pub(super) fn whole(&self, is_larger: bool) -> Option<Self> {
        match self {
            Self::Bigint(value) => Some(Self::Bigint(*value)),
            Self::Double(value) => Some(Self::Double(if is_larger { value.ceil() } else { value.floor() })),
            Self::Decimal(digits, scale) => {
                let unit = 10_i128.checked_pow(*scale)?;
                let floor = digits.div_euclid(unit);
                Some(Self::Decimal(floor + i128::from(is_larger && digits.rem_euclid(unit) != 0), 0))
            }
            Self::Large(_) => None,
        }
    }

    /// As text of the type `varchar`.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Bigint(value) => value.to_string(),
            Self::Double(value) => double_text(*value),
            Self::Decimal(digits, scale) => decimal_text(*digits, *scale),
            Self::Large(digits) => digits.clone(),
        }
    }

    /// As a value of JSON is written.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Double(value) => write_double(*value, out),
            other => out.push_str(&other.to_text()),
        }
    }
}

fn in_digits(digits: i128) -> Option<i128> {
    (digits.unsigned_abs() < 10_u128.pow(DECIMAL_DIGITS_MAX)).then_some(digits)
}

/// The same number with another scale; halves go away from zero.
fn rescaled(digits: i128, from: u32, to: u32) -> Option<i128> {
    if to >= from { digits.checked_mul(10_i128.checked_pow(to - from)?) } else { divided(digits, 10_i128.checked_pow(from - to)?) }
}

/// Halves go away from zero.
fn divided(number: i128, by: i128) -> Option<i128> {
    let (quotient, rest) = (number.checked_div(by)?, number.checked_rem(by)?);
    let is_half = rest.unsigned_abs() >= by.unsigned_abs() - rest.unsigned_abs();
    let away = if (number < 0) == (by < 0) { 1 } else { -1 };
    quotient.checked_add(if is_half { away } else { 0 })
}

fn decimal_text(digits: i128, scale: u32) -> String {
    let scale = usize::try_from(scale).unwrap_or(0);
    let sign = if digits < 0 { "-" } else { "" };
    let text = format!("{:0>width$}", digits.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = text.split_at(text.len() - scale);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Halves go away from zero; `None` for what no `bigint` holds.
pub(super) fn whole_of(value: f64) -> Option<i64> {
    // The least number that is too large.
    const END: f64 = 9_223_372_036_854_775_808.0;
    let rounded = value.round();
    (-END..END).contains(&rounded).then_some(rounded as i64)
}

/// The digits of a decimal of a precision and a scale, from a text that may have an exponent; halves go away from zero. `None` if it is no number, or too large.
pub(super) fn decimal_of(text: &str, precision: u8, scale: i8) -> Option<i128> {
    // Beyond this many digits before or behind the point nothing fits, or nothing is left.
    const EXPONENT_MAX: i64 = 1_000;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if !(-EXPONENT_MAX..=EXPONENT_MAX).contains(&exponent) {
        return digits.iter().all(|digit| *digit == b'0').then_some(0).or((exponent < 0).then_some(0));
    }
    // How many of the digits, counted from the first, are kept.
    let kept = i64::try_from(whole.len()).ok()? + exponent + i64::from(scale);
    let rounds_up = usize::try_from(kept).ok().and_then(|kept| digits.get(kept)).is_some_and(|digit| *digit >= b'5');
    digits.resize(usize::try_from(kept.max(0)).ok()?, b'0');
    let mut unscaled: i128 = 0;
    for digit in digits {
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    unscaled = unscaled.checked_add(i128::from(rounds_up))?;
    let limit = 10_u128.checked_pow(u32::from(precision))?;
    (unscaled.unsigned_abs() < limit).then_some(sign * unscaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_decimals() {
        for (text, expected) in [
            ("1.555", Some(156)),
            ("-1.555", Some(-156)),
            ("1e2", Some(10_000)),
            ("15e-1", Some(150)),
            ("0.004", Some(0)),
            ("0.005", Some(1)),
            ("0.0005", Some(0)),
            ("999.99", Some(99_999)),
            ("999.995", None),
            ("1e5000", None),
            ("1e-5000", Some(0)),
            ("x", None),
            ("", None),
            (".5", Some(50)),
        ] {
            assert_eq!(decimal_of(text, 5, 2), expected, "{text}");
        }
    }

    #[test]
    fn decimals_are_reckoned_with() {
        let number = |text| Number::of_literal(text).unwrap();
        let text = |left, operator, right| number(left).reckon(operator, &number(right)).map(|number| number.to_text());
        assert_eq!(text("10", Operator::Divide, "4.0").unwrap(), "2.5");
        assert_eq!(text("3", Operator::Multiply, "1.5").unwrap(), "4.5");
        assert_eq!(text("7", Operator::Divide, "0"), None);
        assert_eq!(text("7", Operator::Divide, "0.0"), None);
        assert_eq!(text("9223372036854775807", Operator::Add, "1"), None);
        assert_eq!(number("1.05").whole(true).unwrap().to_text(), "2");
        assert_eq!(decimal_text(-5, 2), "-0.05");
        assert_eq!(number("2.50").compare(&number("2.5")), Some(Ordering::Equal));
    }
}
