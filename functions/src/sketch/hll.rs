//! HyperLogLog: how many different values there are (Flajolet and others, 2007), in the two forms of Trino's library (airlift/stats, "HyperLogLog format"). A sketch of few
//! values has an entry for each, a larger one a register for each bucket.
//!
//! The number comes from the empty buckets as long as there are many; then by O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), which needs no
//! tables of corrections.

use std::collections::BTreeMap;

use datafusion::error::Result;

use super::{Reader, unreadable};
use crate::invalid;

const SPARSE: u8 = 2;
const DENSE: u8 = 3;

/// The bits of a hash by which entries of few values differ.
const PREFIX_BITS: u32 = 26;

/// The bits in which an entry says how many zeros follow.
const VALUE_BITS: u32 = 6;

/// What is held of a register apart from the baseline of all; more is held beside.
const DELTA_MAX: u8 = 15;

/// The part of the buckets that must be empty for counting these.
const EMPTY_PART_MIN: f64 = 0.4;

/// A sketch.
#[derive(Clone, Debug)]
pub(crate) struct Hll {
    /// The first bits of a hash, which tell its bucket.
    bits: u32,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// The zeros behind each prefix that was seen.
    Sparse(BTreeMap<u32, u8>),
    /// One more than the most zeros that were seen, of each bucket.
    Dense(Vec<u8>),
}

impl Hll {
    /// A sketch of nothing, with two to the power of `bits` buckets, from 4 to 16.
    pub(crate) fn new(bits: u32) -> Self {
        Self { bits: bits.clamp(4, 16), form: Form::Sparse(BTreeMap::new()) }
    }

    /// A sketch of nothing whose standard error is at most this.
    pub(crate) fn with_error(error: f64) -> Result<Self> {
        if !(0.004_062_5..=0.26).contains(&error) {
            return Err(invalid(format!("the standard error must be from 0.0040625 to 0.26, and is {error}")));
        }
        let buckets = (1.0816 / (error * error)).ceil() as u64;
        Ok(Self::new(buckets.next_power_of_two().trailing_zeros()))
    }

    fn buckets(&self) -> usize {
        1 << self.bits
    }

    /// Adds a value by its hash.
    pub(crate) fn add(&mut self, hash: u64) {
        let bits = self.bits;
        match &mut self.form {
            Form::Dense(registers) => {
                let zeros = ((hash << bits) | (1 << (bits - 1))).leading_zeros();
                let register = &mut registers[(hash >> (u64::BITS - bits)) as usize];
                *register = (*register).max(zeros as u8 + 1);
            }
            Form::Sparse(entries) => {
                let zeros = ((hash << PREFIX_BITS) | (1 << (PREFIX_BITS - 1))).leading_zeros();
                let entry = entries.entry((hash >> (u64::BITS - PREFIX_BITS)) as u32).or_default();
                *entry = (*entry).max(zeros as u8);
                self.grow();
            }
        }
    }

    /// Gives a sketch registers that has too many entries.
    fn grow(&mut self) {
        if matches!(&self.form, Form::Sparse(entries) if entries.len() > self.buckets() / 8) {
            self.form = Form::Dense(self.registers());
        }
    }

    fn registers(&self) -> Vec<u8> {
        match &self.form {
            Form::Dense(registers) => registers.clone(),
            Form::Sparse(entries) => {
                let mut registers = vec![0_u8; self.buckets()];
                let more = PREFIX_BITS - self.bits;
                for (prefix, zeros) in entries {
                    let inner = prefix & ((1 << more) - 1);
                    let zeros = if inner == 0 { more + u32::from(*zeros) } else { inner.leading_zeros() - (u32::BITS - more) };
                    let register = &mut registers[(prefix >> more) as usize];
                    *register = (*register).max(zeros as u8 + 1);
                }
                registers
            }
        }
    }

