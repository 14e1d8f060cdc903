//! Manifests, under a line of a manifest list that leaves as much as possible to be inherited.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nunatak_catalog::snapshot::parse_entries;
use nunatak_catalog::spec::{ManifestContentType, ManifestFile, Schema};

fuzz_target!(|bytes: &[u8]| {
    nunatak_fuzz::let_panics_be_caught();
    let line = ManifestFile {
        manifest_path: "file:///t/metadata/1-m0.avro".to_owned(),
        manifest_length: bytes.len() as i64,
        partition_spec_id: 0,
        content: ManifestContentType::Data,
        sequence_number: 7,
        min_sequence_number: 1,
        added_snapshot_id: 1,
        added_files_count: None,
        existing_files_count: None,
        deleted_files_count: None,
        added_rows_count: None,
        existing_rows_count: None,
        deleted_rows_count: None,
        partitions: None,
        key_metadata: None,
        first_row_id: Some(100),
    };
    let columns = Schema::builder().build().unwrap();
    if let Ok(entries) = parse_entries(bytes, &line, &columns) {
        for (_, entry) in entries {
            let _ = entry.file.all_metrics();
        }
    }
});
