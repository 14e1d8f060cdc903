//! Files that nobody needs: those of snapshots that expire, and orphans.

use nunatak_catalog::commit::change_metadata;
use nunatak_catalog::expiry::{Expiry, expirable, expire};
use nunatak_catalog::orphans::orphans;
use nunatak_catalog::snapshot::ManifestCache;
use nunatak_catalog::spec::{DataContentType, DataFileBuilder, DataFileFormat, Struct, TableUpdate};
use nunatak_core::Code;
use serde_json::{Value, json};

use crate::support::{Warehouse, With, file, last, local, trips};

/// What gives a snapshot statistics, of columns or of partitions.
fn given(kind: &str, snapshot_id: i64, path: &str) -> TableUpdate {
    let mut file = json!({"snapshot-id": snapshot_id, "statistics-path": path, "file-size-in-bytes": 1});
    if kind == "statistics" {
        file["file-footer-size-in-bytes"] = Value::from(1);
        file["blob-metadata"] = json!([]);
    }
    serde_json::from_value(json!({"action": format!("set-{kind}"), "snapshot-id": snapshot_id, kind: file})).unwrap()
}

#[tokio::test]
async fn statistics_go_with_the_last_snapshot_that_has_them() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    let first = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap();
    let second = warehouse.append(&first.table, vec![file(&table, "b", 1)]).await.unwrap();
    let path = |name: &str| format!("{}/metadata/{name}", table.metadata.location());
    for name in ["one.stats", "both.stats", "one.parquet"] {
        std::fs::write(local(&path(name)), "x").unwrap();
    }
    let statistics = [
        given("statistics", first.snapshot_id, &path("both.stats")),
        given("statistics", second.snapshot_id, &path("both.stats")),
        given("partition-statistics", first.snapshot_id, &path("one.parquet")),
    ];
    let catalog = warehouse.catalog.as_ref();
    let table = change_metadata(catalog, &second.table, |_| Ok(statistics.to_vec())).await.unwrap();

    let (expiry, cache) = (Expiry { snapshot_age_ms: Some(0), snapshots_min: None }, ManifestCache::new(1 << 20));
    let later_ms = table.metadata.last_updated_ms() + 1000;
    let planned = expirable(catalog, &table, expiry, later_ms, &cache).await.unwrap();
    let expired = expire(catalog, &table, expiry, later_ms, &cache).await.unwrap();
    assert_eq!(expired, planned);
    assert_eq!(expired.snapshots.into_iter().collect::<Vec<_>>(), [first.snapshot_id]);
    let names: Vec<String> = expired.files.iter().map(|file| last(file)).collect();
    assert!(names.contains(&"one.parquet".to_owned()) && !names.contains(&"both.stats".to_owned()), "{names:?}");
    let is_there = |name: &str| std::fs::exists(local(&path(name))).unwrap();
    assert!(is_there("both.stats") && is_there("one.stats") && !is_there("one.parquet"));
    let now = warehouse.load(&trips()).await;
    assert_eq!(now.metadata.statistics_iter().map(|file| file.snapshot_id).collect::<Vec<_>>(), [second.snapshot_id]);
    assert_eq!(now.metadata.partition_statistics_iter().count(), 0);
}

#[tokio::test]
async fn a_file_system_of_two_names_has_no_orphans() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    let folder = local(table.metadata.location());
    std::fs::create_dir_all(format!("{folder}/data")).unwrap();
    for name in ["here", "orphan"] {
        std::fs::write(format!("{folder}/data/{name}.parquet"), "x").unwrap();
    }
    let added = |location: String| {
        let mut builder = DataFileBuilder::default();
        builder.content(DataContentType::Data).file_path(location).file_format(DataFileFormat::Parquet);
        builder.partition(Struct::empty()).record_count(1).file_size_in_bytes(1).build().unwrap()
    };
    let cache = ManifestCache::new(1 << 20);
    let table = warehouse.append(&table, vec![added(format!("{folder}/data/here.parquet"))]).await.unwrap().table;
    let found = orphans(warehouse.catalog.as_ref(), &table, i64::MAX, &cache).await.unwrap();
    assert_eq!(found.files.iter().map(|file| last(file)).collect::<Vec<_>>(), ["orphan.parquet"]);
    // The same file system by the name of a server.
    let table = warehouse.append(&table, vec![added(format!("hdfs://server:8020{folder}/data/orphan.parquet"))]).await.unwrap().table;
    let error = orphans(warehouse.catalog.as_ref(), &table, i64::MAX, &cache).await.unwrap_err();
    assert_eq!(error.code(), Code::IcebergFilesystemError);
    assert!(error.message().contains("hdfs://server:8020"), "{error}");
}
