//! Appends: what they write, and what they do when others write too.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nunatak_catalog::Catalog;
use nunatak_catalog::adopted::{ADOPTED, with_adopted};
use nunatak_catalog::commit::{self, append_to_staged};
use nunatak_catalog::snapshot::{self, ManifestCache};
use nunatak_catalog::spec::{
    FormatVersion, MAIN_BRANCH, NestedField, PrimitiveType, Schema, SnapshotReference, SnapshotRetention, TableUpdate, Transform, Type,
    UnboundPartitionSpec,
};
use nunatak_catalog::{Branch, Table, TableName};
use nunatak_core::Code;

use crate::support::{Warehouse, With, file, file_in, live, live_names, metadata, metadata_files, open, trips};

fn summary(table: &Table) -> BTreeMap<String, String> {
    let snapshot = table.metadata.current_snapshot().unwrap();
    snapshot.summary().additional_properties.clone().into_iter().collect()
}

#[tokio::test]
async fn files_sequence_numbers_and_summary() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let warehouse = Warehouse::new().await;
        let table = warehouse.create(&trips(), With { version, ..With::default() }).await;
        let first = warehouse.append(&table, vec![file(&table, "a", 3), file(&table, "b", 4)]).await.unwrap();
        let extra = BTreeMap::from([(String::from("nunatak.query-id"), String::from("q1"))]);
        let files = vec![file(&table, "c", 5)];
        // On top of a base that is out of date.
        let second = commit::append(warehouse.catalog.as_ref(), &table, files, extra).await.unwrap();

        let table = open(&warehouse.folder, "lake").await.load_table(&trips()).await.unwrap().unwrap();
        assert_eq!(table.metadata.current_snapshot_id(), Some(second.snapshot_id));
        assert_eq!(table.metadata.current_snapshot().unwrap().parent_snapshot_id(), Some(first.snapshot_id));
        let mut entries: Vec<_> =
            live(&table).await.data.iter().map(|entry| (entry.data_sequence_number, entry.snapshot_id, entry.first_row_id)).collect();
        entries.sort();
        let (sequence, rows) = match version {
            FormatVersion::V1 => ([0, 0], [None; 3]),
            FormatVersion::V2 => ([1, 2], [None; 3]),
            FormatVersion::V3 => ([1, 2], [Some(0), Some(3), Some(7)]),
        };
        let mut expected =
            vec![(sequence[0], first.snapshot_id, rows[0]), (sequence[0], first.snapshot_id, rows[1]), (sequence[1], second.snapshot_id, rows[2])];
        expected.sort();
        assert_eq!(entries, expected);
        let summary = summary(&table);
        let shown = ["added-data-files", "added-records", "added-files-size", "total-data-files", "total-records", "total-files-size"];
        assert_eq!(shown.map(|key| summary[key].as_str()), ["1", "5", "50", "3", "12", "120"]);
        assert_eq!((summary["changed-partition-count"].as_str(), summary["nunatak.query-id"].as_str()), ("1", "q1"));
        assert_eq!(metadata_files(&table, "-m0.avro").len(), 2);
        assert_eq!(metadata_files(&table, "snap-").len(), 2);
    }
}

#[tokio::test]
async fn eight_writers_lose_nothing() {
    let warehouse = Warehouse::new().await;
    let properties = [("commit.retry.num-retries", "1000"), ("commit.retry.min-wait-ms", "1"), ("commit.retry.max-wait-ms", "50")];
    let table = warehouse.create(&trips(), With::properties(&properties)).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        // Half of them in what could be another process.
        let catalog = if writer % 2 == 0 { warehouse.catalog.clone() } else { open(&warehouse.folder, "lake").await.into() };
        let mut table = table.clone();
        writers.spawn(async move {
            let mut ids = Vec::new();
            for number in 0..10 {
                let files = vec![file(&table, &format!("{writer}-{number}"), 1)];
                let appended = commit::append(catalog.as_ref(), &table, files, BTreeMap::new()).await.unwrap();
                ids.push(appended.snapshot_id);
                table = appended.table;
            }
            ids
        });
    }
    let ids: BTreeSet<i64> = writers.join_all().await.into_iter().flatten().collect();
    let table = warehouse.load(&trips()).await;
    assert_eq!(ids.len(), 80);
    assert_eq!(table.metadata.snapshots().map(|snapshot| snapshot.snapshot_id()).collect::<BTreeSet<_>>(), ids);
    assert_eq!(table.metadata.history().len(), 80);
    assert_eq!(live_names(&table).await.into_iter().collect::<BTreeSet<_>>().len(), 80);
    assert_eq!(summary(&table)["total-records"], "80");
    // Nothing is left of the attempts that lost.
    assert_eq!(metadata_files(&table, "snap-").len(), 80);
    assert_eq!(metadata_files(&table, "-m0.avro").len(), 80);
    assert_eq!(metadata_files(&table, "metadata.json").len(), 81);
}

