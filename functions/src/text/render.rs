//! Values for a terminal, in its codes for colours. Trino's type `color` is text here: `red` for one of the eight that a terminal has, `#ff0000` for one of red, green and blue.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::error::Result;

use crate::json::written::{java_text, not_finite};
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new(
        "bar",
        &["(double, bigint) -> varchar", "(double, bigint, varchar, varchar) -> varchar"],
        bar,
        "A bar of which a part is drawn, 1 for all of the width; from red to green, or from one colour to another.",
    ),
    Scalar::new(
        "color",
        &["(varchar) -> varchar", "(double, varchar, varchar) -> varchar", "(double, double, double, varchar, varchar) -> varchar"],
        color,
        "The colour of a name or of #rgb; or one between two colours, by a fraction or by a value between two others.",
    ),
    Scalar::new(
        "render",
        &["(boolean) -> varchar", "(bigint, varchar) -> varchar", "(double, varchar) -> varchar", "(varchar, varchar) -> varchar"],
        render,
        "A green check mark for true and a red cross for false; or a value in a colour.",
    ),
    Scalar::new("rgb", &["(bigint, bigint, bigint) -> varchar"], rgb, "The colour of that much red, green and blue, each from 0 to 255."),
];

/// The widest bar, in characters.
const WIDTH_MAX: i64 = 1_000_000;

/// What ends a colour.
const RESET: &str = "\u{1b}[0m";

/// The colours that a terminal has, in the order of their codes.
const NAMES: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

const RED: Rgb = Rgb([255, 0, 0]);
const GREEN: Rgb = Rgb([0, 255, 0]);

/// Red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rgb([u8; 3]);

