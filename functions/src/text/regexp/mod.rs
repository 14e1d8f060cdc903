//! Regular expressions in Java's syntax.

mod class;
mod pattern;
mod syntax;

use arrow::array::ArrayRef;
use arrow::datatypes::Int32Type;
use datafusion::error::Result;
use fancy_regex::{Captures, Regex};

pub(crate) use self::pattern::{Matches, Patterns};
use self::pattern::{failed, group_number};
use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("regexp_count", &["(varchar, varchar) -> bigint"], count, "How often a pattern is found in a text."),
    Scalar::new(
        "regexp_extract",
        &["(varchar, varchar) -> varchar", "(varchar, varchar, bigint) -> varchar"],
        extract,
        "What a pattern, or a group of it, finds first in a text.",
    ),
    Scalar::new(
        "regexp_extract_all",
        &["(varchar, varchar) -> array(varchar)", "(varchar, varchar, bigint) -> array(varchar)"],
        extract_all,
        "All that a pattern, or a group of it, finds in a text.",
    ),
    Scalar::new("regexp_like", &["(varchar, varchar) -> boolean"], like, "Whether a pattern is found in a text."),
    Scalar::new(
        "regexp_position",
        &["(varchar, varchar) -> integer", "(varchar, varchar, bigint) -> integer", "(varchar, varchar, bigint, bigint) -> integer"],
        position,
        "The place where a pattern is found, from a start on and for the n-th time; -1 if it is not.",
    ),
    Scalar::new(
        "regexp_replace",
        &["(varchar, varchar) -> varchar", "(varchar, varchar, varchar) -> varchar"],
        replace,
        "The text with another in place of what a pattern finds, or without it; $1 and ${name} are groups.",
    ),
    Scalar::new("regexp_split", &["(varchar, varchar) -> array(varchar)"], split, "The parts of a text between what a pattern finds."),
];

fn like(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let mut kept = Patterns::new();
    call.booleans(|row| {
        let text = texts.value(row);
        kept.for_text(patterns.value(row), text)?.is_match(text).map(Some).map_err(failed)
    })
}

fn count(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let mut kept = Patterns::new();
    call.bigints(|row| {
        let text = texts.value(row);
        let mut matches = Matches::new(kept.for_text(patterns.value(row), text)?, text);
        let mut count = 0;
        while matches.next()?.is_some() {
            count += 1;
        }
        Ok(Some(count))
    })
}

fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let groups = if call.len() > 2 { Some(call.bigint(2)?) } else { None };
    let mut kept = Patterns::new();
    call.texts(|row| {
        let text = texts.value(row);
        let regex = kept.for_text(patterns.value(row), text)?;
        match group_number(regex, groups.map_or(0, |groups| groups.value(row)))? {
            0 => Ok(regex.find(text).map_err(failed)?.map(|found| found.as_str())),
            group => Ok(regex.captures(text).map_err(failed)?.and_then(|captures| captures.get(group)).map(|found| found.as_str())),
        }
    })
}

fn extract_all(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let groups = if call.len() > 2 { Some(call.bigint(2)?) } else { None };
    let mut kept = Patterns::new();
    call.text_lists(|row, out| {
        let text = texts.value(row);
        let regex = kept.for_text(patterns.value(row), text)?;
        let group = group_number(regex, groups.map_or(0, |groups| groups.value(row)))?;
        let mut matches = Matches::new(regex, text);
        if group == 0 {
            while let Some(found) = matches.next()? {
                out.append_value(found.as_str());
            }
        } else {
            while let Some(captures) = matches.next_captures()? {
                out.append_option(captures.get(group).map(|found| found.as_str()));
            }
        }
        Ok(())
    })
}

