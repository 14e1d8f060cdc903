//! Text of JSON: read piece by piece, and written as Trino writes it.
//!
//! What is read here is not what `serde_json` gives: Trino finds values in text that is broken behind them, keeps all digits of whole numbers, the order of members and
//! those that are there twice, and writes numbers with fractions as Java does.

use std::borrow::Cow;
use std::collections::HashMap;

use super::written::{compare_names, write_number, write_text};

/// How deeply values may be nested.
const NESTING_MAX: usize = 1_000;

/// The text is no JSON, or not from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) type Scanned<T> = Result<T, Malformed>;

/// What a value begins with; of those without parts, all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event<'a> {
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    Array,
    Object,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Boolean(bool),
    /// As it is written.
    Number(String),
    Text(String),
    Array(Vec<Json>),
    /// In the order in which they are written.
    Object(Vec<(String, Json)>),
}

/// Reads text from its beginning on.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no space.
    fn next_mark(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.peek()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn take_word<'e>(&mut self, word: &str, event: Event<'e>) -> Scanned<Event<'e>> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(Malformed);
        }
        self.at += word.len();
        if self.peek().is_some_and(|next| next.is_ascii_alphanumeric() || next == b'_') { Err(Malformed) } else { Ok(event) }
    }

    /// The beginning of a value: it is read if it has no parts; else its parts come next.
    pub(crate) fn begin(&mut self) -> Scanned<Event<'a>> {
        match self.next_mark().ok_or(Malformed)? {
            b'{' => self.open(Event::Object),
            b'[' => self.open(Event::Array),
            b'"' => Ok(Event::Text(self.string()?)),
            b'n' => self.take_word("null", Event::Null),
            b't' => self.take_word("true", Event::Boolean(true)),
            b'f' => self.take_word("false", Event::Boolean(false)),
            _ => self.number(),
        }
    }

    fn open(&mut self, event: Event<'a>) -> Scanned<Event<'a>> {
        self.at += 1;
        self.depth += 1;
        if self.depth > NESTING_MAX { Err(Malformed) } else { Ok(event) }
    }

    /// Whether another element of an array begins here; its end is read otherwise.
    pub(crate) fn next_element(&mut self, is_first: bool) -> Scanned<bool> {
        self.next_part(is_first, b']')
    }

    /// The name of the next member of an object, whose value begins behind it; `None` at its end, which is read.
    pub(crate) fn next_member(&mut self, is_first: bool) -> Scanned<Option<Cow<'a, str>>> {
        if !self.next_part(is_first, b'}')? {
            return Ok(None);
        }
        if self.next_mark() != Some(b'"') {
            return Err(Malformed);
        }
        let name = self.string()?;
        if self.next_mark() != Some(b':') {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(Some(name))
    }

    fn next_part(&mut self, is_first: bool, end: u8) -> Scanned<bool> {
        let mark = self.next_mark().ok_or(Malformed)?;
        if mark == end {
            self.at += 1;
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if is_first || self.take(b',') { Ok(true) } else { Err(Malformed) }
    }

    /// Goes behind a value that has begun.
    pub(crate) fn skip(&mut self, event: &Event<'_>) -> Scanned<()> {
        match event {
            Event::Array => {
                self.count_elements()?;
            }
            Event::Object => {
                self.count_members()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The number of elements of an array that has begun; goes behind it.
    pub(crate) fn count_elements(&mut self) -> Scanned<i64> {
        let mut count = 0;
        while self.next_element(count == 0)? {
            count += 1;
            let element = self.begin()?;
            self.skip(&element)?;
        }
        Ok(count)
    }

    /// The number of members of an object that has begun; goes behind it.
    pub(crate) fn count_members(&mut self) -> Scanned<i64> {
        let mut count = 0;
        while self.next_member(count == 0)?.is_some() {
            count += 1;
            let value = self.begin()?;
            self.skip(&value)?;
        }
        Ok(count)
    }

    /// Checks that nothing comes any more.
    pub(crate) fn end(&mut self) -> Scanned<()> {
        if self.next_mark().is_none() { Ok(()) } else { Err(Malformed) }
    }

    /// The value that begins here.
    pub(crate) fn value(&mut self) -> Scanned<Json> {
        let event = self.begin()?;
        self.value_of(event)
    }

    /// A value that has begun.
    pub(crate) fn value_of(&mut self, event: Event<'a>) -> Scanned<Json> {
        Ok(match event {
            Event::Null => Json::Null,
            Event::Boolean(value) => Json::Boolean(value),
            Event::Number(digits) => Json::Number(digits.to_owned()),
            Event::Text(text) => Json::Text(text.into_owned()),
            Event::Array => {
                let mut elements = Vec::new();
                while self.next_element(elements.is_empty())? {
                    elements.push(self.value()?);
                }
                Json::Array(elements)
            }
            Event::Object => {
                let mut members = Vec::new();
                while let Some(name) = self.next_member(members.is_empty())? {
                    members.push((name.into_owned(), self.value()?));
                }
                Json::Object(members)
            }
        })
    }

    fn number(&mut self) -> Scanned<Event<'a>> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        if self.peek().is_some_and(|next| next.is_ascii_alphanumeric() || matches!(next, b'_' | b'.' | b'"' | b'-' | b'+')) {
            return Err(Malformed);
        }
        self.text.get(start..self.at).map(Event::Number).ok_or(Malformed)
    }

    fn digits(&mut self) -> Scanned<()> {
        let start = self.at;
        while self.peek().is_some_and(|digit| digit.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Malformed) }
    }

    /// The text in quotes that begins here.
    fn string(&mut self) -> Scanned<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let mut unescaped: Option<String> = None;
        let mut piece = start;
        loop {
            match self.peek().ok_or(Malformed)? {
                b'"' => {
                    let rest = self.text.get(piece..self.at).ok_or(Malformed)?;
                    self.at += 1;
                    return Ok(match unescaped {
                        Some(mut text) => {
                            text.push_str(rest);
                            Cow::Owned(text)
                        }
                        None => Cow::Borrowed(rest),
                    });
                }
                b'\\' => {
                    let text = unescaped.get_or_insert_default();
                    text.push_str(self.text.get(piece..self.at).ok_or(Malformed)?);
                    let character = self.escape()?;
                    text.push(character);
                    piece = self.at;
                }
                0..0x20 => return Err(Malformed),
                _ => self.at += 1,
            }
        }
    }

    /// What the escape stands for that begins here.
    fn escape(&mut self) -> Scanned<char> {
        self.at += 1;
        let letter = self.peek().ok_or(Malformed)?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                // Half of a pair.
                let before = self.at;
                if self.take(b'\\') && self.take(b'u') {
                    let second = self.unit()?;
                    if (0xdc00..0xe000).contains(&second) {
                        return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Malformed);
                    }
                }
                self.at = before;
                char::REPLACEMENT_CHARACTER
            }
            _ => return Err(Malformed),
        })
    }

    fn unit(&mut self) -> Scanned<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit())).ok_or(Malformed)?;
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| Malformed)
    }
}

