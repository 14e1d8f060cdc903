//! Set digests: the least hashes of a set with how often each was there (A. Broder, "On the resemblance and containment of documents", 1997), beside a HyperLogLog for
//! how many there are. They tell how alike two sets are.

use std::collections::BTreeMap;

use datafusion::error::Result;

use super::hll::Hll;
use super::{Reader, unreadable};

/// What the bytes of a digest begin with.
const FORMAT: u8 = 1;

/// The hashes that are kept at most, as in Trino.
const HASHES_MAX: usize = 8_192;

/// The bits that tell the bucket of a hash.
const BUCKET_BITS: u32 = 11;

/// A digest.
#[derive(Clone, Debug)]
pub(crate) struct SetDigest {
    distinct: Hll,
    counts: BTreeMap<i64, i16>,
}

impl SetDigest {
    /// A digest of nothing.
    pub(crate) fn new() -> Self {
        Self { distinct: Hll::new(BUCKET_BITS), counts: BTreeMap::new() }
    }

    /// Adds a value by its hash.
    pub(crate) fn add(&mut self, hash: u64) {
        self.distinct.add(hash);
        self.count(hash.cast_signed(), 1);
    }

    fn count(&mut self, hash: i64, times: i16) {
        if self.counts.len() < HASHES_MAX || self.counts.last_key_value().is_some_and(|(last, _)| hash <= *last) {
            let count = self.counts.entry(hash).or_default();
            *count = count.saturating_add(times);
            if self.counts.len() > HASHES_MAX {
                self.counts.pop_last();
            }
        }
    }

    /// Adds what another digest is of.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.distinct.merge(&other.distinct)?;
        other.counts.iter().for_each(|(hash, times)| self.count(*hash, *times));
        Ok(())
    }

    fn is_exact(&self) -> bool {
        self.counts.len() < HASHES_MAX
    }

    /// How many different values there are.
    pub(crate) fn cardinality(&self) -> i64 {
        if self.is_exact() { self.counts.len() as i64 } else { self.distinct.cardinality() }
    }

    /// The hashes with how often they were there.
    pub(crate) fn counts(&self) -> impl ExactSizeIterator<Item = (i64, i16)> + '_ {
        self.counts.iter().map(|(hash, times)| (*hash, *times))
    }

    /// How many of the values of both sets are in each of them, from 0 to 1.
    pub(crate) fn jaccard_index(&self, other: &Self) -> f64 {
        let least = self.counts.len().min(other.counts.len());
        let mut all: Vec<i64> = self.counts.keys().chain(other.counts.keys()).copied().collect();
        all.sort_unstable();
        all.dedup();
        let common = all.iter().take(least).filter(|hash| self.counts.contains_key(hash) && other.counts.contains_key(hash)).count();
        common as f64 / least as f64
    }

    /// How many different values are in both sets.
    pub(crate) fn intersection(&self, other: &Self) -> Result<i64> {
        if self.is_exact() && other.is_exact() {
            return Ok(self.counts.keys().filter(|hash| other.counts.contains_key(hash)).count() as i64);
        }
        let mut both = self.clone();
        both.merge(other)?;
        let common = (self.jaccard_index(other) * both.cardinality() as f64).round() as i64;
        Ok(common.min(self.cardinality()).min(other.cardinality()))
    }

    /// The digest as bytes.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let distinct = self.distinct.encoded();
        let mut bytes = vec![FORMAT];
        bytes.extend((distinct.len() as i32).to_le_bytes());
        bytes.extend(distinct);
        bytes.extend((self.counts.len() as i32).to_le_bytes());
        for (hash, times) in &self.counts {
            bytes.extend(hash.to_le_bytes());
            bytes.extend(times.to_le_bytes());
        }
        bytes
    }

    /// Reads a digest. Errors: `INVALID_FUNCTION_ARGUMENT` for other bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { bytes };
        let [format] = reader.array()?;
        if format != FORMAT {
            return Err(unreadable());
        }
        let length = reader.length()?;
        let distinct = Hll::from_bytes(reader.take(length)?)?;
        let mut counts = BTreeMap::new();
        for _ in 0..reader.length()?.min(HASHES_MAX) {
            counts.insert(i64::from_le_bytes(reader.array()?), i16::from_le_bytes(reader.array()?));
        }
        Ok(Self { distinct, counts })
    }

    /// Whether bytes begin as those of a digest do.
    pub(crate) fn is(bytes: &[u8]) -> bool {
        bytes.first() == Some(&FORMAT)
    }

    /// The memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.distinct.size() + self.counts.len() * 2 * size_of::<(i64, i16)>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::murmur;
    use super::*;

    fn of(values: std::ops::Range<i64>) -> SetDigest {
        let mut digest = SetDigest::new();
        values.for_each(|value| digest.add(murmur::hash(&value.to_le_bytes())));
        digest
    }

    #[test]
    fn sets_are_compared() {
        let (few, more) = (of(1..4), of(1..5));
        assert_eq!((few.intersection(&more).unwrap(), few.cardinality()), (3, 3));
        let (left, right) = (of(0..20_000), of(10_000..30_000));
        let index = left.jaccard_index(&right);
        assert!((index - 1.0 / 3.0).abs() < 0.02, "{index}");
        let common = left.intersection(&right).unwrap();
        assert!((9_000..11_000).contains(&common), "{common}");
        let read = SetDigest::from_bytes(&left.encoded()).unwrap();
        assert_eq!(read.jaccard_index(&left), 1.0);
        assert!(SetDigest::from_bytes(&left.encoded()[..40]).is_err());
    }
}
