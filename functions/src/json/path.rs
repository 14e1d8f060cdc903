//! Paths of `json_extract` and its kin, such as `$.a[0]["b c"]`, and what is found by them.

use arrow::array::StringViewArray;
use datafusion::error::Result;

use super::text::{Event, Scanned, Scanner};
use crate::invalid;

/// A path: the names of members; of arrays they are the numbers of elements.
#[derive(Debug, PartialEq)]
pub(crate) struct Path {
    steps: Vec<String>,
}

impl Path {
    /// Errors: `INVALID_FUNCTION_ARGUMENT` for another form.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = || invalid(format!("the path '{text}' is none that JSON functions take: $.name, $[0] and $[\"name\"] are, one behind another"));
        let mut rest = text.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, behind) = next_step(rest).ok_or_else(wrong)?;
            steps.push(step);
            rest = behind;
        }
        Ok(Self { steps })
    }

    /// The beginning of the value that this path leads to; the scanner stands behind it.
    pub(crate) fn find<'a>(&self, scanner: &mut Scanner<'a>) -> Scanned<Option<Event<'a>>> {
        let mut event = scanner.begin()?;
        for step in &self.steps {
            let found = match event {
                Event::Object => find_member(scanner, step)?,
                Event::Array => find_element(scanner, step)?,
                _ => return Ok(None),
            };
            match found {
                Some(found) => event = found,
                None => return Ok(None),
            }
        }
        Ok(Some(event))
    }
}

fn find_member<'a>(scanner: &mut Scanner<'a>, name: &str) -> Scanned<Option<Event<'a>>> {
    let mut is_first = true;
    while let Some(found) = scanner.next_member(is_first)? {
        is_first = false;
        let value = scanner.begin()?;
        if found == name {
            return Ok(Some(value));
        }
        scanner.skip(&value)?;
    }
    Ok(None)
}

fn find_element<'a>(scanner: &mut Scanner<'a>, number: &str) -> Scanned<Option<Event<'a>>> {
    let Ok(mut left) = number.parse::<u32>() else { return Ok(None) };
    let mut is_first = true;
    while scanner.next_element(is_first)? {
        is_first = false;
        let value = scanner.begin()?;
        if left == 0 {
            return Ok(Some(value));
        }
        left -= 1;
        scanner.skip(&value)?;
    }
    Ok(None)
}

/// The step that the text begins with, and what is behind it.
fn next_step(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        return plain(rest, |character| character == ':' || is_plain(character));
    }
    let rest = text.strip_prefix('[')?;
    let (step, rest) = match rest.strip_prefix('"') {
        Some(rest) => quoted(rest)?,
        None => plain(rest, is_plain)?,
    };
    Some((step, rest.strip_prefix(']')?))
}

fn is_plain(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn plain(text: &str, is_part: impl Fn(char) -> bool) -> Option<(String, &str)> {
    let end = text.find(|character: char| !is_part(character)).unwrap_or(text.len());
    let (step, rest) = text.split_at(end);
    (!step.is_empty()).then(|| (step.to_owned(), rest))
}

/// A name up to its closing quote; a quote or a backslash in it has a backslash before it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((name, text.get(place + 1..)?)),
            '\\' => match characters.next()?.1 {
                escaped @ ('"' | '\\') => name.push(escaped),
                _ => return None,
            },
            other => name.push(other),
        }
    }
    None
}

/// The paths of the rows of a call; one that several rows in a row have is parsed once.
pub(crate) struct Paths<'a> {
    texts: &'a StringViewArray,
    last: Option<(&'a str, Path)>,
}

impl<'a> Paths<'a> {
    pub(crate) fn new(texts: &'a StringViewArray) -> Self {
        Self { texts, last: None }
    }

    /// That of a row. Errors: `INVALID_FUNCTION_ARGUMENT`.
    pub(crate) fn of(&mut self, row: usize) -> Result<&Path> {
        let text = self.texts.value(row);
        let path = match self.last.take() {
            Some((known, path)) if known == text => path,
            _ => Path::parse(text)?,
        };
        Ok(&self.last.insert((text, path)).1)
    }
}

/// What is found in a text, or nothing if it is malformed on the way there.
pub(crate) fn found<T>(scanned: Scanned<Option<T>>) -> Option<T> {
    scanned.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_steps() {
        assert_eq!(Path::parse(r#"$.a[0]["b \"c"][d].e:f"#).unwrap().steps, ["a", "0", "b \"c", "d", "e:f"]);
        assert!(Path::parse("$").unwrap().steps.is_empty());
        for wrong in ["", "a", "$.", "$..a", "$[", "$[]", "$[0", "$['a']", "$.a b", "$[-1]", "$[\"a]", "$a"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }
}
