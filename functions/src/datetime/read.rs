//! Reading text from its start.

/// What of a text has not been read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a str);

impl<'a> Reader<'a> {
    /// Whether all is read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads this text, in upper or lower case; whether it was there.
    pub(crate) fn text(&mut self, text: &str) -> bool {
        match self.0.get(..text.len()) {
            Some(start) if start.eq_ignore_ascii_case(text) => {
                self.0 = &self.0[text.len()..];
                true
            }
            _ => false,
        }
    }

    /// Reads one of these characters.
    pub(crate) fn one_of(&mut self, characters: &[char]) -> Option<char> {
        let first = self.0.chars().next().filter(|first| characters.contains(first))?;
        self.0 = &self.0[first.len_utf8()..];
        Some(first)
    }

    /// Reads at most so many digits; there may be none.
    pub(crate) fn digits(&mut self, max: usize) -> &'a str {
        let length = self.0.bytes().take(max).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        digits
    }

    /// Reads a number of at least and at most so many digits.
    pub(crate) fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.digits(max);
        if digits.len() < min.max(1) { None } else { digits.parse().ok() }
    }

    /// Reads the same with a sign, which counts as no digit.
    pub(crate) fn signed(&mut self, min: usize, max: usize) -> Option<i64> {
        let negative = self.one_of(&['+', '-']) == Some('-');
        self.number(min, max).map(|number| if negative { -number } else { number })
    }

    /// Reads one of these names, the longest that fits, and tells which.
    pub(crate) fn name(&mut self, names: impl Iterator<Item = (usize, &'static str)>) -> Option<usize> {
        let fits = |name: &str| self.0.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let (found, name) = names.filter(|(_, name)| fits(name)).max_by_key(|(_, name)| name.len())?;
        self.0 = &self.0[name.len()..];
        Some(found)
    }
}

/// A fraction of a unit that is so many smaller ones long, by the digits behind its decimal point; less than a small one is cut off.
pub(crate) fn fraction(digits: &str, unit: i64) -> i64 {
    let (mut numerator, mut denominator) = (0_i128, 1_i128);
    for digit in digits.bytes().take(18) {
        numerator = numerator * 10 + i128::from(digit.saturating_sub(b'0'));
        denominator *= 10;
    }
    i64::try_from(numerator * i128::from(unit) / denominator).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        let mut reader = Reader("-0012x");
        assert_eq!((reader.signed(1, 3), reader.number(1, 9), reader.number(1, 9), reader.0), (Some(-1), Some(2), None, "x"));
        let mut reader = Reader("MAYOR");
        assert_eq!(reader.name([(0, "may"), (1, "mayo"), (2, "mayonnaise")].into_iter()), Some(1));
        assert!(!reader.text("é") && reader.text("r") && reader.is_at_end());
        assert_eq!((fraction("5", 60), fraction("123456789", 1_000), fraction("", 1_000)), (30, 123, 0));
    }
}
