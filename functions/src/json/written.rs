//! How Java writes numbers and text, which is how Trino writes JSON.

use std::cmp::Ordering;

/// Java's order of texts: by units of 16 bits.
pub(crate) fn compare_names(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() { left.cmp(right) } else { left.encode_utf16().cmp(right.encode_utf16()) }
}

/// Whether a number is written without a fraction and an exponent.
pub(crate) fn is_whole(digits: &str) -> bool {
    !digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// Whole numbers keep their digits; others become those of a `double`.
pub(crate) fn write_number(digits: &str, out: &mut String) {
    if digits == "-0" {
        out.push('0');
    } else if is_whole(digits) {
        out.push_str(digits);
    } else {
        write_double(digits.parse().unwrap_or(f64::NAN), out);
    }
}

/// Writes a `double`; what is no number becomes text.
pub(crate) fn write_double(value: f64, out: &mut String) {
    if value.is_finite() {
        out.push_str(&java_text(&format!("{value:e}")));
    } else {
        out.push('"');
        out.push_str(not_finite(value));
        out.push('"');
    }
}

/// The name of what is no number.
pub(crate) fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// A floating-point number as Java writes it, from the text with its fewest digits and an exponent (`1.5e-7`).
pub(crate) fn java_text(scientific: &str) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-3..7).contains(&exponent) {
        let point = if mantissa.contains('.') { "" } else { ".0" };
        return format!("{mantissa}{point}E{exponent}");
    }
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    let Ok(whole_digits) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    };
    if whole_digits == 0 {
        return format!("{sign}0.{digits}");
    }
    if digits.len() <= whole_digits {
        return format!("{sign}{digits:0<whole_digits$}.0");
    }
    let (whole, fraction) = digits.split_at(whole_digits);
    format!("{sign}{whole}.{fraction}")
}

/// A `double` as its cast to `varchar` writes it: `1.5E0`.
pub(crate) fn double_text(value: f64) -> String {
    if !value.is_finite() {
        return not_finite(value).to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific.as_str(), "0"));
    let point = if mantissa.contains('.') || value == 0.0 { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

/// The same of a `real`, which has seven digits at most.
pub(crate) fn real_text(value: f32) -> String {
    if !value.is_finite() || value == 0.0 {
        return double_text(f64::from(value));
    }
    let shortest = format!("{value:e}");
    let digits = shortest.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    let scientific = if digits > 7 { format!("{value:.6e}") } else { shortest };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific.as_str(), "0"));
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

/// Writes text in quotes.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..' ' => out.push_str(&format!("\\u{:04X}", u32::from(character))),
            // As Java's library does: two escapes for what is beyond 16 bits.
            '\u{1_0000}'.. => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_java_does() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.001, "0.001"),
            (0.0001, "1.0E-4"),
            (0.25, "0.25"),
            (-12.5, "-12.5"),
            (1_234_567.0, "1234567.0"),
            (12_345_678.0, "1.2345678E7"),
            (1e100, "1.0E100"),
            (120.0, "120.0"),
        ] {
            assert_eq!(java_text(&format!("{value:e}")), text);
        }
        assert_eq!([double_text(1.5), double_text(100.0), double_text(0.0)], ["1.5E0", "1.0E2", "0E0"]);
        for (value, text) in [(16_777_216.0, "1.677722E7"), (0.1, "1.0E-1"), (1e10, "1.0E10"), (0.0, "0E0"), (f32::NAN, "NaN")] {
            assert_eq!(real_text(value), text);
        }
    }
}
