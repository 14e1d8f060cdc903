//! Tables: created, loaded, renamed, committed to, dropped.

use std::collections::{BTreeMap, HashMap};

use nunatak_catalog::backend::TableChange;
use nunatak_catalog::commit::CommitError;
use nunatak_catalog::spec::{FormatVersion, TableUpdate};
use nunatak_catalog::{Catalog, Table, TableName};
use nunatak_core::Code;

use crate::support::{Warehouse, With, file, live_names, local, metadata, metadata_files, open, trips};

fn set(key: &str, value: &str) -> Vec<TableUpdate> {
    vec![TableUpdate::SetProperties { updates: HashMap::from([(key.to_owned(), value.to_owned())]) }]
}

#[tokio::test]
async fn created_and_loaded_also_by_another_process() {
    let warehouse = Warehouse::new().await;
    let made = warehouse.create(&trips(), With::default()).await;
    let loaded = open(&warehouse.folder, "lake").await.load_table(&trips()).await.unwrap().unwrap();
    assert_eq!(loaded.metadata, made.metadata);
    assert_eq!(loaded.metadata_location, made.metadata_location);
    assert_eq!(warehouse.catalog.tables("nyc").await.unwrap(), ["trips"]);
    assert!(warehouse.catalog.load_table(&TableName::new("nyc", "TRIPS")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let warehouse = Warehouse::new().await;
    let made = warehouse.create(&trips(), With::default()).await;
    let again = warehouse.catalog.create_table(&trips(), (*made.metadata).clone()).await.unwrap_err();
    assert_eq!(again.code(), Code::TableAlreadyExists);
    assert_eq!(metadata_files(&made, "metadata.json").len(), 1);
    let nowhere = TableName::new("nowhere", "t");
    let error = warehouse.catalog.create_table(&nowhere, (*made.metadata).clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::SchemaNotFound);
}

#[tokio::test]
async fn renamed_also_into_another_schema() {
    let warehouse = Warehouse::new().await;
    warehouse.catalog.create_namespace("old", BTreeMap::new()).await.unwrap();
    warehouse.create(&trips(), With::default()).await;
    let (other, taken) = (TableName::new("old", "trips"), TableName::new("nyc", "taken"));
    warehouse.create(&taken, With::default()).await;
    assert_eq!(warehouse.catalog.rename_table(&trips(), &taken).await.unwrap_err().code(), Code::TableAlreadyExists);
    let nowhere = TableName::new("nowhere", "t");
    assert_eq!(warehouse.catalog.rename_table(&trips(), &nowhere).await.unwrap_err().code(), Code::SchemaNotFound);
    warehouse.catalog.rename_table(&trips(), &other).await.unwrap();
    assert!(warehouse.catalog.load_table(&trips()).await.unwrap().is_none());
    assert_eq!(warehouse.load(&other).await.name, other);
    assert_eq!(warehouse.catalog.rename_table(&trips(), &other).await.unwrap_err().code(), Code::TableNotFound);
}

#[tokio::test]
async fn a_commit_on_an_old_version_is_a_conflict_and_leaves_nothing() {
    let warehouse = Warehouse::new().await;
    let base = warehouse.create(&trips(), With::default()).await;
    let first = warehouse.catalog.commit(&base, Vec::new(), set("a", "1")).await.unwrap();
    let second = warehouse.catalog.commit(&base, Vec::new(), set("a", "2")).await;
    assert!(matches!(&second, Err(CommitError::Conflict(error)) if error.code() == Code::TransactionConflict), "{second:?}");
    let now = warehouse.load(&trips()).await;
    assert_eq!(now.metadata.properties()["a"], "1");
    assert_eq!(now.metadata_location, first.metadata_location);
    let files = metadata_files(&now, "metadata.json");
    assert_eq!(files.len(), 2);
    assert!(files[0].starts_with("00000-") && files[1].starts_with("00001-"), "{files:?}");
    assert_eq!(now.metadata.metadata_log().len(), 1);
}

#[tokio::test]
async fn several_tables_change_together_or_not_at_all() {
    let warehouse = Warehouse::new().await;
    let zones = TableName::new("nyc", "zones");
    let (first, old) = (warehouse.create(&trips(), With::default()).await, warehouse.create(&zones, With::default()).await);
    let change = |base: &Table, value: &str| TableChange { base: base.clone(), requirements: Vec::new(), updates: set("a", value) };
    warehouse.catalog.commit_all(vec![change(&old, "1"), change(&first, "1")]).await.unwrap();
    let (one, two) = (warehouse.load(&trips()).await, warehouse.load(&zones).await);
    assert_eq!((one.metadata.properties()["a"].as_str(), two.metadata.properties()["a"].as_str()), ("1", "1"));
    // The second one has changed since: what was done to the first one is taken back.
    let outcome = warehouse.catalog.commit_all(vec![change(&one, "2"), change(&old, "2")]).await;
    assert!(matches!(&outcome, Err(CommitError::Conflict(error)) if error.code() == Code::TransactionConflict), "{outcome:?}");
    for (name, before) in [(trips(), one), (zones, two)] {
        let now = warehouse.load(&name).await;
        assert_eq!(now.metadata_location, before.metadata_location);
        assert_eq!(metadata_files(&now, "metadata.json").len(), 2);
    }
}

#[tokio::test]
async fn packed_metadata_is_written_and_read() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::properties(&[("write.metadata.compression-codec", "gzip")])).await;
    assert!(table.metadata_location.as_ref().unwrap().ends_with(".gz.metadata.json"));
    let other = open(&warehouse.folder, "lake").await;
    assert_eq!(other.load_table(&trips()).await.unwrap().unwrap().metadata, table.metadata);
}

