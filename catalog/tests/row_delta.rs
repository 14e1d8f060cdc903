//! Rows that are deleted while others change the table.

use std::collections::{BTreeMap, BTreeSet};

use nunatak_catalog::commit::{CommitError, Isolation, RowDelta, rewrite_files, row_delta};
use nunatak_catalog::snapshot::{self, ManifestCache};
use nunatak_catalog::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Struct};
use nunatak_catalog::{Catalog, Table};
use nunatak_core::Code;

use crate::support::{Warehouse, With, file, last, live, live_names, metadata_files, trips};

async fn filled(version: FormatVersion) -> (Warehouse, Table) {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With { version, ..With::properties(&[("commit.retry.min-wait-ms", "1")]) }).await;
    let table = warehouse.append(&table, vec![file(&table, "a", 10), file(&table, "b", 20), file(&table, "c", 30)]).await.unwrap().table;
    (warehouse, table)
}

fn path(table: &Table, name: &str) -> String {
    format!("{}/data/{name}.parquet", table.metadata.location())
}

/// A deletion vector of a data file.
fn vector(table: &Table, name: &str, of: &str, rows: u64) -> (i32, DataFile) {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::PositionDeletes)
        .file_path(format!("{}/data/{name}.puffin", table.metadata.location()))
        .file_format(DataFileFormat::Puffin)
        .partition(Struct::empty())
        .record_count(rows)
        .file_size_in_bytes(500)
        .referenced_data_file(Some(path(table, of)))
        .content_offset(Some(4))
        .content_size_in_bytes(Some(44));
    (0, builder.build().unwrap())
}

fn removing(table: &Table, names: &[&str]) -> RowDelta {
    RowDelta { removed_data: names.iter().map(|name| path(table, name)).collect(), ..RowDelta::default() }
}

async fn commit(warehouse: &Warehouse, base: &Table, delta: RowDelta, isolation: Isolation) -> Result<Table, CommitError> {
    Ok(row_delta(warehouse.catalog.as_ref(), base, delta, isolation, &BTreeMap::new()).await?.table)
}

fn conflict(outcome: Result<Table, CommitError>) -> String {
    assert!(matches!(&outcome, Err(CommitError::Conflict(error)) if error.code() == Code::TransactionConflict), "{outcome:?}");
    outcome.map_or_else(|error| error.into_error().message().to_owned(), |_| String::new())
}

#[tokio::test]
async fn files_are_removed_and_the_others_stay_what_they_are() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let (warehouse, table) = filled(version).await;
        let before = live(&table).await.data;
        let table = commit(&warehouse, &table, removing(&table, &["b"]), Isolation::Serializable).await.unwrap();
        assert_eq!(live_names(&table).await, ["a.parquet", "c.parquet"]);
        for entry in live(&table).await.data {
            let was = before.iter().find(|was| was.file.file_path() == entry.file.file_path()).unwrap();
            assert_eq!(entry, *was, "{version:?}");
        }
        let summary = &table.metadata.current_snapshot().unwrap().summary().additional_properties;
        assert_eq!((summary["total-records"].as_str(), summary["deleted-records"].as_str()), ("40", "20"));
        assert_eq!((summary["total-data-files"].as_str(), summary["removed-files-size"].as_str()), ("2", "200"));
        // Once more on top of a manifest that was written again, and of an append.
        let table = warehouse.append(&table, vec![file(&table, "d", 5)]).await.unwrap().table;
        let table = commit(&warehouse, &table, removing(&table, &["a", "d"]), Isolation::Serializable).await.unwrap();
        assert_eq!(live_names(&table).await, ["c.parquet"]);
        assert_eq!(live(&table).await.data[0].first_row_id, before[2].first_row_id);
        assert_eq!(live(&table).await.data[0].data_sequence_number, before[2].data_sequence_number);
    }
}

#[tokio::test]
async fn manifests_without_a_file_are_left_behind() {
    let (warehouse, table) = filled(FormatVersion::V2).await;
    let manifests = async |table: &Table| {
        let snapshot = table.metadata.current_snapshot().unwrap();
        snapshot::manifests(table, snapshot, &ManifestCache::new(1 << 20)).await.unwrap().iter().cloned().collect::<Vec<_>>()
    };
    let table = commit(&warehouse, &table, removing(&table, &["a", "b", "c"]), Isolation::Serializable).await.unwrap();
    let [removed] = <[_; 1]>::try_from(manifests(&table).await).unwrap();
    assert_eq!((removed.deleted_files_count, Some(removed.added_snapshot_id)), (Some(3), table.head_id()));
    let table = warehouse.append(&table, vec![file(&table, "d", 5)]).await.unwrap().table;
    let [added] = <[_; 1]>::try_from(manifests(&table).await).unwrap();
    assert_eq!(added.added_files_count, Some(1));
    assert_eq!(live_names(&table).await, ["d.parquet"]);
}

