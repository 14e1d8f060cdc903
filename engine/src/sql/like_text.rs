//! The patterns of `SHOW ... LIKE pattern ESCAPE character`, which mean what those of a condition mean: cases differ, and nothing is an escape that was not named.

use nunatak_core::{Code, Error, Result};

/// A pattern, as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LikeText {
    /// The pattern.
    pub pattern: String,
    /// What `ESCAPE` said.
    pub escape: Option<String>,
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Literal(char),
}

/// A pattern that can be compared with.
#[derive(Clone, Debug)]
pub struct Like(Option<Vec<Part>>);

impl Like {
    /// What a statement names; everything where it names nothing.
    ///
    /// Errors: `INVALID_FUNCTION_ARGUMENT`.
    pub fn new(text: Option<&LikeText>) -> Result<Self> {
        let Some(LikeText { pattern, escape }) = text else { return Ok(Self(None)) };
        let wrong = |message: &str| Err(Error::new(Code::InvalidFunctionArgument, message));
        let escape = match escape.as_ref().map(|escape| escape.chars().collect::<Vec<_>>()) {
            None => None,
            Some(characters) => match characters.as_slice() {
                [character] => Some(*character),
                _ => return wrong("the escape string of LIKE must be a single character"),
            },
        };
        let mut parts = Vec::new();
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            parts.push(match character {
                _ if Some(character) == escape => match characters.next() {
                    Some(literal) if literal == '%' || literal == '_' || Some(literal) == escape => Part::Literal(literal),
                    _ => return wrong("the escape character of LIKE must be followed by '%', '_' or the escape character itself"),
                },
                '%' => Part::Any,
                '_' => Part::One,
                literal => Part::Literal(literal),
            });
        }
        Ok(Self(Some(parts)))
    }

    /// Whether a text is like it. Takes a time that goes with the product of both lengths.
    pub fn matches(&self, text: &str) -> bool {
        let Some(parts) = &self.0 else { return true };
        let text: Vec<char> = text.chars().collect();
        // Whether what was read of the pattern so far matches the first characters, by their number.
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        for part in parts {
            let mut next = vec![false; text.len() + 1];
            for position in 0..=text.len() {
                next[position] = match part {
                    Part::Any => reached[position] || (position > 0 && next[position - 1]),
                    Part::One => position > 0 && reached[position - 1],
                    Part::Literal(character) => position > 0 && reached[position - 1] && text[position - 1] == *character,
                };
            }
            reached = next;
        }
        reached[text.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(pattern: &str, escape: Option<&str>) -> Result<Like> {
        Like::new(Some(&LikeText { pattern: pattern.to_owned(), escape: escape.map(str::to_owned) }))
    }

    #[test]
    fn patterns_are_those_of_conditions() {
        let matches = |pattern: &str, escape, text: &str| like(pattern, escape).unwrap().matches(text);
        assert!(matches("t%", None, "table") && matches("%", None, "") && matches("_a%e", None, "table") && matches("", None, ""));
        assert!(!matches("T%", None, "table") && !matches("_", None, "") && !matches("t", None, "table"));
        assert!(matches("a$_b", Some("$"), "a_b") && !matches("a$_b", Some("$"), "axb") && matches("a$$", Some("$"), "a$"));
        assert!(matches(r"a\_", None, r"a\x") && !matches(r"a\_", None, "a_"));
        assert!(Like::new(None).unwrap().matches("anything"));
        for (pattern, escape) in [("a", ""), ("a", "xx"), ("p$a", "$"), ("p$", "$")] {
            assert_eq!(like(pattern, Some(escape)).unwrap_err().code(), Code::InvalidFunctionArgument, "{pattern} {escape}");
        }
    }
}
