//! Statistics of one and of two columns. Central moments are brought together by the formulas of P. Pébay, "Formulas for robust, one-pass parallel computation of
//! covariances and arbitrary-order statistical moments" (2008).

use super::function::Aggregate;
use super::numbers::{Groups, Numbers, One};

macro_rules! of_numbers {
    ($name:literal, $signatures:expr, $numbers:expr, $about:literal) => {
        Aggregate::new($name, $signatures, |_| Ok($numbers.state()), |types| Ok(One::start(&$numbers, types)), $about)
            .grouped(|types| Ok(Groups::start(&$numbers, types)))
    };
}

const DOUBLES: &[&str] = &["(double) -> double"];
const PAIRS: &[&str] = &["(real, real) -> real", "(double, double) -> double"];

pub(super) const FUNCTIONS: &[Aggregate] = &[
    of_numbers!("var_samp", DOUBLES, VARIANCE, "The variance of a sample.").also(&["variance"]),
    of_numbers!("var_pop", DOUBLES, VARIANCE_OF_ALL, "The variance of all values."),
    of_numbers!("stddev_samp", DOUBLES, DEVIATION, "The standard deviation of a sample.").also(&["stddev"]),
    of_numbers!("stddev_pop", DOUBLES, DEVIATION_OF_ALL, "The standard deviation of all values."),
    of_numbers!("skewness", DOUBLES, SKEWNESS, "How much values lean to one side."),
    of_numbers!("kurtosis", DOUBLES, KURTOSIS, "How far values lie out, compared with the normal distribution."),
    of_numbers!(
        "geometric_mean",
        &["(bigint) -> double", "(real) -> real", "(double) -> double"],
        GEOMETRIC_MEAN,
        "The root of the product of the values, of their number."
    ),
    of_numbers!("corr", PAIRS, CORRELATION, "The correlation of two columns."),
    of_numbers!("covar_pop", PAIRS, COVARIANCE_OF_ALL, "The covariance of all pairs."),
    of_numbers!("covar_samp", PAIRS, COVARIANCE, "The covariance of a sample of pairs."),
    of_numbers!("regr_slope", PAIRS, SLOPE, "The slope of the line that fits pairs of (y, x) best."),
    of_numbers!("regr_intercept", PAIRS, INTERCEPT, "Where the line that fits pairs of (y, x) best is at 0."),
];

/// Rows, mean, sum of squared distances from it.
const fn spread(result: fn(&[f64]) -> Option<f64>) -> Numbers {
    Numbers { width: 3, add: add_spread, merge: merge_spread, result }
}

pub(super) static VARIANCE: Numbers = spread(|state| (state[0] > 1.0).then(|| state[2] / (state[0] - 1.0)));
static VARIANCE_OF_ALL: Numbers = spread(|state| Some(state[2] / state[0]));
static DEVIATION: Numbers = spread(|state| (state[0] > 1.0).then(|| (state[2] / (state[0] - 1.0)).sqrt()));
static DEVIATION_OF_ALL: Numbers = spread(|state| Some((state[2] / state[0]).sqrt()));

fn add_spread(state: &mut [f64], row: &[f64]) {
    let [rows, mean, squares] = state else { return };
    let [value] = row else { return };
    *rows += 1.0;
    let delta = value - *mean;
    *mean += delta / *rows;
    *squares += delta * (value - *mean);
}

fn merge_spread(state: &mut [f64], other: &[f64]) {
    let [rows, mean, squares] = state else { return };
    let [other_rows, other_mean, other_squares] = other else { return };
    let all = *rows + other_rows;
    let delta = other_mean - *mean;
    *squares += other_squares + delta * delta * *rows * other_rows / all;
    *mean += delta * other_rows / all;
    *rows = all;
}

/// Rows, mean, sums of the second, third and fourth powers of the distances from it.
const fn moments(result: fn(&[f64]) -> Option<f64>) -> Numbers {
    Numbers { width: 5, add: add_moments, merge: merge_moments, result }
}

static SKEWNESS: Numbers = moments(|state| (state[0] >= 3.0).then(|| state[0].sqrt() * state[3] / state[2].powf(1.5)));
static KURTOSIS: Numbers = moments(|state| {
    let rows = state[0];
    (rows >= 4.0).then(|| {
        let variance = state[2] / (rows - 1.0);
        let weight = rows * (rows + 1.0) / ((rows - 1.0) * (rows - 2.0) * (rows - 3.0));
        weight * state[4] / (variance * variance) - 3.0 * (rows - 1.0) * (rows - 1.0) / ((rows - 2.0) * (rows - 3.0))
    })
});

fn add_moments(state: &mut [f64], row: &[f64]) {
    let [rows, mean, second, third, fourth] = state else { return };
    let [value] = row else { return };
    let before = *rows;
    *rows += 1.0;
    let delta = value - *mean;
    let part = delta / *rows;
    let square = part * part;
    let change = delta * part * before;
    *mean += part;
    *fourth += change * square * (*rows * *rows - 3.0 * *rows + 3.0) + 6.0 * square * *second - 4.0 * part * *third;
    *third += change * part * (*rows - 2.0) - 3.0 * part * *second;
    *second += change;
}

