//! Storage: raw names, missing files, folders; also as the iceberg crate sees it.

use std::collections::BTreeMap;

use bytes::Bytes;
use nunatak_catalog::Storage;
use nunatak_catalog::storage::StorageProperties;
use nunatak_core::Code;

#[tokio::test]
async fn names_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::new();
    for name in ["plain", "a b", "x=1%2F2", "ü ~*[1]{2}", "q?r#s", "back\\slash"] {
        let location = format!("file://{}/{name}/f.bin", folder.path().display());
        storage.write(&location, Bytes::from_static(b"abc")).await.unwrap();
        assert!(folder.path().join(name).join("f.bin").exists(), "{name}");
        assert_eq!(storage.read(&location.replace("file://", "file:")).await.unwrap(), "abc");
        let input = storage.file_io().new_input(&location).unwrap();
        assert_eq!(input.reader().await.unwrap().read(1..3).await.unwrap(), "bc");
    }
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let storage = Storage::new();
    let error = storage.read("file:///no/such/file").await.unwrap_err();
    assert_eq!(error.code(), Code::IcebergMissingData);
    assert!(error.message().contains("file:///no/such/file"));
    let error = storage.read("ftp://host/key").await.unwrap_err();
    assert_eq!(error.code(), Code::NotSupported);
    assert_eq!(storage.size_bytes("/no/such/file").await.unwrap(), None);
}

#[tokio::test]
async fn a_file_system_that_is_not_there_is_named() {
    let properties = ["hdfs.request-timeout-ms", "hdfs.retry.timeout-ms"].map(|name| (name.to_owned(), "300".to_owned()));
    let storage = Storage::with_properties(StorageProperties::new(BTreeMap::from(properties)).unwrap());
    assert!(storage.store_url("hdfs://127.0.0.1:9/a").unwrap().as_str().ends_with("://127.0.0.1:9/"));
    for error in [storage.read("hdfs://127.0.0.1:9/a").await.unwrap_err(), storage.create("hdfs://127.0.0.1:9/a", "x".into()).await.unwrap_err()] {
        assert_eq!(error.code(), Code::StorageUnavailable, "{error:?}");
        assert!(error.message().contains("'hdfs://127.0.0.1:9/a'") && error.message().contains("HDFS at '127.0.0.1:9'"), "{error:?}");
    }
}

#[tokio::test]
async fn deleting_what_is_gone_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::new();
    let locations: Vec<String> = (0..40).map(|number| format!("{}/t/{number}/f", folder.path().display())).collect();
    for location in &locations {
        storage.write(location, Bytes::from_static(b"x")).await.unwrap();
    }
    storage.delete_files(&locations[..20]).await.unwrap();
    storage.delete_files(&locations).await.unwrap();
    storage.delete_folder(&format!("file:{}/t", folder.path().display())).await.unwrap();
    assert!(folder.path().exists() && !folder.path().join("t").exists());
    storage.delete_folder(&format!("{}/t", folder.path().display())).await.unwrap();
    assert!(storage.delete_folder("file:///").await.is_err());
}