/// The value that a whole text is.
pub(crate) fn parse(text: &str) -> Scanned<Json> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value()?;
    scanner.end()?;
    Ok(value)
}

impl Json {
    /// Brings the members of objects into the order of their names; of those with the same name the last one stays.
    pub(crate) fn sort(&mut self) {
        match self {
            Self::Array(elements) => elements.iter_mut().for_each(Self::sort),
            Self::Object(members) => {
                members.iter_mut().for_each(|(_, value)| value.sort());
                // Among those of one name, the last one is first, and stays.
                members.reverse();
                members.sort_by(|left, right| compare_names(&left.0, &right.0));
                members.dedup_by(|later, earlier| later.0 == earlier.0);
            }
            _ => {}
        }
    }

    /// Leaves one of the members of an object with the same name: the value of the last one at the place of the first one.
    pub(crate) fn unite(&mut self) {
        match self {
            Self::Array(elements) => elements.iter_mut().for_each(Self::unite),
            Self::Object(members) => {
                let mut places: HashMap<String, usize> = HashMap::with_capacity(members.len());
                let mut united: Vec<(String, Self)> = Vec::with_capacity(members.len());
                for (name, mut value) in std::mem::take(members) {
                    value.unite();
                    match places.get(&name) {
                        Some(&place) => united[place].1 = value,
                        None => {
                            places.insert(name.clone(), united.len());
                            united.push((name, value));
                        }
                    }
                }
                *members = united;
            }
            _ => {}
        }
    }

    /// Writes it.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => write_number(digits, out),
            Self::Text(text) => write_text(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_text(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Its text.
    pub(crate) fn written(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_has_a_limit() {
        assert!(parse(&format!("{}{}", "[".repeat(1_000), "]".repeat(1_000))).is_ok());
        assert_eq!(parse(&format!("{}{}", "[".repeat(1_001), "]".repeat(1_001))), Err(Malformed));
        assert_eq!(parse(&"[".repeat(1_000_000)), Err(Malformed));
    }

    #[test]
    fn broken_text_is_malformed() {
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "[1 2]",
            "{\"a\" 1}",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "nul",
            "nulls",
            "\"\u{1}\"",
            "\"\\x\"",
            "\"\\u12\"",
            "1 2",
            "\"a",
        ] {
            assert_eq!(parse(text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn members_are_sorted() {
        let mut value = parse(r#"{"b": 1, "a": {"y": 1, "x": 2}, "b": 3}"#).unwrap();
        value.sort();
        assert_eq!(value.written(), r#"{"a":{"x":2,"y":1},"b":3}"#);
    }
}
