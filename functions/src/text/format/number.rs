//! Numbers as conversions write them.

use datafusion::error::Result;

use super::digits::Digits;
use super::spec::Spec;
use super::value::Value;
use crate::not_supported;

/// `%d`.
pub(super) fn decimal(spec: &Spec, value: i64, out: &mut String) {
    signed(spec, value < 0, &grouped(spec, value.unsigned_abs().to_string()), "", out);
}

/// `%x` and `%o`: of a negative number all bits.
pub(super) fn unsigned(spec: &Spec, value: i64, out: &mut String) {
    let (digits, prefix) = if spec.conversion == 'x' { (format!("{value:x}"), "0x") } else { (format!("{value:o}"), "0") };
    let prefix = if spec.alternative { prefix } else { "" };
    let zeros = if spec.zeros { spec.width.unwrap_or_default().saturating_sub(digits.len() + prefix.len()) } else { 0 };
    let text = format!("{prefix}{}{digits}", "0".repeat(zeros));
    if spec.upper { spec.justify(&text.to_uppercase(), out) } else { spec.justify(&text, out) }
}

/// `%f`, `%e` and `%g`; `None` for a value that is no fraction.
pub(super) fn fraction(spec: &Spec, value: &Value<'_>, out: &mut String) -> Option<()> {
    let (is_negative, digits) = match value {
        Value::Double(value) => (value.is_sign_negative(), double(spec, *value, out)),
        Value::Real(value) => (value.is_sign_negative(), double(spec, f64::from(*value), out)),
        Value::Decimal(unscaled, scale) => (*unscaled < 0, Some(Digits::decimal(*unscaled, *scale))),
        _ => return None,
    };
    let Some(digits) = digits else { return Some(()) };
    let precision = spec.precision.unwrap_or(6);
    match spec.conversion {
        'f' => fixed(spec, is_negative, &digits, precision, out),
        'e' => scientific(spec, is_negative, &digits, precision, out),
        _ => {
            let count = precision.max(1);
            let exponent = digits.rounded(count as i64).exponent();
            match usize::try_from(count as i64 - exponent - 1) {
                Ok(precision) if exponent >= -4 => fixed(spec, is_negative, &digits, precision, out),
                _ => scientific(spec, is_negative, &digits, count - 1, out),
            }
        }
    }
    Some(())
}

/// The digits of a number; what has none is written at once.
fn double(spec: &Spec, value: f64, out: &mut String) -> Option<Digits> {
    if value.is_finite() {
        return Some(Digits::shortest(value));
    }
    let text = match (value.is_nan(), value < 0.0) {
        (true, _) => "NaN".to_owned(),
        (_, true) if spec.parentheses => "(Infinity)".to_owned(),
        (_, true) => "-Infinity".to_owned(),
        _ => format!("{}Infinity", sign(spec)),
    };
    if spec.upper {
        spec.justify(&text.to_uppercase(), out)
    } else {
        spec.justify(&text, out)
    }
    None
}

fn fixed(spec: &Spec, is_negative: bool, digits: &Digits, precision: usize, out: &mut String) {
    let mut text = grouped(spec, digits.fixed(precision));
    if spec.alternative && precision == 0 {
        text.push('.');
    }
    signed(spec, is_negative, &text, "", out);
}

fn scientific(spec: &Spec, is_negative: bool, digits: &Digits, precision: usize, out: &mut String) {
    let (mut text, exponent) = digits.scientific(precision);
    if spec.alternative && precision == 0 {
        text.push('.');
    }
    let exponent = format!("{}{}{:02}", if spec.upper { 'E' } else { 'e' }, if exponent < 0 { '-' } else { '+' }, exponent.abs());
    signed(spec, is_negative, &text, &exponent, out);
}

/// What stands before a number that is not negative.
fn sign(spec: &Spec) -> &'static str {
    match (spec.plus, spec.space) {
        (true, _) => "+",
        (_, true) => " ",
        _ => "",
    }
}

/// Writes a number with its sign, filled up with zeros or spaces.
fn signed(spec: &Spec, is_negative: bool, number: &str, exponent: &str, out: &mut String) {
    let (before, behind) = match is_negative {
        true if spec.parentheses => ("(", ")"),
        true => ("-", ""),
        false => (sign(spec), ""),
    };
    let length = before.len() + number.len() + exponent.len() + behind.len();
    let zeros = if spec.zeros { spec.width.unwrap_or_default().saturating_sub(length) } else { 0 };
    spec.justify(&format!("{before}{}{number}{exponent}{behind}", "0".repeat(zeros)), out);
}

/// A number with commas between its thousands, if they are wanted.
fn grouped(spec: &Spec, number: String) -> String {
    if !spec.groups {
        return number;
    }
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut out = String::with_capacity(number.len() + whole.len() / 3);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

/// `%a`: the bits of a number in hexadecimal digits.
pub(super) fn hexadecimal(spec: &Spec, value: f64) -> Result<String> {
    if spec.precision.is_some() || spec.zeros || spec.plus || spec.space {
        return Err(not_supported("format: '%a' with a precision or a flag is not supported"));
    }
    if !value.is_finite() {
        return Ok(if value.is_nan() { "NaN".to_owned() } else { format!("{}Infinity", if value < 0.0 { "-" } else { "" }) });
    }
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let fraction_text = format!("{fraction:013x}");
    let fraction_text = match fraction_text.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    let (first, power) = match (exponent, fraction) {
        (0, 0) => (0, 0),
        (0, _) => (0, -1022),
        (exponent, _) => (1, exponent as i64 - 1023),
    };
    Ok(format!("{}0x{first}.{fraction_text}p{power}", if value.is_sign_negative() { "-" } else { "" }))
}