#[tokio::test]
async fn old_metadata_is_deleted_when_the_table_wants_it() {
    let warehouse = Warehouse::new().await;
    let properties = [("write.metadata.previous-versions-max", "2"), ("write.metadata.delete-after-commit.enabled", "true")];
    let mut table = warehouse.create(&trips(), With::properties(&properties)).await;
    for number in 0..5 {
        table = warehouse.catalog.commit(&table, Vec::new(), set("n", &number.to_string())).await.unwrap();
    }
    let files = metadata_files(&table, "metadata.json");
    assert_eq!(files.iter().map(|name| &name[..5]).collect::<Vec<_>>(), ["00003", "00004", "00005"]);
}

#[tokio::test]
async fn damaged_or_missing_metadata_names_the_file() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    let location = table.metadata_location.unwrap();
    std::fs::write(local(&location), "{\"format-version\": 2}").unwrap();
    let error = open(&warehouse.folder, "lake").await.load_table(&trips()).await.unwrap_err();
    assert_eq!(error.code(), Code::IcebergInvalidMetadata);
    assert!(error.message().contains(&location) && error.message().contains("nyc.trips"), "{error}");

    std::fs::remove_file(local(&location)).unwrap();
    let other = open(&warehouse.folder, "lake").await;
    let error = other.load_table(&trips()).await.unwrap_err();
    assert_eq!(error.code(), Code::IcebergMissingData);
    assert!(error.message().contains(&location), "{error}");
    other.drop_table(&trips(), true).await.unwrap();
    assert!(other.tables("nyc").await.unwrap().is_empty());
}

#[tokio::test]
async fn dropped_with_and_without_its_files() {
    let warehouse = Warehouse::new().await;
    let kept = warehouse.create(&trips(), With::default()).await;
    warehouse.catalog.drop_table(&trips(), false).await.unwrap();
    assert!(std::path::Path::new(&local(kept.metadata.location())).exists());
    assert_eq!(warehouse.catalog.drop_table(&trips(), false).await.unwrap_err().code(), Code::TableNotFound);

    let purged = warehouse.create(&trips(), With::default()).await;
    warehouse.append(&purged, vec![file(&purged, "a", 1)]).await.unwrap();
    warehouse.catalog.drop_table(&trips(), true).await.unwrap();
    assert!(!std::path::Path::new(&local(purged.metadata.location())).exists());
    assert!(std::path::Path::new(&local(kept.metadata.location())).exists());
}

#[tokio::test]
async fn a_purge_spares_a_table_in_the_same_folder() {
    let warehouse = Warehouse::new().await;
    let (first, second) = (trips(), TableName::new("nyc", "more"));
    let location = warehouse.catalog.stage_location(&first).await.unwrap();
    let mut tables = Vec::new();
    for name in [&first, &second] {
        let table = warehouse.catalog.create_table(name, metadata(location.clone(), With::default())).await.unwrap();
        let files = vec![file(&table, &name.table, 1)];
        tables.push(warehouse.append(&table, files).await.unwrap().table);
    }
    for table in &tables {
        let data = format!("{}/data", local(&location));
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(format!("{data}/{}.parquet", table.name.table), "x").unwrap();
    }
    warehouse.catalog.drop_table(&first, true).await.unwrap();
    assert_eq!(live_names(&warehouse.load(&second).await).await, ["more.parquet"]);
    let left: Vec<_> = std::fs::read_dir(format!("{}/data", local(&location))).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["more.parquet"]);
    assert_eq!(metadata_files(&tables[1], "metadata.json").len(), 2);
    assert_eq!(metadata_files(&tables[1], "snap-").len(), 1);
}

#[tokio::test]
async fn a_database_of_v0_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("catalog.db")).unwrap();
    let tables = "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
        table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
        PRIMARY KEY (catalog_name, table_namespace, table_name));";
    database.execute_batch(tables).unwrap();
    let storage = nunatak_catalog::Storage::new();
    let location = format!("{}/t", folder.path().display());
    let made = metadata(location, With { version: FormatVersion::V1, ..With::default() });
    let file = nunatak_catalog::backend::metadata_file::write(&storage, &made, None).await.unwrap();
    database.execute("INSERT INTO iceberg_tables VALUES ('lake', 'old', 'trips', ?, NULL)", [&file]).unwrap();
    let catalog = open(&folder, "lake").await;
    let name = TableName::new("old", "trips");
    assert_eq!(catalog.tables("old").await.unwrap(), ["trips"]);
    assert_eq!(catalog.namespaces().await.unwrap().len(), 1);
    let table = catalog.load_table(&name).await.unwrap().unwrap();
    catalog.commit(&table, Vec::new(), set("a", "1")).await.unwrap();
}
