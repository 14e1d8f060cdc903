//! Manifest lists, read as those of each format version.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nunatak_catalog::snapshot::parse_list;
use nunatak_catalog::spec::FormatVersion;

fuzz_target!(|bytes: &[u8]| {
    nunatak_fuzz::let_panics_be_caught();
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let _ = parse_list(bytes, "file:///t/metadata/snap-1.avro", version);
    }
});
