//! Blocks: the parts in which files are kept.

use std::io::{Read, Write};
use std::sync::Arc;

use foyer::Code;

/// The length of a block in bytes; the last one of a file may be shorter. About what an object store sends in the time that a request takes to be answered.
pub(super) const BLOCK_BYTES: u64 = 1 << 20;

/// The name of a block.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BlockKey {
    /// The file: its location and its length.
    pub(super) file: Arc<str>,
    /// The block's number in the file.
    pub(super) index: u64,
}

impl Code for BlockKey {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        self.index.encode(writer)?;
        self.file.as_ref().to_owned().encode(writer)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let index = u64::decode(reader)?;
        Ok(Self { file: String::decode(reader)?.into(), index })
    }

    fn estimated_size(&self) -> usize {
        2 * size_of::<u64>() + self.file.len()
    }
}
