//! Deletion vectors. The checksum is made right, or nothing behind it would ever be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nunatak_catalog::deletion_vector::{decode, framed};

fuzz_target!(|bytes: &[u8]| {
    nunatak_fuzz::let_panics_be_caught();
    let _ = decode(bytes, bytes.len() as u64, "x.puffin");
    let _ = decode(&framed(bytes), bytes.len() as u64, "x.puffin");
});