#[tokio::test]
async fn a_vector_takes_the_place_of_the_one_before() {
    let (warehouse, table) = filled(FormatVersion::V3).await;
    let first = RowDelta { deletes: vec![vector(&table, "v1", "a", 3), vector(&table, "v1", "b", 4)], ..RowDelta::default() };
    let table = commit(&warehouse, &table, first, Isolation::Serializable).await.unwrap();
    let old = format!("{}/data/v1.puffin", table.metadata.location());
    let second = RowDelta {
        deletes: vec![vector(&table, "v2", "a", 5)],
        removed_deletes: BTreeSet::from([(old, Some(path(&table, "a")))]),
        ..RowDelta::default()
    };
    let table = commit(&warehouse, &table, second, Isolation::Serializable).await.unwrap();
    let mut left: Vec<_> = live(&table).await.deletes.iter().map(|entry| (last(entry.file.file_path()), entry.file.record_count())).collect();
    left.sort();
    assert_eq!(left, [("v1.puffin".to_owned(), 4), ("v2.puffin".to_owned(), 5)]);
    let summary = &table.metadata.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((summary["added-dvs"].as_str(), summary["removed-dvs"].as_str(), summary["total-position-deletes"].as_str()), ("1", "1", "9"));
}

#[tokio::test]
async fn others_may_add_rows_only_where_the_table_allows_it() {
    let (warehouse, base) = filled(FormatVersion::V2).await;
    warehouse.append(&base, vec![file(&base, "d", 5)]).await.unwrap();
    let files = metadata_files(&base, ".avro");
    assert!(conflict(commit(&warehouse, &base, removing(&base, &["a"]), Isolation::Serializable).await).contains("rows were added"));
    assert_eq!(metadata_files(&base, ".avro"), files, "what was written for it is removed");
    let known = warehouse.load(&trips()).await.head_id().unwrap();
    let now = warehouse.append(&base, vec![file(&base, "e", 5)]).await.unwrap().table;
    assert!(conflict(commit(&warehouse, &base, removing(&base, &["a"]), Isolation::SerializableSince(known)).await).contains("rows were added"));
    let known = now.head_id().unwrap();
    let table = commit(&warehouse, &base, removing(&base, &["a"]), Isolation::SerializableSince(known)).await.unwrap();
    assert_eq!(live_names(&table).await, ["b.parquet", "c.parquet", "d.parquet", "e.parquet"]);
    warehouse.append(&table, vec![file(&table, "f", 5)]).await.unwrap();
    let table = commit(&warehouse, &table, removing(&table, &["b"]), Isolation::Snapshot).await.unwrap();
    assert_eq!(live_names(&table).await, ["c.parquet", "d.parquet", "e.parquet", "f.parquet"]);
}

#[tokio::test]
async fn rows_that_others_have_changed_are_a_conflict() {
    let (warehouse, base) = filled(FormatVersion::V2).await;
    commit(&warehouse, &base, removing(&base, &["a"]), Isolation::Serializable).await.unwrap();
    for isolation in [Isolation::Serializable, Isolation::Snapshot] {
        assert!(conflict(commit(&warehouse, &base, removing(&base, &["b"]), isolation).await).contains("rows of it were changed"));
    }
    let now = warehouse.load(&trips()).await;
    assert!(conflict(commit(&warehouse, &now, removing(&now, &["a"]), Isolation::Snapshot).await).contains("a.parquet' is there no more"));
    warehouse.catalog.drop_table(&trips(), false).await.unwrap();
    let outcome = commit(&warehouse, &now, removing(&now, &["b"]), Isolation::Snapshot).await;
    assert!(matches!(outcome, Err(CommitError::Failed(error)) if error.code() == Code::TableNotFound));
}

#[tokio::test]
async fn what_is_deleted_by_value_in_a_partition_does_not_follow_rows_into_another() {
    let (warehouse, base) = filled(FormatVersion::V2).await;
    let mut by_value = DataFileBuilder::default();
    by_value
        .content(DataContentType::EqualityDeletes)
        .file_path(path(&base, "deletes"))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(1)
        .file_size_in_bytes(500)
        .equality_ids(Some(vec![1]));
    let by_value = RowDelta { deletes: vec![(0, by_value.build().unwrap())], ..RowDelta::default() };
    commit(&warehouse, &base, by_value, Isolation::Snapshot).await.unwrap();
    let rewrite = async |repartitions| {
        let delta = RowDelta { data: vec![file(&base, "d", 10)], data_sequence_number: Some(1), ..removing(&base, &["a"]) };
        rewrite_files(warehouse.catalog.as_ref(), &base, delta, repartitions, &BTreeMap::new()).await.map(|rewritten| rewritten.table)
    };
    assert!(conflict(rewrite(true).await).contains("rows of its files were deleted"));
    assert_eq!(live_names(&rewrite(false).await.unwrap()).await, ["b.parquet", "c.parquet", "d.parquet"]);
}