#[tokio::test]
async fn a_staged_table_is_created_with_its_rows() {
    let warehouse = Warehouse::new().await;
    let location = warehouse.catalog.stage_location(&trips()).await.unwrap();
    let staged = Table::new(trips(), metadata(location, With::default()).into(), None, warehouse.catalog.storage());
    let metadata = append_to_staged(&staged, vec![file(&staged, "a", 2)], BTreeMap::new()).await.unwrap();
    assert!(warehouse.catalog.load_table(&trips()).await.unwrap().is_none());
    warehouse.catalog.create_table(&trips(), metadata).await.unwrap();
    let table = warehouse.load(&trips()).await;
    assert_eq!(live_names(&table).await, ["a.parquet"]);
    assert_eq!(table.metadata.last_sequence_number(), 1);
    let next = warehouse.append(&table, vec![file(&table, "b", 2)]).await.unwrap();
    assert_eq!(summary(&next.table)["total-records"], "4");
}

#[tokio::test]
async fn manifests_are_rolled_by_size_and_partitions_counted() {
    let warehouse = Warehouse::new().await;
    let with = With { partition: Some("city"), properties: vec![("commit.manifest.target-size-bytes", "400")], ..With::default() };
    let table = warehouse.create(&trips(), with).await;
    let files = ["x", "x", "y", "z"].iter().enumerate().map(|(number, city)| file_in(&table, &format!("{number}"), 1, city)).collect();
    let table = warehouse.append(&table, files).await.unwrap().table;
    assert_eq!(metadata_files(&table, "-m").len(), 2);
    assert_eq!(summary(&table)["changed-partition-count"], "3");
    let snapshot = table.metadata.current_snapshot().unwrap();
    let cache = ManifestCache::new(1 << 20);
    let all = snapshot::files(&table, snapshot, &cache, &|_| true).await.unwrap();
    assert_eq!(all.data.len(), 4);
    let summaries = |manifest: &nunatak_catalog::spec::ManifestFile| {
        let fields = manifest.partitions.as_ref().unwrap();
        fields[0].lower_bound.as_ref().is_some_and(|bound| bound.as_slice() == b"x")
    };
    assert_eq!(snapshot::files(&table, snapshot, &cache, &summaries).await.unwrap().data.len(), 2);
}

#[tokio::test]
async fn manifest_header_that_avro_does_not_take() {
    let warehouse = Warehouse::new().await;
    for (number, column) in ["a.b", "größe", "2 x-y"].into_iter().enumerate() {
        let name = TableName::new("nyc", format!("t{number}"));
        let table = warehouse.create(&name, With { partition: Some(column), text_column: column, ..With::default() }).await;
        let files = vec![file_in(&table, "a", 1, "here")];
        warehouse.append(&table, files.clone()).await.unwrap();
        let files = live(&warehouse.load(&name).await).await;
        assert_eq!(files.data[0].file.partition(), file_in(&table, "a", 1, "here").partition());
    }
}

#[tokio::test]
async fn the_branch_keeps_its_retention() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With::default()).await;
    let first = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap();
    let retention = SnapshotRetention::branch(Some(7), Some(1_000), None);
    let reference = SnapshotReference::new(first.snapshot_id, retention.clone());
    let update = TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference };
    let table = warehouse.catalog.commit(&first.table, Vec::new(), vec![update]).await.unwrap();
    let second = warehouse.append(&table, vec![file(&table, "b", 1)]).await.unwrap();
    let expected = SnapshotReference::new(second.snapshot_id, retention);
    assert_eq!(snapshot::refs(&second.table.metadata).unwrap()[MAIN_BRANCH], expected);
}

async fn change_columns(warehouse: &Warehouse, fields: Vec<NestedField>) -> Table {
    let table = warehouse.load(&trips()).await;
    let fields = fields.into_iter().map(Into::into).collect::<Vec<_>>();
    let schema = Schema::builder().with_schema_id(1).with_fields(fields).build().unwrap();
    let updates = vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
    warehouse.catalog.commit(&table, Vec::new(), updates).await.unwrap()
}

fn long(id: i32, name: &str) -> NestedField {
    NestedField::optional(id, name, Type::Primitive(PrimitiveType::Long))
}

