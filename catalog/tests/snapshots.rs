//! Which snapshot a version means.

use nunatak_catalog::snapshot::{Version, resolve};
use nunatak_core::Code;

use crate::support::{Warehouse, With, file, trips};

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