    /// Adds what another sketch is of. Errors: `INVALID_FUNCTION_ARGUMENT` if it has another number of buckets.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        if self.bits != other.bits {
            return Err(invalid("sketches with different numbers of buckets cannot be brought together"));
        }
        if let (Form::Sparse(entries), Form::Sparse(others)) = (&mut self.form, &other.form) {
            for (prefix, zeros) in others {
                let entry = entries.entry(*prefix).or_default();
                *entry = (*entry).max(*zeros);
            }
            self.grow();
        } else {
            let mut registers = self.registers();
            registers.iter_mut().zip(other.registers()).for_each(|(register, other)| *register = (*register).max(other));
            self.form = Form::Dense(registers);
        }
        Ok(())
    }

    /// About how many different values the sketch is of.
    pub(crate) fn cardinality(&self) -> i64 {
        let estimate = match &self.form {
            Form::Sparse(entries) => by_empty(1 << PREFIX_BITS, (1 << PREFIX_BITS) - entries.len()),
            Form::Dense(registers) => {
                let empty = registers.iter().filter(|register| **register == 0).count();
                if empty as f64 > EMPTY_PART_MIN * registers.len() as f64 { by_empty(registers.len(), empty) } else { self.by_registers(registers) }
            }
        };
        estimate.round() as i64
    }

    fn by_registers(&self, registers: &[u8]) -> f64 {
        let last = (u64::BITS - self.bits) as usize + 1;
        let mut counts = vec![0_u32; last + 1];
        registers.iter().for_each(|register| counts[usize::from(*register).min(last)] += 1);
        let buckets = registers.len() as f64;
        let mut sum = buckets * tau(1.0 - f64::from(counts[last]) / buckets);
        for count in counts[1..last].iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += buckets * sigma(f64::from(counts[0]) / buckets);
        buckets * buckets / (2.0 * std::f64::consts::LN_2 * sum)
    }

    /// The sketch as bytes.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        match &self.form {
            Form::Sparse(entries) => {
                let mut bytes = vec![SPARSE, self.bits as u8];
                bytes.extend((entries.len() as u16).to_le_bytes());
                for (prefix, zeros) in entries {
                    bytes.extend(((prefix << VALUE_BITS) | u32::from(*zeros)).to_le_bytes());
                }
                bytes
            }
            Form::Dense(registers) => {
                let baseline = registers.iter().copied().min().unwrap_or_default();
                let mut bytes = vec![DENSE, self.bits as u8, baseline];
                let deltas = registers.as_chunks::<2>().0.iter().map(|[high, low]| {
                    let delta = |register: &u8| (register - baseline).min(DELTA_MAX);
                    (delta(high) << 4) | delta(low)
                });
                bytes.extend(deltas);
                let over = |register: &u8| (register - baseline).checked_sub(DELTA_MAX).filter(|over| *over > 0);
                let overflows: Vec<(u16, u8)> =
                    registers.iter().enumerate().filter_map(|(bucket, register)| Some((bucket as u16, over(register)?))).collect();
                bytes.extend((overflows.len() as u16).to_le_bytes());
                overflows.iter().for_each(|(bucket, _)| bytes.extend(bucket.to_le_bytes()));
                bytes.extend(overflows.iter().map(|(_, over)| *over));
                bytes
            }
        }
    }

    /// Whether bytes begin as those of a sketch do.
    pub(crate) fn is(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(&(SPARSE | DENSE)))
    }

    /// Reads a sketch. Errors: `INVALID_FUNCTION_ARGUMENT` for other bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { bytes };
        let [form, bits] = reader.array()?;
        let bits = u32::from(bits);
        if !(4..=16).contains(&bits) {
            return Err(unreadable());
        }
        let form = match form {
            SPARSE => {
                let count = usize::from(u16::from_le_bytes(reader.array()?));
                let (entries, _) = reader.take(count * size_of::<u32>())?.as_chunks::<4>();
                let entries = entries.iter().map(|entry| u32::from_le_bytes(*entry));
                Form::Sparse(entries.map(|entry| (entry >> VALUE_BITS, (entry & ((1 << VALUE_BITS) - 1)) as u8)).collect())
            }
            DENSE => {
                let [baseline] = reader.array()?;
                let deltas = reader.take(1 << (bits - 1))?;
                let mut registers: Vec<u8> =
                    deltas.iter().flat_map(|pair| [pair >> 4, pair & 0xf].map(|delta| baseline.saturating_add(delta))).collect();
                let count = usize::from(u16::from_le_bytes(reader.array()?));
                let buckets = reader.take(count * size_of::<u16>())?.as_chunks::<2>().0;
                for (bucket, over) in buckets.iter().zip(reader.take(count)?) {
                    let register = registers.get_mut(usize::from(u16::from_le_bytes(*bucket))).ok_or_else(unreadable)?;
                    *register = register.saturating_add(*over);
                }
                Form::Dense(registers)
            }
            _ => return Err(unreadable()),
        };
        Ok(Self { bits, form })
    }

    /// The memory it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        match &self.form {
            Form::Sparse(entries) => entries.len() * 2 * size_of::<(u32, u8)>(),
            Form::Dense(registers) => registers.len(),
        }
    }
}

fn by_empty(buckets: usize, empty: usize) -> f64 {
    let buckets = buckets as f64;
    buckets * (buckets / empty as f64).ln()
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::murmur;
    use super::*;

    fn of(range: std::ops::Range<i64>, bits: u32) -> Hll {
        let mut sketch = Hll::new(bits);
        range.for_each(|value| sketch.add(murmur::hash(&value.to_le_bytes())));
        sketch
    }

    #[test]
    fn bytes_are_those_of_trino() {
        let bytes = of(1..4, 12).encoded();
        assert_eq!(bytes, [2, 12, 3, 0, 0x80, 3, 0x44, 0, 0, 0x58, 0x3d, 0x5b, 0x80, 0x20, 8, 0xde]);
        assert_eq!(Hll::new(12).encoded(), [2, 12, 0, 0]);
    }

    #[test]
    fn numbers_are_about_right() {
        assert_eq!(of(0..200, 12).cardinality(), 200);
        for count in [300, 1_000, 5_000, 20_000, 1_000_000] {
            let found = of(0..count, 11).cardinality();
            assert!((found - count).abs() as f64 <= 0.07 * count as f64, "{found} instead of {count}");
        }
    }

    #[test]
    fn sketches_are_brought_together_and_read() {
        for (left, right) in [(0..10, 5..20), (0..10, 5..5_000), (0..5_000, 7..10), (0..4_000, 3_000..9_000)] {
            let whole = of(left.start..right.end.max(left.end), 11);
            let mut merged = Hll::from_bytes(&of(left, 11).encoded()).unwrap();
            merged.merge(&Hll::from_bytes(&of(right, 11).encoded()).unwrap()).unwrap();
            assert_eq!(merged.cardinality(), whole.cardinality());
            assert_eq!(merged.encoded(), whole.encoded());
        }
        assert!(of(0..3, 11).merge(&of(0..3, 12)).is_err());
        for bytes in [&[][..], &[2, 12, 1, 0], &[3, 11, 0], &[2, 77, 0, 0], &[9, 9, 9]] {
            assert!(Hll::from_bytes(bytes).is_err());
        }
    }
}