#[tokio::test]
async fn an_added_column_is_no_conflict_but_a_changed_one_is() {
    let warehouse = Warehouse::new().await;
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let city = NestedField::optional(2, "city", Type::Primitive(PrimitiveType::String));
    let base = warehouse.create(&trips(), With::default()).await;
    change_columns(&warehouse, vec![id.clone(), city.clone(), long(3, "fare")]).await;
    warehouse.append(&base, vec![file(&base, "a", 1)]).await.unwrap();

    change_columns(&warehouse, vec![id, long(3, "fare")]).await;
    let error = warehouse.append(&base, vec![file(&base, "b", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Code::TransactionConflict);
    let now = warehouse.load(&trips()).await;
    assert_eq!(live_names(&now).await, ["a.parquet"]);
    assert_eq!(metadata_files(&now, "-m0.avro").len(), 1);
}

#[tokio::test]
async fn other_partitioning_or_another_table_of_the_name_is_a_conflict() {
    let warehouse = Warehouse::new().await;
    let base = warehouse.create(&trips(), With::default()).await;
    let spec = UnboundPartitionSpec::builder().add_partition_field(2, "city", Transform::Identity).unwrap().build();
    let updates = vec![TableUpdate::AddSpec { spec }, TableUpdate::SetDefaultSpec { spec_id: -1 }];
    warehouse.catalog.commit(&base, Vec::new(), updates).await.unwrap();
    let error = warehouse.append(&base, vec![file(&base, "a", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Code::TransactionConflict);

    warehouse.catalog.drop_table(&trips(), false).await.unwrap();
    assert_eq!(warehouse.append(&base, vec![file(&base, "a", 1)]).await.unwrap_err().code(), Code::TableNotFound);
    warehouse.create(&trips(), With::default()).await;
    assert_eq!(warehouse.append(&base, vec![file(&base, "a", 1)]).await.unwrap_err().code(), Code::TransactionConflict);
}

#[tokio::test]
async fn a_file_that_does_not_fit_its_partitioning_is_refused() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With { partition: Some("city"), ..With::default() }).await;
    let error = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Code::GenericInternalError);
}

#[tokio::test]
async fn an_upgraded_table_reads_its_old_snapshots() {
    let warehouse = Warehouse::new().await;
    let table = warehouse.create(&trips(), With { version: FormatVersion::V1, ..With::default() }).await;
    let mut table = warehouse.append(&table, vec![file(&table, "a", 2)]).await.unwrap().table;
    for (format_version, name) in [(FormatVersion::V2, "b"), (FormatVersion::V3, "c")] {
        let updates = vec![TableUpdate::UpgradeFormatVersion { format_version }];
        table = warehouse.catalog.commit(&table, Vec::new(), updates).await.unwrap();
        assert!(!live(&table).await.data.is_empty());
        table = warehouse.append(&table, vec![file(&table, name, 3)]).await.unwrap().table;
    }
    assert_eq!(live_names(&table).await, ["a.parquet", "b.parquet", "c.parquet"]);
    let mut row_ids: Vec<_> = live(&table).await.data.iter().map(|entry| (entry.first_row_id.unwrap(), entry.file.record_count())).collect();
    row_ids.sort();
    assert!(row_ids.windows(2).all(|pair| pair[0].0 + pair[0].1 as i64 <= pair[1].0), "{row_ids:?}");
    assert_eq!(table.metadata.next_row_id(), 8);
}

#[tokio::test]
async fn files_of_others_that_two_add_at_the_same_time_are_there_once() {
    let warehouse = Warehouse::new().await;
    let begun = warehouse.create(&trips(), With::default()).await;
    let cache = ManifestCache::new(1 << 20);
    let adopt = async |place: &str, name: &str| {
        let needed = |now: &Table| -> nunatak_core::Result<HashMap<String, String>> {
            Ok(with_adopted(&now.metadata, place)?.map(|places| (ADOPTED.to_owned(), places)).into_iter().collect())
        };
        commit::adopt(warehouse.catalog.as_ref(), &begun, vec![file(&begun, name, 1)], needed, &cache, &BTreeMap::new()).await
    };
    adopt("/lake/one", "a").await.unwrap();
    let error = adopt("/lake/one", "a").await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidProcedureArgument, "{error}");
    assert!(error.message().contains("is in table 'nyc.trips' already"), "{error}");
    let table = adopt("/lake/two", "b").await.unwrap().table;
    assert_eq!(live_names(&table).await, ["a.parquet", "b.parquet"]);
    assert_eq!(table.metadata.properties()[ADOPTED], r#"["file:///lake/one","file:///lake/two"]"#);
    assert_eq!(metadata_files(&table, "-m0.avro").len(), 2);
}

#[tokio::test]
async fn a_branch_that_is_dropped_meanwhile_is_not_made_anew() {
    let warehouse = Warehouse::new().await;
    let catalog = warehouse.catalog.as_ref();
    let table = warehouse.create(&trips(), With::default()).await;
    let table = warehouse.append(&table, vec![file(&table, "a", 1)]).await.unwrap().table;
    // Rows that wait on a branch make it.
    let audit = Table { branch: Branch::Named("audit".to_owned()), ..table.clone() };
    let begun = warehouse.append(&audit, vec![file(&table, "b", 1)]).await.unwrap().table;
    let dropped = |_: &Table| Ok(vec![TableUpdate::RemoveSnapshotRef { ref_name: "audit".to_owned() }]);
    commit::change_metadata(catalog, &table, dropped).await.unwrap();

    let error = warehouse.append(&begun, vec![file(&table, "c", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Code::TransactionConflict, "{error}");
    assert!(error.message().contains("its branch 'audit' was dropped"), "{error}");
    assert!(warehouse.load(&trips()).await.metadata.snapshot_for_ref("audit").is_none());
    warehouse.append(&audit, vec![file(&table, "d", 1)]).await.unwrap();
}
