//! Which snapshot a version means, and how one is published.

use std::collections::{BTreeMap, BTreeSet};

use nunatak_catalog::commit::{Isolation, RowDelta, change_metadata, cherry_pick, row_delta};
use nunatak_catalog::snapshot::{Version, resolve};
use nunatak_catalog::spec::TableUpdate;
use nunatak_catalog::{Branch, Table};
use nunatak_core::Code;

use crate::support::{Warehouse, With, file, live_names, trips};

#[tokio::test]
async fn by_id_branch_and_time() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    assert_eq!(resolve(&table.metadata, &Version::Current).unwrap(), None);
    let first = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap();
    let second = warehouse.append(&first.table, vec![file(&table, "b", 1)]).await.unwrap();
    let metadata = &second.table.metadata;
    let id = |version| resolve(metadata, &version).unwrap().unwrap().snapshot_id();
    assert_eq!(id(Version::Current), second.snapshot_id);
    assert_eq!(id(Version::Id(first.snapshot_id)), first.snapshot_id);
    assert_eq!(id(Version::Ref(String::from("main"))), second.snapshot_id);
    let times: Vec<i64> = metadata.history().iter().map(|entry| entry.timestamp_ms()).collect();
    assert!(times[0] < times[1]);
    assert_eq!(id(Version::AsOfMillis(times[0])), first.snapshot_id);
    assert_eq!(id(Version::AsOfMillis(times[1] - 1)), first.snapshot_id);
    assert_eq!(id(Version::AsOfMillis(i64::MAX)), second.snapshot_id);
}

#[tokio::test]
async fn an_unknown_version_says_what_there_is() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    let appended = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap();
    let id = appended.snapshot_id.to_string();
    for (version, named) in [(Version::Id(1), id.as_str()), (Version::Ref(String::from("dev")), "main"), (Version::AsOfMillis(0), "begins at 20")] {
        let error = resolve(&appended.table.metadata, &version).unwrap_err();
        assert_eq!(error.code(), Code::IcebergInvalidSnapshotId);
        assert!(error.hint().unwrap().contains(named), "{error}");
    }
    let error = resolve(&table.metadata, &Version::Id(1)).unwrap_err();
    assert!(error.hint().unwrap().contains("no snapshots"), "{error}");
}

#[tokio::test]
async fn publishing_keeps_what_others_have_committed_meanwhile() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    let table = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap().table;
    let waiting = |table: &Table| Table { branch: Branch::Staged, ..table.clone() };
    let nothing = BTreeMap::new();

    let added = warehouse.append(&waiting(&table), vec![file(&table, "b", 1)]).await.unwrap();
    // When the statement begins, the snapshot was made from the head; when it commits, no more.
    let begun = warehouse.load(&trips()).await;
    warehouse.append(&begun, vec![file(&table, "c", 1)]).await.unwrap();
    let published = cherry_pick(warehouse.catalog.as_ref(), &begun, added.snapshot_id, &nothing).await.unwrap();
    assert_ne!(published.snapshot_id, added.snapshot_id);
    assert_eq!(live_names(&published.table).await, ["a.parquet", "b.parquet", "c.parquet"]);

    let delta = RowDelta { removed_data: BTreeSet::from([format!("{}/data/a.parquet", table.metadata.location())]), ..RowDelta::default() };
    let removed = row_delta(warehouse.catalog.as_ref(), &waiting(&published.table), delta, Isolation::Snapshot, &nothing).await.unwrap();
    let begun = warehouse.load(&trips()).await;
    let now = warehouse.append(&begun, vec![file(&table, "d", 1)]).await.unwrap().table;
    let error = cherry_pick(warehouse.catalog.as_ref(), &begun, removed.snapshot_id, &nothing).await.unwrap_err();
    assert_eq!(error.code(), Code::TransactionConflict, "{error}");
    let error = cherry_pick(warehouse.catalog.as_ref(), &now, removed.snapshot_id, &nothing).await.unwrap_err();
    assert_eq!(error.code(), Code::NotSupported, "{error}");
    assert_eq!(live_names(&warehouse.load(&trips()).await).await, ["a.parquet", "b.parquet", "c.parquet", "d.parquet"]);
}

#[tokio::test]
async fn a_snapshot_that_expires_before_it_is_published_brings_no_files_that_are_gone() {
    let warehouse = Warehouse::new().await;
    let catalog = warehouse.catalog.as_ref();
    let table = warehouse.create(&trips(), With::default()).await;
    let table = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap().table;
    let waiting = Table { branch: Branch::Staged, ..table.clone() };
    let added = warehouse.append(&waiting, vec![file(&table, "b", 1)]).await.unwrap();
    let begun = warehouse.append(&table, vec![file(&table, "c", 1)]).await.unwrap().table;

    // Its manifests are there still, as they are for a statement that has read them by then.
    let expired = |_: &Table| Ok(vec![TableUpdate::RemoveSnapshots { snapshot_ids: vec![added.snapshot_id] }]);
    change_metadata(catalog, &begun, expired).await.unwrap();
    let error = cherry_pick(catalog, &begun, added.snapshot_id, &BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.code(), Code::IcebergInvalidSnapshotId, "{error}");
    assert_eq!(live_names(&warehouse.load(&trips()).await).await, ["a.parquet", "c.parquet"]);
}
