//! T-digests: how values are distributed, closest at both ends (T. Dunning, "The t-digest: efficient estimates of distributions", 2021), as Trino's library (airlift/stats) has them:
//! what is asked of one gets the same answer here and there.

use datafusion::error::Result;

use super::{Reader, unreadable};
use crate::invalid;

/// What the bytes of a digest begin with.
const FORMAT: u8 = 0;

/// How many centroids there are about, in Trino.
const COMPRESSION: f64 = 100.0;

/// The least compression that can be asked for.
const COMPRESSION_MIN: f64 = 10.0;

/// Values that wait to be brought together, for each of the centroids.
const WAITING_FACTOR: usize = 5;

/// Several values, by their mean.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Centroid {
    mean: f64,
    weight: f64,
}

/// A digest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TDigest {
    compression: f64,
    min: f64,
    max: f64,
    weight: f64,
    centroids: Vec<Centroid>,
    /// How many of the first centroids are in order and brought together.
    merged: usize,
    /// Whether the next time goes from the greatest value down: so neither side is always the first.
    backwards: bool,
}

impl TDigest {
    /// A digest of nothing.
    pub(crate) fn new() -> Self {
        Self::with_compression(COMPRESSION)
    }

    fn with_compression(compression: f64) -> Self {
        Self { compression, min: f64::INFINITY, max: f64::NEG_INFINITY, weight: 0.0, centroids: Vec::new(), merged: 0, backwards: false }
    }

    /// Whether it is of nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.centroids.is_empty()
    }

    /// Adds a value. Errors: `INVALID_FUNCTION_ARGUMENT` for NaN, and for weights that are not positive.
    pub(crate) fn add(&mut self, value: f64, weight: f64) -> Result<()> {
        if !value.is_finite() {
            return Err(invalid("a digest takes finite values only"));
        }
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(invalid(format!("the weight of a value must be positive, and is {weight}")));
        }
        self.centroids.push(Centroid { mean: value, weight });
        self.weight += weight;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        if self.centroids.len() >= self.capacity() {
            self.compress();
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.merged + (self.compression as usize + 1) * WAITING_FACTOR
    }

    /// Adds what another digest is of.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.centroids.extend(&other.centroids);
        self.weight += other.weight;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if self.centroids.len() >= self.capacity() {
            self.compress();
        }
    }

    /// Brings values together: only as many as may be at their place.
    fn compress(&mut self) {
        if self.merged == self.centroids.len() {
            return;
        }
        self.centroids.sort_by(|one, other| one.mean.total_cmp(&other.mean));
        if self.backwards {
            self.centroids.reverse();
        }
        let compression = 2.0 * self.compression;
        // Below that there would be no room at all.
        let normalizer = compression / (4.0 * (self.weight / compression).max(0.005).ln() + 24.0);
        let size_at = |part: f64| part * (1.0 - part) / normalizer;
        let mut kept: Vec<Centroid> = Vec::new();
        let mut before = 0.0;
        let mut open: Option<Centroid> = None;
        for next in self.centroids.drain(..) {
            open = Some(match open {
                None => next,
                Some(held) => {
                    let weight = held.weight + next.weight;
                    let (from, to) = (before / self.weight, (before + weight) / self.weight);
                    if weight <= self.weight * size_at(from).min(size_at(to)) {
                        Centroid { mean: held.mean + (next.mean - held.mean) * next.weight / weight, weight }
                    } else {
                        before += held.weight;
                        kept.push(held);
                        next
                    }
                }
            });
        }
        kept.extend(open);
        if self.backwards {
            kept.reverse();
        }
        self.backwards = !self.backwards;
        self.merged = kept.len();
        self.centroids = kept;
    }

    /// About which value is greater than this part of all. `None` for a digest of nothing.
    pub(crate) fn value_at(&mut self, quantile: f64) -> Option<f64> {
        self.compress();
        let (first, last) = (*self.centroids.first()?, *self.centroids.last()?);
        if self.centroids.len() == 1 {
            return Some(first.mean);
        }
        let offset = quantile * self.weight;
        if offset < 1.0 {
            return Some(self.min);
        }
        if first.weight > 1.0 && offset < first.weight / 2.0 {
            return Some(self.min + (offset - 1.0) / (first.weight / 2.0 - 1.0) * (first.mean - self.min));
        }
        if offset > self.weight - 1.0 {
            return Some(self.max);
        }
        if last.weight > 1.0 && self.weight - offset <= last.weight / 2.0 {
            return Some(self.max - (self.weight - offset - 1.0) / (last.weight / 2.0 - 1.0) * (self.max - last.mean));
        }
        let mut passed = first.weight / 2.0;
        for pair in self.centroids.windows(2) {
            let [left, right] = pair else { break };
            let step = (left.weight + right.weight) / 2.0;
            if passed + step > offset {
                let (mut after_left, mut before_right) = (offset - passed, passed + step - offset);
                // A value by itself is at its place.
                if left.weight == 1.0 {
                    if after_left < 0.5 {
                        return Some(left.mean);
                    }
                    after_left -= 0.5;
                }
                if right.weight == 1.0 {
                    if before_right <= 0.5 {
                        return Some(right.mean);
                    }
                    before_right -= 0.5;
                }
                return Some(between(left.mean, before_right, right.mean, after_left));
            }
            passed += step;
        }
        let after = (offset - (self.weight - last.weight / 2.0)).clamp(0.0, last.weight / 2.0);
        Some(between(last.mean, last.weight / 2.0 - after, self.max, after))
    }

    /// The digest as bytes.
    pub(crate) fn encoded(&mut self) -> Vec<u8> {
        self.compress();
        let mut bytes = vec![FORMAT];
        for number in [self.min, self.max, self.compression, self.weight] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend((self.centroids.len() as i32).to_le_bytes());
        self.centroids.iter().for_each(|centroid| bytes.extend(centroid.mean.to_le_bytes()));
        self.centroids.iter().for_each(|centroid| bytes.extend(centroid.weight.to_le_bytes()));
        bytes
    }

    /// Reads a digest. Errors: `INVALID_FUNCTION_ARGUMENT` for other bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { bytes };
        let [format] = reader.array()?;
        let (min, max, compression, weight) = (reader.double()?, reader.double()?, reader.double()?, reader.double()?);
        let count = reader.length()?;
        if format != FORMAT || !(COMPRESSION_MIN..=f64::from(u16::MAX)).contains(&compression) {
            return Err(unreadable());
        }
        let mut doubles = || -> Result<Vec<f64>> {
            let bytes = reader.take(count.checked_mul(size_of::<f64>()).ok_or_else(unreadable)?)?;
            Ok(bytes.as_chunks::<8>().0.iter().map(|number| f64::from_le_bytes(*number)).collect())
        };
        let (means, weights) = (doubles()?, doubles()?);
        let centroids: Vec<Centroid> = means.into_iter().zip(weights).map(|(mean, weight)| Centroid { mean, weight }).collect();
        let is_sound = |centroid: &Centroid| centroid.mean.is_finite() && centroid.weight > 0.0 && centroid.weight.is_finite();
        if !weight.is_finite() || !centroids.iter().all(is_sound) {
            return Err(unreadable());
        }
        Ok(Self { compression, min, max, weight, merged: centroids.len(), centroids, backwards: false })
    }

    /// The memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.centroids.capacity() * size_of::<Centroid>()
    }
}

