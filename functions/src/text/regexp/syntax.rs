//! Java's syntax of patterns, as Joni reads it for Trino, in that of `fancy-regex`.
//!
//! `\d`, `\w` and `\s` mean characters of ASCII, but `[[:alpha:]]` and its like those of Unicode; `$` is also before a newline at the end; a `{` that begins no
//! number of repetitions and the escape of a letter without a meaning stand for themselves.

use datafusion::error::{DataFusionError, Result};

use super::class;
use crate::invalid;

/// The most repetitions that a pattern may ask for.
const REPETITIONS_MAX: u32 = 100_000;

/// A pattern in the other syntax.
#[derive(Debug, PartialEq)]
pub(super) struct Translated {
    pub(super) text: String,
    /// Whether something in it depends on where the text ends.
    pub(super) sees_end: bool,
}

/// Translates a pattern; `end` is what to write where the text must end, but for a newline.
///
/// Errors: `INVALID_FUNCTION_ARGUMENT` for some of what is no pattern; the rest is found when it is compiled.
pub(super) fn translated(pattern: &str, end: &str) -> Result<Translated> {
    let mut translator = Translator {
        pattern,
        rest: pattern,
        out: String::with_capacity(pattern.len() + 8),
        end,
        sees_end: false,
        groups: 0,
        scope: Scope::default(),
        outer: Vec::new(),
    };
    translator.translate()?;
    Ok(Translated { text: translator.out, sees_end: translator.sees_end })
}

/// What has been set in the group that is open.
#[derive(Clone, Copy, Debug, Default)]
struct Scope {
    /// By `(?m)`.
    by_lines: bool,
    /// By `(?x)`.
    spaced: bool,
    /// How many groups are to be closed at its end, which `(?i)` and its like have opened for the rest of it.
    opened: usize,
}

pub(super) struct Translator<'p> {
    pattern: &'p str,
    rest: &'p str,
    pub(super) out: String,
    end: &'p str,
    sees_end: bool,
    /// The groups that have a number so far.
    groups: usize,
    scope: Scope,
    /// What has been set around each group that is open.
    outer: Vec<Scope>,
}

