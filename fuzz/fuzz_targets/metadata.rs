//! Metadata files of tables, plain or packed.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use nunatak_catalog::TableName;
use nunatak_catalog::backend::metadata_file::parse_table;

fuzz_target!(|bytes: &[u8]| {
    nunatak_fuzz::let_panics_be_caught();
    let _ = parse_table(Bytes::copy_from_slice(bytes), &TableName::new("s", "t"), "file:///t/metadata/00000-x.metadata.json");
});
