//! Metadata that is damaged: whatever its bytes are, reading it ends with a value or an error that names the file.

use bytes::Bytes;
use nunatak_catalog::backend::metadata_file::parse_table;
use nunatak_catalog::snapshot::{parse_entries, parse_list};
use nunatak_catalog::spec::{FormatVersion, ManifestFile};
use nunatak_core::{Code, Error};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{Warehouse, With, file_in, local, trips};

/// How often each file is damaged: `NUNATAK_TEST_DAMAGES`.
fn damages() -> u64 {
    std::env::var("NUNATAK_TEST_DAMAGES").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000)
}

/// The bytes with a few of them changed, left out or doubled.
fn damaged(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut bytes = whole.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len());
        let length = random.random_range(1..=(bytes.len() - at).min(16));
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at..at + length].fill(if random.random_bool(0.5) { 0xff } else { 0 }),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let part = bytes[at..at + length].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

/// The files of a table: its metadata, the manifest list of its snapshot, and that list's first manifest.
struct Files {
    metadata: (String, Vec<u8>),
    list: (String, Vec<u8>),
    manifest: (ManifestFile, Vec<u8>),
}

async fn files(version: FormatVersion) -> Files {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With { version, partition: Some("city"), ..With::default() }).await;
    let table = warehouse.append(&table, vec![file_in(&table, "a", 3, "Oslo"), file_in(&table, "b", 4, "Bergen")]).await.unwrap().table;
    let read = |path: &str| std::fs::read(local(path)).unwrap();
    let location = table.metadata_location.clone().unwrap();
    let list = table.metadata.current_snapshot().unwrap().manifest_list().to_owned();
    let manifest = parse_list(&read(&list), &list, version).unwrap().remove(0);
    let bytes = read(&manifest.manifest_path);
    Files { metadata: (location.clone(), read(&location)), list: (list.clone(), read(&list)), manifest: (manifest, bytes) }
}

fn check(error: &Error, file: &str, seed: u64) {
    assert!(matches!(error.code(), Code::IcebergInvalidMetadata | Code::NotSupported), "seed {seed}: {error}");
    assert!(error.message().contains(file) || error.code() == Code::NotSupported, "seed {seed}: {error} does not name {file}");
}

#[tokio::test]
async fn damaged_metadata_is_an_error_and_no_panic() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let files = files(version).await;
        for seed in 0..damages() {
            let (path, bytes) = &files.metadata;
            if let Err(error) = parse_table(Bytes::from(damaged(bytes, seed)), &trips(), path) {
                check(&error, path, seed);
            }
            let (path, bytes) = &files.list;
            if let Err(error) = parse_list(&damaged(bytes, seed), path, version) {
                check(&error, path, seed);
            }
            let (manifest, bytes) = &files.manifest;
            if let Err(error) = parse_entries(&damaged(bytes, seed), manifest) {
                check(&error, &manifest.manifest_path, seed);
            }
        }
    }
}
