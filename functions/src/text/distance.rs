//! How far two texts are from each other.

use arrow::array::ArrayRef;
use datafusion::error::Result;

use crate::{Call, Scalar, invalid};

pub(crate) const FUNCTIONS: &[Scalar] = &[
    Scalar::new("hamming_distance", &["(varchar, varchar) -> bigint"], hamming_distance, "The number of characters that differ at the same place."),
    Scalar::new(
        "levenshtein_distance",
        &["(varchar, varchar) -> bigint"],
        levenshtein_distance,
        "The fewest characters to insert, delete or replace.",
    ),
];

fn hamming_distance(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    call.bigints(|row| {
        let (left, right) = (left.value(row), right.value(row));
        if left.chars().count() != right.chars().count() {
            return Err(invalid("hamming_distance takes texts of the same length"));
        }
        Ok(Some(left.chars().zip(right.chars()).filter(|(left, right)| left != right).count() as i64))
    })
}

fn levenshtein_distance(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    call.bigints(|row| {
        let right: Vec<char> = right.value(row).chars().collect();
        let mut distances: Vec<i64> = (0..=right.len() as i64).collect();
        for (index, character) in left.value(row).chars().enumerate() {
            let mut diagonal = index as i64;
            distances[0] = diagonal + 1;
            for (place, other) in right.iter().enumerate() {
                let replaced = diagonal + i64::from(character != *other);
                diagonal = distances[place + 1];
                distances[place + 1] = replaced.min(diagonal + 1).min(distances[place] + 1);
            }
        }
        Ok(distances.last().copied())
    })
}
