//! Compiled patterns, and what they find one after the other.

use datafusion::error::{DataFusionError, Result};
use fancy_regex::{Captures, Match, Regex, RegexBuilder};

use super::super::last::Last;
use super::syntax::translated;
use crate::invalid;

/// How many steps back a pattern may take in one text: some take more than anybody waits for. Patterns without look-around and references to groups take none.
const STEPS_BACK_MAX: usize = 10_000_000;

/// The patterns of a call, of which the last is kept.
#[derive(Debug)]
pub(crate) struct Patterns {
    kept: Last<Pattern>,
}

impl Patterns {
    pub(crate) const fn new() -> Self {
        Self { kept: Last::new() }
    }

    /// A pattern for a text. Errors: `INVALID_FUNCTION_ARGUMENT` for what is none.
    pub(crate) fn for_text(&mut self, pattern: &str, text: &str) -> Result<&Regex> {
        let kept = self.kept.get(pattern, Pattern::compile)?;
        if kept.sees_end && text.ends_with('\n') {
            let regex = match kept.before_newline.take() {
                Some(regex) => regex,
                None => compiled(pattern, &translated(pattern, BEFORE_NEWLINE)?.text)?,
            };
            return Ok(&*kept.before_newline.insert(regex));
        }
        Ok(&kept.regex)
    }
}

/// The end of a text, which `$` stands for; in Java it is also before a newline that ends the text.
const AT_END: &str = r"\z";
const BEFORE_NEWLINE: &str = r"(?=\n?\z)";

/// A pattern. Looking for a newline at the end costs much more than looking for the end, so that is done only for texts which have one there.
#[derive(Debug)]
struct Pattern {
    regex: Regex,
    sees_end: bool,
    before_newline: Option<Regex>,
}

impl Pattern {
    fn compile(pattern: &str) -> Result<Self> {
        let translated = translated(pattern, AT_END)?;
        Ok(Self { regex: compiled(pattern, &translated.text)?, sees_end: translated.sees_end, before_newline: None })
    }
}

fn compiled(pattern: &str, translated: &str) -> Result<Regex> {
    let built = RegexBuilder::new(translated).backtrack_limit(STEPS_BACK_MAX).build();
    built.map_err(|error| invalid(format!("pattern '{pattern}' cannot be used: {error}")))
}

/// The error of a pattern that takes too many steps.
pub(super) fn failed(error: fancy_regex::Error) -> DataFusionError {
    invalid(format!("the pattern takes too long: {error}"))
}

/// A group by its number. Errors: `INVALID_FUNCTION_ARGUMENT` if there is none.
pub(super) fn group_number(regex: &Regex, number: i64) -> Result<usize> {
    let groups = regex.captures_len();
    let found = usize::try_from(number).ok().filter(|&number| number < groups);
    found.ok_or_else(|| invalid(format!("the pattern has {} groups, and none with number {number}", groups.saturating_sub(1))))
}

/// What a pattern finds in a text, as Java does: after what is not empty there may be something empty at once.
pub(crate) struct Matches<'r, 't> {
    regex: &'r Regex,
    text: &'t str,
    start: usize,
}

impl<'r, 't> Matches<'r, 't> {
    pub(crate) fn new(regex: &'r Regex, text: &'t str) -> Self {
        Self { regex, text, start: 0 }
    }

    /// The same from a place on, in bytes.
    pub(crate) fn starting_at(self, start: usize) -> Self {
        Self { start, ..self }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Match<'t>>> {
        if self.start > self.text.len() {
            return Ok(None);
        }
        let found = self.regex.find_from_pos(self.text, self.start).map_err(failed)?;
        self.go_on(found.as_ref().map(Match::range));
        Ok(found)
    }

    /// The same with the groups.
    pub(crate) fn next_captures(&mut self) -> Result<Option<Captures<'t, str>>> {
        if self.start > self.text.len() {
            return Ok(None);
        }
        let found = self.regex.captures_from_pos(self.text, self.start).map_err(failed)?;
        self.go_on(found.as_ref().and_then(|captures| captures.get(0)).map(|found| found.range()));
        Ok(found)
    }

    /// Sets where to look next: behind what was found, and a character further if that is empty.
    fn go_on(&mut self, found: Option<std::ops::Range<usize>>) {
        self.start = match found {
            None => usize::MAX,
            Some(found) if found.is_empty() => {
                let next = self.text.get(found.end..).and_then(|rest| rest.chars().next());
                found.end + next.map_or(1, char::len_utf8)
            }
            Some(found) => found.end,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> Vec<(usize, usize)> {
        let mut patterns = Patterns::new();
        let mut matches = Matches::new(patterns.for_text(pattern, text).unwrap(), text);
        let mut found = Vec::new();
        while let Some(next) = matches.next().unwrap() {
            found.push((next.start(), next.end()));
        }
        found
    }

    #[test]
    fn empty_ones_are_found_behind_others() {
        assert_eq!(found("b*", "abc"), [(0, 0), (1, 2), (2, 2), (3, 3)]);
        assert_eq!(found("", "äb"), [(0, 0), (2, 2), (3, 3)]);
        assert_eq!(found("(?<=a)b", "abb"), [(1, 2)]);
    }

    #[test]
    fn ends_are_before_a_last_newline() {
        assert_eq!(found("a$", "a\n"), [(0, 1)]);
        assert!(found("a$", "a\n\n").is_empty());
        assert_eq!(found("(?m)a$", "a\na\n"), [(0, 1), (2, 3)]);
        assert!(found(r"a\z", "a\n").is_empty());
        assert_eq!(found("[$]", "$"), [(0, 1)]);
    }

    #[test]
    fn patterns_are_kept_while_they_are_the_same() {
        let mut patterns = Patterns::new();
        for (pattern, text, expected) in
            [("a", "a", true), ("a", "b", false), ("b", "b", true), ("b$", "b\n", true), ("b$", "b", true), ("b$", "bc", false)]
        {
            assert_eq!(patterns.for_text(pattern, text).unwrap().is_match(text).unwrap(), expected);
        }
        assert!(patterns.for_text("(", "").is_err());
    }
}