/// The mean of two values with weights, which lies between them.
fn between(left: f64, left_weight: f64, right: f64, right_weight: f64) -> f64 {
    let mean = (left * left_weight + right * right_weight) / (left_weight + right_weight);
    mean.max(left.min(right)).min(left.max(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> TDigest {
        let mut digest = TDigest::new();
        values.into_iter().for_each(|value| digest.add(value, 1.0).unwrap());
        digest
    }

    #[test]
    fn few_values_are_found_as_they_are() {
        let mut digest = of([3.0, 1.0, 2.0, 4.0]);
        let values = [0.0, 0.25, 0.5, 0.75, 1.0].map(|quantile| digest.value_at(quantile).unwrap());
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(TDigest::new().value_at(0.5), None);
        let mut weighted = TDigest::new();
        weighted.add(1.0, 1.0).unwrap();
        weighted.add(5.0, 4.0).unwrap();
        assert_eq!(weighted.value_at(0.5), Some(4.0));
    }

    #[test]
    fn many_values_take_little_and_are_about_right() {
        let part = |start: usize| of((start..100_000).step_by(4).map(|value| value as f64));
        let mut digest = TDigest::new();
        for start in 0..4 {
            digest.merge(&TDigest::from_bytes(&part(start).encoded()).unwrap());
        }
        for quantile in [0.001, 0.01, 0.25, 0.5, 0.9, 0.999] {
            let found = digest.value_at(quantile).unwrap() / 100_000.0;
            assert!((found - quantile).abs() < 0.01, "{found} instead of {quantile}");
        }
        assert!(digest.encoded().len() < 8_000, "{}", digest.encoded().len());
    }

    #[test]
    fn bytes_are_checked() {
        let mut digest = of([1.0, 2.0, 3.0]);
        let bytes = digest.encoded();
        assert_eq!(TDigest::from_bytes(&bytes).unwrap().value_at(0.5), Some(2.0));
        for bytes in [&bytes[..10], &bytes[..bytes.len() - 1], &[0; 37], b"text"] {
            assert!(TDigest::from_bytes(bytes).is_err());
        }
        assert!(digest.add(f64::NAN, 1.0).is_err() && digest.add(1.0, 0.0).is_err());
    }
}
