//! Numbers as decimal digits, rounded half up.

/// The digits of a number without its sign: `digits` behind a point, times ten to the power of `point`. Zero has no digits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Digits {
    digits: Vec<u8>,
    point: i64,
}

impl Digits {
    /// The fewest digits that make this number and no other.
    pub(super) fn shortest(value: f64) -> Self {
        Self::parse(&format!("{:e}", value.abs()))
    }

    /// The same for a number of 32 bits.
    pub(super) fn shortest_real(value: f32) -> Self {
        Self::parse(&format!("{:e}", value.abs()))
    }

    pub(super) fn decimal(unscaled: i128, scale: i8) -> Self {
        Self::parse(&format!("{}e{}", unscaled.unsigned_abs(), -i32::from(scale)))
    }

    /// Reads `12.5` and `1.25e1`.
    fn parse(text: &str) -> Self {
        let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let mut point = whole.len() as i64 + exponent.parse::<i64>().unwrap_or_default();
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits.drain(..zeros);
        point -= zeros as i64;
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            point = 0;
        }
        Self { digits, point }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The power of ten of the first digit.
    pub(super) fn exponent(&self) -> i64 {
        if self.is_zero() { 0 } else { self.point - 1 }
    }

    /// The digits as they are.
    pub(super) fn text(&self) -> String {
        self.digits.iter().map(|&digit| char::from(digit)).collect()
    }

    /// The number with at most so many digits.
    pub(super) fn rounded(&self, count: i64) -> Self {
        let Ok(count) = usize::try_from(count) else { return Self { digits: Vec::new(), point: 0 } };
        if count >= self.digits.len() {
            return self.clone();
        }
        let mut rounded = self.clone();
        let goes_up = self.digits.get(count).is_some_and(|&digit| digit >= b'5');
        rounded.digits.truncate(count);
        if goes_up {
            while rounded.digits.last() == Some(&b'9') {
                rounded.digits.pop();
            }
            match rounded.digits.last_mut() {
                Some(last) => *last += 1,
                None => {
                    rounded.digits.push(b'1');
                    rounded.point += 1;
                }
            }
        }
        while rounded.digits.last() == Some(&b'0') {
            rounded.digits.pop();
        }
        if rounded.digits.is_empty() {
            rounded.point = 0;
        }
        rounded
    }

    fn digit(&self, place: i64) -> char {
        usize::try_from(place).ok().and_then(|place| self.digits.get(place)).map_or('0', |&digit| char::from(digit))
    }

    /// The number with so many digits behind the point.
    pub(super) fn fixed(&self, precision: usize) -> String {
        let precision = precision as i64;
        let rounded = self.rounded(self.point + precision);
        let mut out = String::new();
        if rounded.point <= 0 {
            out.push('0');
        }
        out.extend((0..rounded.point).map(|place| rounded.digit(place)));
        if precision > 0 {
            out.push('.');
            out.extend((0..precision).map(|place| rounded.digit(rounded.point + place)));
        }
        out
    }

    /// The number with one digit before the point and so many behind it, and its power of ten.
    pub(super) fn scientific(&self, precision: usize) -> (String, i64) {
        let precision = precision as i64;
        let rounded = self.rounded(precision + 1);
        let mut out = String::from(rounded.digit(0));
        if precision > 0 {
            out.push('.');
            out.extend((1..=precision).map(|place| rounded.digit(place)));
        }
        (out, rounded.exponent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_half_up() {
        let fixed = |value, precision| Digits::shortest(value).fixed(precision);
        assert_eq!(fixed(0.25, 1), "0.3");
        assert_eq!(fixed(0.35, 1), "0.4");
        assert_eq!(fixed(9.995, 2), "10.00");
        assert_eq!(fixed(0.5, 0), "1");
        assert_eq!(fixed(0.04, 1), "0.0");
        assert_eq!(fixed(0.0, 2), "0.00");
        assert_eq!(fixed(1e20, 1), "100000000000000000000.0");
        assert_eq!(Digits::decimal(-1_250, 3).fixed(1), "1.3");
        assert_eq!(Digits::shortest(15.0).scientific(0), ("2".to_owned(), 1));
        assert_eq!(Digits::shortest(0.0).scientific(2), ("0.00".to_owned(), 0));
        assert_eq!(Digits::shortest(999_999.5).scientific(2), ("1.00".to_owned(), 6));
    }
}
