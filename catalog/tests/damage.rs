//! Metadata that is damaged: whatever its bytes are, reading it ends with a value or an error that names the file. What is damaged is the corpus of `make fuzz`: files that
//! Spark, DuckDB and we have written.

use std::path::PathBuf;

use bytes::Bytes;
use nunatak_catalog::backend::metadata_file::parse_table;
use nunatak_catalog::snapshot::{parse_entries, parse_list};
use nunatak_catalog::spec::{FormatVersion, ManifestContentType, ManifestFile, Schema};
use nunatak_catalog::statistics::read_blobs;
use nunatak_catalog::{Storage, deletion_vector};
use nunatak_core::{Code, Error};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::trips;

/// How often each file is damaged: `NUNATAK_TEST_DAMAGES`.
fn damages() -> u64 {
    std::env::var("NUNATAK_TEST_DAMAGES").ok().and_then(|count| count.parse().ok()).unwrap_or(500)
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
            3 if length < bytes.len() => drop(bytes.drain(at..at + length)),
            4 => {
                let part = bytes[at..at + length].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

/// The files of one kind, with their names.
fn corpus(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(kind);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files: Vec<_> = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect();
    assert!(files.len() > 1, "there are {} seeds for {kind}", files.len());
    files
}

/// Each file of a kind, as it is and damaged in many ways.
fn check<T>(kind: &str, mut read: impl FnMut(&[u8], &str) -> Result<T, Error>) {
    for (name, whole) in corpus(kind) {
        let error = read(&whole, &name).err();
        assert!(error.is_none(), "{kind}/{name} cannot be read: {error:?}");
        for seed in 0..damages() {
            if let Err(error) = read(&damaged(&whole, seed), &name) {
                // A Puffin file that says that it goes on behind its end is found out by its storage.
                let expected = [Code::IcebergInvalidMetadata, Code::IcebergBadData, Code::IcebergFilesystemError, Code::NotSupported];
                assert!(expected.contains(&error.code()), "{kind}/{name}, {seed}: {error}");
                assert!(
                    error.message().contains(&name) || error.code() == Code::NotSupported,
                    "{kind}/{name}, {seed}: the file is not named: {error}"
                );
            }
        }
    }
}

#[test]
fn metadata_files() {
    check("metadata", |bytes, name| parse_table(Bytes::copy_from_slice(bytes), &trips(), name));
}

#[test]
fn manifest_lists() {
    check("manifest_list", |bytes, name| parse_list(bytes, name, FormatVersion::V3));
}

#[test]
fn manifests() {
    let line = |path: &str| ManifestFile {
        manifest_path: path.to_owned(),
        manifest_length: 0,
        partition_spec_id: 0,
        content: ManifestContentType::Data,
        // What version 1 has written has none.
        sequence_number: if path.starts_with("v1") { 0 } else { 7 },
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
    // What DuckDB has written names none, and has none for a table without any.
    let columns = Schema::builder().build().unwrap();
    check("manifest", |bytes, name| {
        let entries = parse_entries(bytes, &line(name), &columns)?;
        Ok(entries.iter().map(|(_, entry)| entry.file.all_metrics().len()).sum::<usize>())
    });
}

#[test]
fn puffin_files() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    check("puffin", |bytes, name| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        runtime.block_on(read_blobs(&Storage::new(), &path.display().to_string()))
    });
}

#[test]
fn deletion_vectors() {
    let cardinality = |name: &str| name.rsplit('-').next().unwrap().parse::<u64>().unwrap();
    check("deletion_vector", |bytes, name| deletion_vector::decode(bytes, cardinality(name), name));
}
