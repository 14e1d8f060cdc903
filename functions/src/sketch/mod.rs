//! Summaries of many values in a few kilobytes, in the form in which Trino keeps them where that is documented: how many different values there are ([`hll`]), how they
//! are distributed ([`tdigest`]), and which hashes they have ([`set_digest`]).
//!
//! SQL sees them as `varbinary`. The first byte tells what a sketch is.

pub(crate) mod hll;
pub(crate) mod murmur;
mod scalars;
pub(crate) mod set_digest;
pub(crate) mod tdigest;

pub(crate) use scalars::{FUNCTIONS, SET_BITS, cardinality};

use datafusion::error::DataFusionError;

use crate::invalid;

/// Reads what sketches are written of.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DataFusionError> {
        match self.bytes.split_at_checked(length) {
            Some((taken, rest)) => {
                self.bytes = rest;
                Ok(taken)
            }
            None => Err(unreadable()),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DataFusionError> {
        self.take(N)?.try_into().map_err(|_| unreadable())
    }

    fn double(&mut self) -> Result<f64, DataFusionError> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A length that is not negative.
    fn length(&mut self) -> Result<usize, DataFusionError> {
        usize::try_from(i32::from_le_bytes(self.array()?)).map_err(|_| unreadable())
    }
}

fn unreadable() -> DataFusionError {
    invalid("the bytes are no sketch of this kind")
}
