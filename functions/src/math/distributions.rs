//! Functions of probability distributions.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use super::special::{beta_below, beta_quantile, normal_below, normal_quantile, student_below, student_density};
use crate::{Call, Scalar, invalid};

const TWO: &[&str] = &["(double, double) -> double"];
const THREE: &[&str] = &["(double, double, double) -> double"];
const WILSON: &[&str] = &["(bigint, bigint, double) -> double"];

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("beta_cdf", THREE, |call| of_three(call, beta_cdf), "The part of a beta distribution (a, b) below a value."),
    Scalar::new("inverse_beta_cdf", THREE, |call| of_three(call, inverse_beta_cdf), "The value below which a part of a beta distribution (a, b) is."),
    Scalar::new(
        "normal_cdf",
        THREE,
        |call| of_three(call, normal_cdf),
        "The part of a normal distribution (mean, standard deviation) below a value.",
    ),
    Scalar::new(
        "inverse_normal_cdf",
        THREE,
        |call| of_three(call, inverse_normal_cdf),
        "The value below which a part of a normal distribution (mean, standard deviation) is.",
    ),
    Scalar::new("t_cdf", TWO, |call| of_two(call, student_below), "The part of Student's distribution below a value, by its degrees of freedom."),
    Scalar::new("t_pdf", TWO, |call| of_two(call, student_density), "How dense Student's distribution is at a value, by its degrees of freedom."),
    Scalar::new(
        "wilson_interval_lower",
        WILSON,
        |call| wilson(call, -1.0),
        "The lower end of Wilson's interval of successes among trials, by a z-score.",
    ),
    Scalar::new(
        "wilson_interval_upper",
        WILSON,
        |call| wilson(call, 1.0),
        "The upper end of Wilson's interval of successes among trials, by a z-score.",
    ),
];

fn of_three(call: &Call<'_>, value: impl Fn(f64, f64, f64) -> Result<f64>) -> Result<ArrayRef> {
    let (first, second, third) = (call.double(0)?, call.double(1)?, call.double(2)?);
    call.doubles(|row| value(first.value(row), second.value(row), third.value(row)).map(Some))
}

fn of_two(call: &Call<'_>, value: impl Fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let (values, freedoms) = (call.double(0)?, call.double(1)?);
    call.doubles(|row| match freedoms.value(row) {
        freedom if freedom > 0.0 => Ok(Some(value(values.value(row), freedom))),
        _ => Err(invalid("the degrees of freedom must be greater than 0")),
    })
}

fn check(holds: bool, message: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(invalid(message)) }
}

fn check_beta(a: f64, b: f64) -> Result<()> {
    check(a > 0.0 && b > 0.0, "a and b of a beta distribution must be greater than 0")
}

fn check_normal(deviation: f64) -> Result<()> {
    check(deviation > 0.0, "the standard deviation must be greater than 0")
}

fn beta_cdf(a: f64, b: f64, value: f64) -> Result<f64> {
    check_beta(a, b)?;
    check((0.0..=1.0).contains(&value), "the value must be from 0 to 1")?;
    Ok(beta_below(a, b, value))
}

fn inverse_beta_cdf(a: f64, b: f64, part: f64) -> Result<f64> {
    check_beta(a, b)?;
    check((0.0..=1.0).contains(&part), "the probability must be from 0 to 1")?;
    Ok(beta_quantile(a, b, part))
}

fn normal_cdf(mean: f64, deviation: f64, value: f64) -> Result<f64> {
    check_normal(deviation)?;
    Ok(normal_below((value - mean) / deviation))
}

fn inverse_normal_cdf(mean: f64, deviation: f64, part: f64) -> Result<f64> {
    check_normal(deviation)?;
    check(part > 0.0 && part < 1.0, "the probability must be greater than 0 and less than 1")?;
    Ok(mean + deviation * normal_quantile(part))
}

/// One end of the interval: the lower one if `side` is -1, the upper one if it is 1.
fn wilson(call: &Call<'_>, side: f64) -> Result<ArrayRef> {
    let (successes, trials, scores) = (call.bigint(0)?, call.bigint(1)?, call.double(2)?);
    call.doubles(|row| {
        let (successes, trials, score) = (successes.value(row), trials.value(row), scores.value(row));
        check(successes >= 0, "the number of successes must not be negative")?;
        check(trials > 0, "the number of trials must be greater than 0")?;
        check(successes <= trials, "there must not be more successes than trials")?;
        check(score >= 0.0, "the z-score must not be negative")?;
        let (count, square) = (trials as f64, score * score);
        let part = successes as f64 / count;
        let center = part + square / (2.0 * count);
        let half = score * ((part * (1.0 - part) + square / (4.0 * count)) / count).sqrt();
        Ok(Some((center + side * half) / (1.0 + square / count)))
    })
}