impl<'p> Translator<'p> {
    /// Takes the next character.
    pub(super) fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.skip(character.len_utf8());
        Some(character)
    }

    /// Takes a text if it is there.
    pub(super) fn takes(&mut self, text: &str) -> bool {
        let behind = self.rest.strip_prefix(text);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    pub(super) fn rest(&self) -> &'p str {
        self.rest
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    pub(super) fn wrong(&self, what: &str) -> DataFusionError {
        invalid(format!("pattern '{}': {what}", self.pattern))
    }

    fn translate(&mut self) -> Result<()> {
        while let Some(character) = self.next() {
            match character {
                '\\' => self.escape()?,
                '[' => class::translate(self)?,
                '(' => self.group()?,
                ')' => {
                    self.close();
                    self.out.push(')');
                    self.scope = self.outer.pop().unwrap_or_default();
                }
                '$' if self.scope.by_lines => self.out.push('$'),
                '$' => self.end(),
                '{' => self.repetitions()?,
                '#' if self.scope.spaced => {
                    let comment = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.skip(comment);
                }
                space if self.scope.spaced && space.is_ascii_whitespace() => {}
                '^' | '.' | '|' | '*' | '+' | '?' => self.out.push(character),
                other => self.literal(other),
            }
        }
        self.close();
        Ok(())
    }

    fn close(&mut self) {
        self.out.extend(std::iter::repeat_n(')', self.scope.opened));
    }

    fn end(&mut self) {
        self.out.push_str(self.end);
        self.sees_end = true;
    }

    /// Writes a character that stands for itself.
    pub(super) fn literal(&mut self, character: char) {
        if character.is_ascii_alphanumeric()
            || !character.is_ascii()
            || matches!(character, '_' | ',' | ':' | ';' | '"' | '\'' | '/' | '@' | '%' | '=')
        {
            self.out.push(character);
        } else {
            self.out.push_str(&format!("\\x{{{:X}}}", u32::from(character)));
        }
    }

    /// Writes a number of repetitions as it is, or the brace that begins none.
    fn repetitions(&mut self) -> Result<()> {
        let Some((inner, _)) = self.rest.split_once('}') else {
            self.literal('{');
            return Ok(());
        };
        let (least, most) = inner.split_once(',').map_or((inner, None), |(least, most)| (least, Some(most)));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(least) || most.is_some_and(|most| !most.is_empty() && !is_number(most)) {
            self.literal('{');
            return Ok(());
        }
        let count = |text: &str| text.parse::<u32>().ok().filter(|&count| count <= REPETITIONS_MAX);
        let least = count(least).ok_or_else(|| self.wrong("too many repetitions"))?;
        if let Some(most) = most.filter(|most| !most.is_empty()) {
            let most = count(most).ok_or_else(|| self.wrong("too many repetitions"))?;
            if most < least {
                return Err(self.wrong("the most repetitions are fewer than the least"));
            }
        }
        self.out.push('{');
        self.out.push_str(inner);
        self.out.push('}');
        self.skip(inner.len() + 1);
        Ok(())
    }

    fn group(&mut self) -> Result<()> {
        if !self.rest.starts_with('?') {
            self.groups += 1;
            self.open("(");
            return Ok(());
        }
        if self.rest.starts_with("?#") {
            let end = self.rest.find(')').ok_or_else(|| self.wrong("a comment does not end"))?;
            self.skip(end + 1);
            return Ok(());
        }
        for start in ["?:", "?=", "?!", "?>", "?<=", "?<!"] {
            if self.takes(start) {
                self.open("(");
                self.out.push_str(start);
                return Ok(());
            }
        }
        if self.rest.starts_with("?<") {
            let name = self.name(1)?;
            self.groups += 1;
            self.open("(?");
            self.out.push_str(name);
            return Ok(());
        }
        self.skip(1);
        self.set_flags()
    }

    fn open(&mut self, text: &str) {
        self.outer.push(self.scope);
        self.scope.opened = 0;
        self.out.push_str(text);
    }

    /// Takes a name in pointed brackets, these included, behind some bytes.
    fn name(&mut self, behind: usize) -> Result<&'p str> {
        let text = self.rest.get(behind..).unwrap_or_default();
        let end = text.find('>').filter(|_| text.starts_with('<')).ok_or_else(|| self.wrong("the name of a group is missing"))?;
        let name = text.get(1..end).unwrap_or_default();
        let is_name = name.starts_with(|first: char| first.is_alphabetic() || first == '_')
            && name.chars().all(|character| character.is_alphanumeric() || character == '_');
        if !is_name {
            return Err(self.wrong(&format!("'{name}' is no name of a group")));
        }
        self.skip(behind + end + 1);
        Ok(text.get(..=end).unwrap_or_default())
    }

    /// `(?i:` and its like for what is within, and `(?i)` for the rest of the group around it.
    fn set_flags(&mut self) -> Result<()> {
        let around = self.scope;
        let (mut on, mut off) = (String::new(), String::new());
        let mut is_on = true;
        let is_group = loop {
            match self.next() {
                // What it says is done here.
                Some('x') => self.scope.spaced = is_on,
                Some(flag @ ('i' | 'm' | 's')) => {
                    if flag == 'm' {
                        self.scope.by_lines = is_on;
                    }
                    let flags = if is_on { &mut on } else { &mut off };
                    flags.push(flag);
                }
                Some('-') if is_on => is_on = false,
                Some(':') => break true,
                Some(')') => break false,
                _ => return Err(self.wrong("'(?' is followed by what has no meaning there")),
            }
        };
        let minus = if off.is_empty() { "" } else { "-" };
        if is_group {
            self.outer.push(around);
            self.scope.opened = 0;
            self.out.push_str(&format!("(?{on}{minus}{off}:"));
        } else if !on.is_empty() || !off.is_empty() {
            self.scope.opened += 1;
            self.out.push_str(&format!("(?{on}{minus}{off}:"));
        }
        Ok(())
    }

    /// What a backslash stands before, outside of brackets.
    fn escape(&mut self) -> Result<()> {
        match self.next().ok_or_else(|| self.wrong("a backslash needs a character behind it"))? {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            's' => self.out.push_str(r"[\t\n\x0B\x0C\r\x20]"),
            'S' => self.out.push_str(r"[^\t\n\x0B\x0C\r\x20]"),
            'Z' => self.end(),
            kept @ ('A' | 'b' | 'B' | 'G' | 'z') => {
                self.out.push('\\');
                self.out.push(kept);
                // `\b{` would be something else.
                if self.rest.starts_with('{') {
                    self.out.push_str("(?:)");
                }
            }
            'k' => {
                let name = self.name(0)?;
                self.out.push_str("\\k");
                self.out.push_str(name);
            }
            first @ '1'..='9' => self.reference(first)?,
            sign @ ('p' | 'P') => class::property(self, sign == 'P')?,
            'Q' => self.quoted(),
            'E' => {}
            other => match self.character(other)? {
                Some(character) => self.literal(character),
                None => self.out.push_str("[^\\x00-\\x{10FFFF}]"),
            },
        }
        Ok(())
    }

    /// A reference to a group: as many digits as make the number of one that has begun, and at least one.
    fn reference(&mut self, first: char) -> Result<()> {
        let mut number = first.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or_default();
        while let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(10)).and_then(|digit| usize::try_from(digit).ok()) {
            if number * 10 + digit > self.groups {
                break;
            }
            number = number * 10 + digit;
            self.skip(1);
        }
        if number > self.groups {
            return Err(self.wrong(&format!("there is no group {number}")));
        }
        self.out.push_str(&format!("(?:\\{number})"));
        Ok(())
    }

    /// Writes what is behind `\Q` and before `\E`.
    pub(super) fn quoted(&mut self) {
        let (inner, behind) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
        inner.chars().for_each(|character| self.literal(character));
        self.rest = behind;
    }

    /// The character that an escape is, which begins with this one; `None` for a byte that is none.
    pub(super) fn character(&mut self, first: char) -> Result<Option<char>> {
        let number = match first {
            'a' => 0x07,
            'e' => 0x1b,
            'f' => 0x0c,
            'n' => 0x0a,
            'r' => 0x0d,
            't' => 0x09,
            'v' => 0x0b,
            'c' => u32::from(self.next().ok_or_else(|| self.wrong("'\\c' needs a character behind it"))?) & 0x1f,
            '0' => self.digits(2, 8).unwrap_or(0),
            'u' => self.digits_exactly(4)?,
            'x' if self.takes("{") => {
                let number = self.digits(8, 16);
                number.filter(|_| self.takes("}")).ok_or_else(|| self.wrong("'\\x{' needs digits and '}' behind it"))?
            }
            'x' => match self.digits(2, 16).ok_or_else(|| self.wrong("'\\x' needs digits behind it"))? {
                byte if byte > 0x7f => return Ok(None),
                byte => byte,
            },
            other => return Ok(Some(other)),
        };
        char::from_u32(number).map(Some).ok_or_else(|| self.wrong(&format!("{number:X} is not the number of a character")))
    }

    fn digits_exactly(&mut self, count: usize) -> Result<u32> {
        let before = self.rest.len();
        let number = self.digits(count, 16).filter(|_| before - self.rest.len() == count);
        number.ok_or_else(|| self.wrong("digits are missing"))
    }

    /// Takes at most some digits; `None` if there are none.
    fn digits(&mut self, most: usize, base: u32) -> Option<u32> {
        let count = self.rest.chars().take(most).take_while(|character| character.is_digit(base)).count();
        let number = self.rest.get(..count).and_then(|digits| u32::from_str_radix(digits, base).ok());
        self.skip(count);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated() {
        for (pattern, expected) in [
            (r"\d+\_", r"[0-9]+_"),
            ("a$|b{,2}", r"a<>|b\x{7B},2\x{7D}"),
            ("(?m)^a$", "(?m:^a$)"),
            ("((?m)a$|(?i)c)b$", "((?m:a$|(?i:c)))b<>"),
            ("(?x) a # b\n c", "ac"),
            (r"\Qa.\E.", r"a\x{2E}."),
            (r"(a)\11", r"(a)(?:\1)1"),
            (r"[\w-.&&[^a]]", r"[[0-9A-Za-z_]\x{2D}\x{2E}&&[^a]]"),
            ("[[:^alpha:]]", r"[[^\p{Alphabetic}]]"),
            (r"\p{Alnum}\x{e9}\xe9", r"[\p{Alphabetic}\p{Nd}]é[^\x00-\x{10FFFF}]"),
            ("(?<n>a)(?#b)(?i-s:c)", "(?<n>a)(?i-s:c)"),
            ("[]a]", r"[\x{5D}a]"),
        ] {
            assert_eq!(translated(pattern, "<>").unwrap().text, expected, "{pattern}");
        }
        for wrong in [r"a\", "a{2,1}", "a{100001}", "(?d)a", r"(a)\2", "[[:foo:]]", "[a", r"\u00"] {
            assert!(translated(wrong, "").is_err(), "{wrong}");
        }
    }
}