impl Rgb {
    /// Reads `#ff0000`.
    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let number = u32::from_str_radix(digits, 16).ok()?;
        let [_, red, green, blue] = number.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    fn written(self) -> String {
        let Self([red, green, blue]) = self;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// The number among the 256 colours of a terminal.
    fn code(self) -> u32 {
        let [red, green, blue] = self.0.map(|level| u32::from(level) * 6 / 256);
        16 + red * 36 + green * 6 + blue
    }

    /// Hue, saturation and brightness, each from 0 to 1, as Java's `Color.RGBtoHSB`.
    fn hsb(self) -> [f32; 3] {
        let [red, green, blue] = self.0.map(f32::from);
        let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
        let brightness = most / 255.0;
        if most == least {
            return [0.0, 0.0, brightness];
        }
        let range = most - least;
        let [red_part, green_part, blue_part] = [red, green, blue].map(|level| (most - level) / range);
        let hue = if red == most {
            blue_part - green_part
        } else if green == most {
            2.0 + red_part - blue_part
        } else {
            4.0 + green_part - red_part
        } / 6.0;
        [if hue < 0.0 { hue + 1.0 } else { hue }, range / most, brightness]
    }

    /// As Java's `Color.HSBtoRGB`.
    fn of_hsb([hue, saturation, brightness]: [f32; 3]) -> Self {
        let level = |value: f32| (value * 255.0 + 0.5) as u8;
        if saturation == 0.0 {
            return Self([level(brightness); 3]);
        }
        let place = (hue - hue.floor()) * 6.0;
        let part = place - place.floor();
        let [falling, rising] = [part, 1.0 - part].map(|part| level(brightness * (1.0 - saturation * part)));
        let (most, least) = (level(brightness), level(brightness * (1.0 - saturation)));
        Self(match place as u32 {
            0 => [most, rising, least],
            1 => [falling, most, least],
            2 => [least, most, rising],
            3 => [least, falling, most],
            4 => [rising, least, most],
            _ => [most, least, falling],
        })
    }

    /// The colour at a fraction of the way to another one.
    fn towards(self, other: Self, fraction: f32) -> Self {
        let (from, to) = (self.hsb(), other.hsb());
        Self::of_hsb([0, 1, 2].map(|part| fraction * (to[part] - from[part]) + from[part]))
    }
}

/// Errors: `INVALID_FUNCTION_ARGUMENT` for a colour that is not of red, green and blue.
fn mixed(text: &str) -> Result<Rgb> {
    Rgb::read(text).ok_or_else(|| invalid(format!("'{text}' is no colour of red, green and blue: rgb gives one")))
}

fn color(call: &Call<'_>) -> Result<ArrayRef> {
    if call.len() == 1 {
        let names = call.text(0)?;
        return call.texts(|row| named(names.value(row)).map(Some));
    }
    let last = call.len() - 1;
    let (values, lows, highs) = (call.double(0)?, call.text(last - 1)?, call.text(last)?);
    let bounds = if call.len() == 5 { Some((call.double(1)?, call.double(2)?)) } else { None };
    call.texts(|row| {
        let value = values.value(row);
        let fraction = match bounds {
            Some((least, most)) => (value - least.value(row)) / (most.value(row) - least.value(row)),
            None => value,
        };
        // The lesser of one and NaN is NaN in Java.
        let fraction = if fraction.is_nan() { fraction } else { fraction.clamp(0.0, 1.0) };
        Ok(Some(mixed(lows.value(row))?.towards(mixed(highs.value(row))?, fraction as f32).written()))
    })
}

/// The colour of a name in any letters, or of `#f00`.
fn named(text: &str) -> Result<String> {
    let name = text.to_ascii_lowercase();
    if NAMES.contains(&name.as_str()) {
        return Ok(name);
    }
    let digits = name.strip_prefix('#').filter(|digits| digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    match digits {
        Some(digits) => Ok(std::iter::once('#').chain(digits.chars().flat_map(|digit| [digit, digit])).collect()),
        None => Err(invalid(format!("'{text}' is no colour: there are {}, and #rgb", NAMES.join(", ")))),
    }
}

fn rgb(call: &Call<'_>) -> Result<ArrayRef> {
    let parts = [("red", call.bigint(0)?), ("green", call.bigint(1)?), ("blue", call.bigint(2)?)];
    call.texts(|row| {
        let mut levels = [0; 3];
        for (level, (name, values)) in levels.iter_mut().zip(&parts) {
            let value = values.value(row);
            *level = u8::try_from(value).map_err(|_| invalid(format!("{name} must be between 0 and 255, not {value}")))?;
        }
        Ok(Some(Rgb(levels).written()))
    })
}

fn render(call: &Call<'_>) -> Result<ArrayRef> {
    if call.len() == 1 {
        let values = call.boolean(0)?;
        return call.texts(|row| Ok(Some(if values.value(row) { "\u{1b}[38;5;2m✓\u{1b}[0m" } else { "\u{1b}[38;5;1m✗\u{1b}[0m" })));
    }
    let colors = call.text(1)?;
    let in_color = |row: usize, value: &str| {
        let text = colors.value(row);
        let code = match (NAMES.iter().zip(0_u32..).find(|(name, _)| **name == text), Rgb::read(text)) {
            (Some((_, code)), _) => code,
            (None, Some(color)) => color.code(),
            (None, None) => return Err(invalid(format!("'{text}' is no colour: color gives one"))),
        };
        Ok(Some(format!("\u{1b}[38;5;{code}m{value}{RESET}")))
    };
    match call.argument(0)?.data_type() {
        DataType::Int64 => {
            let values = call.bigint(0)?;
            call.texts(|row| in_color(row, &values.value(row).to_string()))
        }
        DataType::Float64 => {
            let values = call.double(0)?;
            call.texts(|row| in_color(row, &java_double(values.value(row))))
        }
        _ => {
            let values = call.text(0)?;
            call.texts(|row| in_color(row, values.value(row)))
        }
    }
}

/// A number as Java writes it.
fn java_double(value: f64) -> String {
    if value.is_finite() { java_text(&format!("{value:e}")) } else { not_finite(value).to_owned() }
}

fn bar(call: &Call<'_>) -> Result<ArrayRef> {
    let (parts, widths) = (call.double(0)?, call.bigint(1)?);
    let colors = if call.len() == 4 { Some((call.text(2)?, call.text(3)?)) } else { None };
    call.written_texts(|row, out| {
        let width = widths.value(row).max(0);
        if width > WIDTH_MAX {
            return Err(invalid(format!("a bar is at most {WIDTH_MAX} characters wide, not {width}")));
        }
        let (low, high) = match colors {
            Some((lows, highs)) => (mixed(lows.value(row))?, mixed(highs.value(row))?),
            None => (RED, GREEN),
        };
        let drawn = ((parts.value(row) * width as f64) as i64).clamp(0, width);
        for place in 0..drawn {
            let color = low.towards(high, (place as f64 / (width - 1) as f64) as f32).code();
            out.push_str(&format!("\u{1b}[38;5;{color}m█"));
        }
        out.push_str(RESET);
        out.extend((drawn..width).map(|_| ' '));
        Ok(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_mixed_by_their_hues() {
        let (from, to) = (Rgb([10, 20, 30]), Rgb([200, 100, 50]));
        for (fraction, expected) in [(0.0, "#0a141e"), (0.3, "#195138"), (1.0, "#c86432")] {
            assert_eq!(from.towards(to, fraction).written(), expected);
        }
        assert_eq!([RED.towards(GREEN, 0.2).written(), RED.towards(GREEN, 0.25).written()], ["#ff6600", "#ff8000"]);
        assert_eq!([Rgb([128, 64, 200]), Rgb([255, 255, 255])].map(Rgb::code), [134, 231]);
    }

    #[test]
    fn colours_have_names() {
        assert_eq!(["#0aF", "Red"].map(|name| named(name).unwrap()), ["#00aaff", "red"]);
        assert!(["#ff0000", "#ggg", "nope"].iter().all(|name| named(name).is_err()));
    }
}
