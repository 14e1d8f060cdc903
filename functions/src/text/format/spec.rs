//! Templates: text with conversions in it.

use datafusion::error::{DataFusionError, Result};

use crate::invalid;

/// The most characters that a conversion is told to write.
const WIDTH_MAX: usize = 1_000_000;

/// A part of a template.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// `%%`.
    Percent(Spec),
    Value(Source, Spec),
}

/// Which value a conversion takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Source {
    /// The one behind that of the last conversion of this kind.
    Next,
    /// That of the last conversion, `%<s`.
    Same,
    /// That at a place from 0 on, `%1$s`.
    At(usize),
}

/// How a value is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Spec {
    /// As it is written, for errors.
    written: String,
    /// `-`.
    pub(super) left: bool,
    /// `#`.
    pub(super) alternative: bool,
    /// `+`.
    pub(super) plus: bool,
    /// A space.
    pub(super) space: bool,
    /// `0`.
    pub(super) zeros: bool,
    /// `,`.
    pub(super) groups: bool,
    /// `(`.
    pub(super) parentheses: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    /// The conversion in lower case.
    pub(super) conversion: char,
    /// Whether it is in upper case.
    pub(super) upper: bool,
    /// What of a moment is written.
    pub(super) field: char,
}

/// Takes a template apart. Errors: `INVALID_FUNCTION_ARGUMENT`.
pub(super) fn parse(template: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, behind)) = rest.split_once('%') {
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let (piece, behind) = conversion(behind)?;
        pieces.push(piece);
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

/// The number at the start of a text, and what is behind it.
fn number(text: &str) -> (Option<&str>, &str) {
    let (digits, behind) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    (Some(digits).filter(|digits| !digits.is_empty()), behind)
}

/// Reads what is behind a percent sign.
fn conversion(text: &str) -> Result<(Piece, &str)> {
    let mut spec = Spec::default();
    let mut rest = text;
    let mut source = Source::Next;
    let unknown = || invalid(format!("format: '%{}' is not a conversion", text.chars().take(10).collect::<String>()));
    if let (Some(digits), behind) = number(text)
        && let Some(behind) = behind.strip_prefix('$')
    {
        let place = digits.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
        source = Source::At(place.ok_or_else(unknown)?);
        rest = behind;
    }
    loop {
        let flag = match rest.chars().next() {
            Some('-') => &mut spec.left,
            Some('#') => &mut spec.alternative,
            Some('+') => &mut spec.plus,
            Some(' ') => &mut spec.space,
            Some('0') => &mut spec.zeros,
            Some(',') => &mut spec.groups,
            Some('(') => &mut spec.parentheses,
            Some('<') => {
                source = Source::Same;
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            _ => break,
        };
        if std::mem::replace(flag, true) {
            return Err(unknown());
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    let size = |digits: &str| digits.parse::<usize>().ok().filter(|&size| size <= WIDTH_MAX).ok_or_else(unknown);
    if let (Some(digits), behind) = number(rest) {
        spec.width = Some(size(digits)?);
        rest = behind;
    }
    if let Some(behind) = rest.strip_prefix('.') {
        let (digits, behind) = number(behind);
        spec.precision = Some(size(digits.ok_or_else(unknown)?)?);
        rest = behind;
    }
    let mut characters = rest.chars();
    let written = characters.next().ok_or_else(unknown)?;
    spec.upper = written.is_ascii_uppercase();
    spec.conversion = written.to_ascii_lowercase();
    if spec.conversion == 't' {
        spec.field = characters.next().ok_or_else(unknown)?;
    }
    let behind = characters.as_str();
    spec.written = text.get(..text.len() - behind.len()).unwrap_or_default().to_owned();
    // Some have no form in upper case.
    if spec.upper && matches!(spec.conversion, 'd' | 'o' | 'f' | 'n') {
        return Err(unknown());
    }
    spec.check()?;
    let piece = match spec.conversion {
        '%' => Piece::Percent(spec),
        'n' => Piece::Text("\n".to_owned()),
        _ => Piece::Value(source, spec),
    };
    Ok((piece, behind))
}

impl Spec {
    /// The error of a conversion.
    pub(super) fn wrong(&self, what: &str) -> DataFusionError {
        invalid(format!("format: conversion '%{}' cannot be used: {what}", self.written))
    }

    /// Checks that the conversion takes its flags.
    fn check(&self) -> Result<()> {
        // Whether there are flags, besides `-`, that the conversion does not take.
        let (has_others, takes_precision) = match self.conversion {
            'b' | 'h' | 's' => (self.alternative || self.of_numbers(), true),
            'c' | 't' | '%' => (self.alternative || self.of_numbers(), false),
            'n' => (self.alternative || self.of_numbers() || self.left || self.width.is_some(), false),
            'd' => (self.alternative, false),
            'o' | 'x' => (self.groups || self.parentheses || self.space || self.plus, false),
            'e' => (self.groups, true),
            'f' => (false, true),
            'g' => (self.alternative, true),
            'a' => (self.groups || self.parentheses, true),
            _ => return Err(self.wrong("it is not known")),
        };
        if has_others {
            return Err(self.wrong("it has a flag which it does not take"));
        }
        if self.precision.is_some() && !takes_precision {
            return Err(self.wrong("it takes no precision"));
        }
        if (self.left || self.zeros) && self.width.is_none() {
            return Err(self.wrong("it needs a width"));
        }
        if self.left && self.zeros || self.plus && self.space {
            return Err(self.wrong("it has flags that exclude each other"));
        }
        Ok(())
    }

    fn of_numbers(&self) -> bool {
        self.plus || self.space || self.zeros || self.groups || self.parentheses
    }

    /// Writes a text, cut at the precision.
    pub(super) fn general(&self, text: &str, out: &mut String) {
        let mut units = 0;
        let end = text.char_indices().find(|(_, character)| {
            units += character.len_utf16();
            self.precision.is_some_and(|precision| units > precision)
        });
        let text = end.map_or(text, |(end, _)| text.get(..end).unwrap_or_default());
        if self.upper { self.justify(&text.to_uppercase(), out) } else { self.justify(text, out) }
    }

    /// Writes a text, filled up with spaces to the width, which Java counts in units of UTF-16.
    pub(super) fn justify(&self, text: &str, out: &mut String) {
        let missing = self.width.unwrap_or_default().saturating_sub(text.chars().map(char::len_utf16).sum());
        let spaces = std::iter::repeat_n(' ', missing);
        if self.left {
            out.push_str(text);
            out.extend(spaces);
        } else {
            out.extend(spaces);
            out.push_str(text);
        }
    }
}
