//! Whole numbers multiplied and divided by powers of ten, as the values of decimals are.

/// 10 to a power; `None` if no number of 128 bits is as large.
pub(super) fn power_of_ten(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// How a number that is divided becomes a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    /// The nearest, halves away from zero.
    Nearest,
    /// The next lower one.
    Down,
    /// The next higher one.
    Up,
    /// The next one towards zero.
    TowardsZero,
}

/// A number divided by 10 to a power.
pub(super) fn divided(number: i128, exponent: u32, rounding: Rounding) -> i128 {
    let Some(divisor) = power_of_ten(exponent) else {
        return match rounding {
            Rounding::Up if number > 0 => 1,
            Rounding::Down if number < 0 => -1,
            _ => 0,
        };
    };
    let (quotient, rest) = (number / divisor, number % divisor);
    let away = match rounding {
        // Twice the rest might be too large.
        Rounding::Nearest => rest.abs() >= divisor - rest.abs(),
        Rounding::Down => rest < 0,
        Rounding::Up => rest > 0,
        Rounding::TowardsZero => false,
    };
    if away { quotient + rest.signum() } else { quotient }
}

/// The number of tenths, hundredths and so on that a count of digits behind the point leaves away; 0 if it leaves none.
pub(super) fn digits_left_away(scale: i64, digits: i64) -> u32 {
    u32::try_from(scale.saturating_sub(digits).max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded() {
        let all = |number| [Rounding::Nearest, Rounding::Down, Rounding::Up, Rounding::TowardsZero].map(|rounding| divided(number, 1, rounding));
        assert_eq!(all(25), [3, 2, 3, 2]);
        assert_eq!(all(-25), [-3, -3, -2, -2]);
        assert_eq!(all(20), [2, 2, 2, 2]);
        assert_eq!(all(-1), [0, -1, 0, 0]);
        assert_eq!(divided(i128::MAX, 39, Rounding::Up), 1);
        assert_eq!(divided(99_999_999_999_999_999_999_999_999_999_999_999_999, 38, Rounding::Nearest), 1);
    }

    #[test]
    fn digits_are_counted() {
        assert_eq!((digits_left_away(2, 1), digits_left_away(2, 5), digits_left_away(2, -1), digits_left_away(0, i64::MIN)), (1, 0, 3, u32::MAX));
    }
}
