//! Patterns of Joda's `DateTimeFormat`: `yyyy-MM-dd HH:mm:ss`.

use chrono::{Datelike, Utc};
use datafusion::error::Result;

use super::pattern::{Item, Number, Pattern};
use crate::invalid;

/// Digits of a year that are read at most.
const YEAR_DIGITS: usize = 9;

/// How many years before this one the middle of the hundred years is in which a year of two digits lies, and those before it.
const YEARS_BACK: i64 = 30 + 50;

/// The most letters of one kind in a row.
const LETTERS_MAX: usize = 1_000;

/// Reads a pattern. Errors: `INVALID_FUNCTION_ARGUMENT`.
pub(crate) fn parse(text: &str) -> Result<Pattern> {
    let tokens = tokens(text);
    let mut items = Vec::with_capacity(tokens.len());
    for (place, token) in tokens.iter().enumerate() {
        match token {
            Token::Text(text) => items.push(Item::Text(text.clone())),
            Token::Letters(letter, LETTERS_MAX..) => return Err(invalid(format!("there are too many '{letter}' in a pattern of dates and times"))),
            Token::Letters(letter, count) => {
                let is_before_number = matches!(tokens.get(place + 1), Some(Token::Letters(next, length)) if is_numeric(*next, *length));
                let item = item(*letter, *count, is_before_number);
                items.push(item.ok_or_else(|| invalid(format!("'{letter}' is no letter of a pattern of dates and times")))?);
            }
        }
    }
    if items.is_empty() { Err(invalid("a pattern of dates and times is empty")) } else { Ok(Pattern(items)) }
}

#[derive(Debug)]
enum Token {
    /// So many of one letter.
    Letters(char, usize),
    Text(String),
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let (mut is_quoted, mut characters) = (false, text.chars().peekable());
    while let Some(character) = characters.next() {
        if character == '\'' {
            // Two of them are one that is meant, within quotes and without.
            if characters.next_if_eq(&'\'').is_some() {
                push_text(&mut tokens, '\'');
            } else {
                is_quoted = !is_quoted;
            }
        } else if is_quoted || !character.is_ascii_alphabetic() {
            push_text(&mut tokens, character);
        } else {
            let mut count = 1;
            while characters.next_if_eq(&character).is_some() {
                count += 1;
            }
            tokens.push(Token::Letters(character, count));
        }
    }
    tokens
}

fn push_text(tokens: &mut Vec<Token>, character: char) {
    match tokens.last_mut() {
        Some(Token::Text(text)) => text.push(character),
        _ => tokens.push(Token::Text(character.to_string())),
    }
}

fn is_numeric(letter: char, count: usize) -> bool {
    match letter {
        'M' => count < 3,
        'c' | 'C' | 'x' | 'y' | 'Y' | 'd' | 'h' | 'H' | 'm' | 's' | 'S' | 'e' | 'D' | 'F' | 'w' | 'W' | 'k' | 'K' => true,
        _ => false,
    }
}

fn item(letter: char, count: usize, is_before_number: bool) -> Option<Item> {
    let year = |number: Number| match count {
        2 => Item::TwoDigits { number, since: i64::from(Utc::now().year()) - YEARS_BACK, is_lenient: !is_before_number },
        count => Item::Number(number, count, if is_before_number { count } else { YEAR_DIGITS }),
    };
    Some(match letter {
        'G' => Item::Era,
        'C' => Item::Number(Number::Century, count, count),
        'y' => year(Number::Year),
        'Y' => year(Number::YearOfEra),
        'x' => year(Number::WeekYear),
        'M' if count >= 3 => Item::MonthName { is_short: count == 3 },
        'M' => Item::Number(Number::Month, count, 2),
        'w' => Item::Number(Number::Week, count, 2),
        'd' => Item::Number(Number::Day, count, 2),
        'D' => Item::Number(Number::DayOfYear, count, 3),
        'e' => Item::Number(Number::DayOfWeek, count, 1),
        'E' => Item::DayName { is_short: count < 4 },
        'a' => Item::Halfday,
        'H' => Item::Number(Number::Hour, count, 2),
        'k' => Item::Number(Number::ClockHour, count, 2),
        'K' => Item::Number(Number::HalfdayHour, count, 2),
        'h' => Item::Number(Number::HalfdayClockHour, count, 2),
        'm' => Item::Number(Number::Minute, count, 2),
        's' => Item::Number(Number::Second, count, 2),
        'S' => Item::Fraction(count, count),
        'Z' => match count {
            1 => Item::Offset { colon: "" },
            2 => Item::Offset { colon: ":" },
            _ => Item::ZoneName,
        },
        'z' => Item::ZoneAbbreviation,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read() {
        let number = Item::Number;
        let text = |text: &str| Item::Text(text.to_owned());
        assert_eq!(parse("yyyyMM").unwrap().0, [number(Number::Year, 4, 4), number(Number::Month, 2, 2)]);
        assert_eq!(parse("yyyy-M'''at'''").unwrap().0, [number(Number::Year, 4, 9), text("-"), number(Number::Month, 1, 2), text("'at'")]);
        assert!(parse("").is_err() && parse("''").is_ok() && parse("b").is_err());
    }
}