fn position(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let starts = if call.len() > 2 { Some(call.bigint(2)?) } else { None };
    let occurrences = if call.len() > 3 { Some(call.bigint(3)?) } else { None };
    let mut kept = Patterns::new();
    call.primitives::<Int32Type>(|row| {
        let text = texts.value(row);
        let start = starts.map_or(1, |starts| starts.value(row));
        let occurrence = occurrences.map_or(1, |occurrences| occurrences.value(row));
        if start < 1 {
            return Err(invalid(format!("the start is a place from 1 on, not {start}")));
        }
        if occurrence < 1 {
            return Err(invalid(format!("the number of an occurrence is from 1 on, not {occurrence}")));
        }
        let regex = kept.for_text(patterns.value(row), text)?;
        let first = usize::try_from(start - 1).ok().and_then(|before| text.char_indices().nth(before));
        let Some((start, _)) = first else { return Ok(Some(-1)) };
        let mut matches = Matches::new(regex, text).starting_at(start);
        for _ in 1..occurrence {
            if matches.next()?.is_none() {
                return Ok(Some(-1));
            }
        }
        let place = matches.next()?.and_then(|found| text.get(..found.start())).map(|before| before.chars().count() + 1);
        Ok(Some(place.map_or(-1, |place| i32::try_from(place).unwrap_or(i32::MAX))))
    })
}

fn replace(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let replacements = if call.len() > 2 { Some(call.text(2)?) } else { None };
    let mut kept = Patterns::new();
    call.written_texts(|row, out| {
        let (text, replacement) = (texts.value(row), replacements.map_or("", |replacements| replacements.value(row)));
        let regex = kept.for_text(patterns.value(row), text)?;
        let mut matches = Matches::new(regex, text);
        let mut rest = 0;
        if replacement.contains(['$', '\\']) {
            while let Some(captures) = matches.next_captures()? {
                let Some(found) = captures.get(0) else { break };
                out.push_str(text.get(rest..found.start()).unwrap_or_default());
                expand(replacement, regex, &captures, out)?;
                rest = found.end();
            }
        } else {
            while let Some(found) = matches.next()? {
                out.push_str(text.get(rest..found.start()).unwrap_or_default());
                out.push_str(replacement);
                rest = found.end();
            }
        }
        out.push_str(text.get(rest..).unwrap_or_default());
        Ok(true)
    })
}

/// Writes a replacement: `$1` and `${name}` are what groups have found, and what is behind a backslash stands for itself.
fn expand(replacement: &str, regex: &Regex, captures: &Captures<'_, str>, out: &mut String) -> Result<()> {
    let wrong = |what: &str| invalid(format!("replacement '{replacement}': {what}"));
    let mut rest = replacement;
    while let Some(place) = rest.find(['$', '\\']) {
        let (before, special) = rest.split_at(place);
        out.push_str(before);
        let mut characters = special.chars();
        let first = characters.next();
        rest = characters.as_str();
        if first == Some('\\') {
            out.push(characters.next().ok_or_else(|| wrong("a backslash needs a character behind it"))?);
            rest = characters.as_str();
        } else if let Some(behind) = rest.strip_prefix('{') {
            let (name, behind) = behind.split_once('}').ok_or_else(|| wrong("'${' needs a name and '}' behind it"))?;
            if !regex.capture_names().any(|known| known == Some(name)) {
                return Err(wrong(&format!("the pattern has no group '{name}'")));
            }
            out.push_str(captures.name(name).map_or("", |found| found.as_str()));
            rest = behind;
        } else {
            let (group, behind) = numbered(rest, regex.captures_len()).ok_or_else(|| wrong("'$' needs the number of a group behind it"))?;
            out.push_str(captures.get(group).map_or("", |found| found.as_str()));
            rest = behind;
        }
    }
    out.push_str(rest);
    Ok(())
}

/// The longest number at the start of a text that is less than a limit, and what is behind it.
fn numbered(text: &str, limit: usize) -> Option<(usize, &str)> {
    let mut found = None;
    let mut number = 0_usize;
    for (place, byte) in text.bytes().enumerate().take_while(|(_, byte)| byte.is_ascii_digit()) {
        number = number.checked_mul(10)?.checked_add(usize::from(byte - b'0'))?;
        if number >= limit {
            break;
        }
        found = Some((number, text.get(place + 1..)?));
    }
    found
}

fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let mut kept = Patterns::new();
    call.text_lists(|row, out| {
        let text = texts.value(row);
        let mut matches = Matches::new(kept.for_text(patterns.value(row), text)?, text);
        let mut rest = 0;
        while let Some(found) = matches.next()? {
            out.append_value(text.get(rest..found.start()).unwrap_or_default());
            rest = found.end();
        }
        out.append_value(text.get(rest..).unwrap_or_default());
        Ok(())
    })
}
