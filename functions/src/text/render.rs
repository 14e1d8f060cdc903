//! Values for a terminal, in its codes for colours.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("bar", &["(double, bigint) -> varchar"], bar, "A bar from red to green of which a part is drawn, 1 for all of the width."),
    Scalar::new("render", &["(boolean) -> varchar"], render, "A green check mark for true and a red cross for false."),
];

/// The widest bar, in characters.
const WIDTH_MAX: i64 = 1_000_000;

/// What ends a colour.
const RESET: &str = "\u{1b}[0m";

fn render(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.boolean(0)?;
    call.texts(|row| Ok(Some(if values.value(row) { "\u{1b}[38;5;2m✓\u{1b}[0m" } else { "\u{1b}[38;5;1m✗\u{1b}[0m" })))
}

fn bar(call: &Call<'_>) -> Result<ArrayRef> {
    let (parts, widths) = (call.double(0)?, call.bigint(1)?);
    call.written_texts(|row, out| {
        let width = widths.value(row).max(0);
        if width > WIDTH_MAX {
            return Err(invalid(format!("a bar is at most {WIDTH_MAX} characters wide, not {width}")));
        }
        let drawn = ((parts.value(row) * width as f64) as i64).clamp(0, width);
        for place in 0..drawn {
            let color = color((place as f64 / (width - 1) as f64) as f32);
            out.push_str(&format!("\u{1b}[38;5;{color}m█"));
        }
        out.push_str(RESET);
        out.extend((drawn..width).map(|_| ' '));
        Ok(true)
    })
}

/// The number among 256 colours of one between red, 0, and green, 1, by its hue.
fn color(fraction: f32) -> u32 {
    let hue = fraction * (2.0 / 6.0) * 6.0;
    let part = hue - hue.floor();
    let level = |value: f32| (value * 255.0 + 0.5) as u32;
    let (red, green) = match hue as u32 {
        0 => (255, level(part)),
        1 => (level(1.0 - part), 255),
        _ => (0, 255),
    };
    16 + red * 6 / 256 * 36 + green * 6 / 256 * 6
}
