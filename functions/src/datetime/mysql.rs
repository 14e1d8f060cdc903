//! Patterns of MySQL's `date_format`: `%Y-%m-%d %H:%i:%s`.

use datafusion::error::Result;

use super::pattern::{Item, Number, Pattern};
use crate::invalid;

/// The first year that two digits may mean.
const TWO_DIGITS_SINCE: i64 = 1970;

/// Reads a pattern. Errors: `INVALID_FUNCTION_ARGUMENT`.
pub(crate) fn parse(text: &str) -> Result<Pattern> {
    let mut items: Vec<Item> = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' => {
                let letter = characters.next().ok_or_else(|| invalid("a pattern of dates and times ends with '%'"))?;
                push(letter, &mut items)?;
            }
            character => push_text(character, &mut items),
        }
    }
    if items.is_empty() { Err(invalid("a pattern of dates and times is empty")) } else { Ok(Pattern(items)) }
}

fn push(letter: char, items: &mut Vec<Item>) -> Result<()> {
    let item = match letter {
        'a' => Item::DayName { is_short: true },
        'b' => Item::MonthName { is_short: true },
        'c' => Item::Number(Number::Month, 1, 2),
        'd' => Item::Number(Number::Day, 2, 2),
        'e' => Item::Number(Number::Day, 1, 2),
        'f' => Item::Fraction(6, 9),
        'H' => Item::Number(Number::Hour, 2, 2),
        'h' | 'I' => Item::Number(Number::HalfdayClockHour, 2, 2),
        'i' => Item::Number(Number::Minute, 2, 2),
        'j' => Item::Number(Number::DayOfYear, 3, 3),
        'k' => Item::Number(Number::Hour, 1, 2),
        'l' => Item::Number(Number::HalfdayClockHour, 1, 2),
        'M' => Item::MonthName { is_short: false },
        'm' => Item::Number(Number::Month, 2, 2),
        'p' => Item::Halfday,
        'r' => return together("h:i:s p", items),
        'S' | 's' => Item::Number(Number::Second, 2, 2),
        'T' => return together("H:i:s", items),
        'v' => Item::Number(Number::Week, 2, 2),
        'W' => Item::DayName { is_short: false },
        'x' => Item::Number(Number::WeekYear, 4, 4),
        'Y' => Item::Number(Number::Year, 4, 4),
        'y' => Item::TwoDigits { number: Number::Year, since: TWO_DIGITS_SINCE, is_lenient: false },
        'D' | 'U' | 'u' | 'V' | 'w' | 'X' => return Err(invalid(format!("%{letter} is not supported in a pattern of dates and times"))),
        other => {
            push_text(other, items);
            return Ok(());
        }
    };
    items.push(item);
    Ok(())
}

/// Letters that stand for several.
fn together(letters: &str, items: &mut Vec<Item>) -> Result<()> {
    for letter in letters.chars() {
        if letter.is_ascii_alphabetic() { push(letter, items)? } else { push_text(letter, items) }
    }
    Ok(())
}

fn push_text(character: char, items: &mut Vec<Item>) {
    match items.last_mut() {
        Some(Item::Text(text)) => text.push(character),
        _ => items.push(Item::Text(character.to_string())),
    }
}