fn merge_moments(state: &mut [f64], other: &[f64]) {
    let [rows, mean, second, third, fourth] = state else { return };
    let [other_rows, other_mean, other_second, other_third, other_fourth] = other else { return };
    let (here, there) = (*rows, *other_rows);
    let all = here + there;
    let delta = other_mean - *mean;
    let (square, product) = (delta * delta, here * there);
    *fourth += other_fourth
        + square * square * product * (here * here - product + there * there) / (all * all * all)
        + 6.0 * square * (here * here * other_second + there * there * *second) / (all * all)
        + 4.0 * delta * (here * other_third - there * *third) / all;
    *third += other_third + square * delta * product * (here - there) / (all * all) + 3.0 * delta * (here * other_second - there * *second) / all;
    *second += other_second + square * product / all;
    *mean += delta * there / all;
    *rows = all;
}

/// Rows, sum of logarithms.
static GEOMETRIC_MEAN: Numbers = Numbers {
    width: 2,
    add: |state, row| {
        if let ([rows, logarithms], [value]) = (state, row) {
            *rows += 1.0;
            *logarithms += value.ln();
        }
    },
    merge: add_up,
    result: |state| Some((state[1] / state[0]).exp()),
};

/// Rows, sum.
pub(super) static MEAN: Numbers = Numbers {
    width: 2,
    add: |state, row| {
        if let ([rows, sum], [value]) = (state, row) {
            *rows += 1.0;
            *sum += value;
        }
    },
    merge: add_up,
    result: |state| Some(state[1] / state[0]),
};

fn add_up(state: &mut [f64], other: &[f64]) {
    state.iter_mut().zip(other).for_each(|(number, other)| *number += other);
}

/// Rows, means of `y` and `x`, sums of squared distances from them, sum of the products of the distances.
const fn joint(result: fn(&[f64]) -> Option<f64>) -> Numbers {
    Numbers { width: 6, add: add_joint, merge: merge_joint, result }
}

static CORRELATION: Numbers = joint(|state| {
    let scale = (state[3] * state[4]).sqrt();
    (scale != 0.0).then(|| state[5] / scale)
});
static COVARIANCE_OF_ALL: Numbers = joint(|state| Some(state[5] / state[0]));
static COVARIANCE: Numbers = joint(|state| (state[0] > 1.0).then(|| state[5] / (state[0] - 1.0)));
static SLOPE: Numbers = joint(slope);
static INTERCEPT: Numbers = joint(|state| slope(state).map(|slope| state[1] - slope * state[2]));

fn slope(state: &[f64]) -> Option<f64> {
    (state[4] != 0.0).then(|| state[5] / state[4])
}

fn add_joint(state: &mut [f64], row: &[f64]) {
    let [rows, y_mean, x_mean, y_squares, x_squares, products] = state else { return };
    let [y, x] = row else { return };
    *rows += 1.0;
    let (y_delta, x_delta) = (y - *y_mean, x - *x_mean);
    *y_mean += y_delta / *rows;
    *x_mean += x_delta / *rows;
    *y_squares += y_delta * (y - *y_mean);
    *x_squares += x_delta * (x - *x_mean);
    *products += y_delta * (x - *x_mean);
}

fn merge_joint(state: &mut [f64], other: &[f64]) {
    let [rows, y_mean, x_mean, y_squares, x_squares, products] = state else { return };
    let [other_rows, other_y, other_x, other_y_squares, other_x_squares, other_products] = other else { return };
    let all = *rows + other_rows;
    let weight = *rows * other_rows / all;
    let (y_delta, x_delta) = (other_y - *y_mean, other_x - *x_mean);
    *y_squares += other_y_squares + y_delta * y_delta * weight;
    *x_squares += other_x_squares + x_delta * x_delta * weight;
    *products += other_products + y_delta * x_delta * weight;
    *y_mean += y_delta * other_rows / all;
    *x_mean += x_delta * other_rows / all;
    *rows = all;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_the_whole() {
        let rows: [[f64; 2]; 7] = [[1.0, 2.0], [2.0, 4.0], [4.0, 5.0], [9.0, -3.0], [2.5, 0.0], [7.0, 1.0], [3.0, 8.0]];
        for numbers in [&VARIANCE, &SKEWNESS, &KURTOSIS, &GEOMETRIC_MEAN, &MEAN, &CORRELATION, &INTERCEPT] {
            let width = if numbers.width == 6 { 2 } else { 1 };
            let state = |rows: &[[f64; 2]]| {
                let mut state = vec![0.0; numbers.width];
                rows.iter().for_each(|row| (numbers.add)(&mut state, &row[..width]));
                state
            };
            let whole = state(&rows);
            let mut parts = state(&rows[..3]);
            (numbers.merge)(&mut parts, &state(&rows[3..]));
            for (part, whole) in parts.iter().zip(&whole) {
                assert!((part - whole).abs() < 1e-9, "{parts:?} {whole:?}");
            }
        }
    }
}
