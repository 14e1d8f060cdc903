//! The functions that distributions are made of: the regularized incomplete beta function and its inverse, and the quantiles of the normal distribution.

use std::f64::consts::{PI, SQRT_2};

/// What is too small to divide by, in continued fractions.
const TINY: f64 = 1e-300;
const STEPS_MAX: u32 = 100_000;

/// The part of the standard normal distribution below a value.
pub(super) fn normal_below(value: f64) -> f64 {
    0.5 * libm::erfc(-value / SQRT_2)
}

/// The value below which a part of the standard normal distribution is; the part is between 0 and 1, and neither.
///
/// By Acklam's rational functions, which are right to nine digits, and one step of Halley's method.
pub(super) fn normal_quantile(part: f64) -> f64 {
    const NUMERATOR: [f64; 6] =
        [-39.696_830_286_653_76, 220.946_098_424_520_8, -275.928_510_446_969, 138.357_751_867_269, -30.664_798_066_147_16, 2.506_628_277_459_239];
    const DENOMINATOR: [f64; 6] =
        [-54.476_098_798_224_06, 161.585_836_858_040_9, -155.698_979_859_886_6, 66.801_311_887_719_72, -13.280_681_552_885_72, 1.0];
    const TAIL_NUMERATOR: [f64; 6] = [
        -0.007_784_894_002_430_293,
        -0.322_396_458_041_136_4,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const TAIL_DENOMINATOR: [f64; 5] = [0.007_784_695_709_041_462, 0.322_467_129_070_039_8, 2.445_134_137_142_996, 3.754_408_661_907_416, 1.0];
    const TAIL: f64 = 0.024_25;
    let tail = |part: f64| {
        let root = (-2.0 * part.ln()).sqrt();
        polynomial(&TAIL_NUMERATOR, root) / polynomial(&TAIL_DENOMINATOR, root)
    };
    let near = if part < TAIL {
        tail(part)
    } else if part > 1.0 - TAIL {
        -tail(1.0 - part)
    } else {
        let (middle, square) = (part - 0.5, (part - 0.5) * (part - 0.5));
        polynomial(&NUMERATOR, square) * middle / polynomial(&DENOMINATOR, square)
    };
    let step = (normal_below(near) - part) * (2.0 * PI).sqrt() * (near * near / 2.0).exp();
    near - step / (1.0 + near * step / 2.0)
}

/// The coefficients are those of the highest power first.
fn polynomial(coefficients: &[f64], value: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * value + coefficient)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// The part of the beta distribution with these parameters, both greater than 0, below a value from 0 to 1.
pub(super) fn beta_below(a: f64, b: f64, value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    if value >= 1.0 {
        return 1.0;
    }
    let front = (a * value.ln() + b * (-value).ln_1p() - ln_beta(a, b)).exp();
    // Where the fraction ends soon.
    if value <= (a + 1.0) / (a + b + 2.0) { front * beta_fraction(a, b, value) / a } else { 1.0 - front * beta_fraction(b, a, 1.0 - value) / b }
}

/// The continued fraction of the incomplete beta function, by Lentz's method.
fn beta_fraction(a: f64, b: f64, value: f64) -> f64 {
    let nonzero = |number: f64| if number.abs() < TINY { TINY } else { number };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * value / (a + 1.0));
    let mut fraction = d;
    for step in 1..=STEPS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * value / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * value / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for coefficient in [even, odd] {
            d = 1.0 / nonzero(1.0 + coefficient * d);
            c = nonzero(1.0 + coefficient / c);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction
}

/// The value below which a part of the beta distribution is. The interval in which it lies is halved until there is no number between its ends.
pub(super) fn beta_quantile(a: f64, b: f64, part: f64) -> f64 {
    if part <= 0.0 || part >= 1.0 {
        return part.clamp(0.0, 1.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if beta_below(a, b, middle) < part {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// How dense Student's distribution with so many degrees of freedom is at a value.
pub(super) fn student_density(value: f64, freedom: f64) -> f64 {
    let half = freedom / 2.0;
    let ln = libm::lgamma(half + 0.5) - libm::lgamma(half) - 0.5 * (PI.ln() + freedom.ln()) - (half + 0.5) * (value * value / freedom).ln_1p();
    ln.exp()
}

/// The part of Student's distribution with so many degrees of freedom below a value.
pub(super) fn student_below(value: f64, freedom: f64) -> f64 {
    if value.is_nan() {
        return value;
    }
    let both_tails = beta_below(freedom / 2.0, 0.5, freedom / (freedom + value * value));
    if value < 0.0 { both_tails / 2.0 } else { 1.0 - both_tails / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_inverse() {
        for part in [1e-300, 1e-10, 0.01, 0.3, 0.5, 0.65, 0.999_999] {
            let below = normal_below(normal_quantile(part));
            assert!((below / part - 1.0).abs() < 1e-12, "{part} {below}");
        }
        assert_eq!(normal_quantile(0.5), 0.0);
        for (a, b, part) in [(2.0, 3.0, 0.5), (0.5, 0.5, 0.2), (20.0, 30.0, 0.01)] {
            let below = beta_below(a, b, beta_quantile(a, b, part));
            assert!((below - part).abs() < 1e-9, "{a} {b} {part} {below}");
        }
    }

    #[test]
    fn many_degrees_of_freedom_are_nearly_normal() {
        assert!((student_below(1.96, 1e6) - normal_below(1.96)).abs() < 1e-6);
        assert!((beta_below(1e6, 1e6, 0.5) - 0.5).abs() < 1e-9);
    }
}
