//! A Hadoop catalog on local files: its versions, and who of several writers is first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use nunatak_catalog::backend::hadoop::{HadoopCatalog, HadoopCatalogOptions};
use nunatak_catalog::commit::{self, CommitError};
use nunatak_catalog::properties::check_places;
use nunatak_catalog::spec::TableUpdate;
use nunatak_catalog::{Catalog, Storage, Table, TableName};
use nunatak_core::Code;
use tempfile::TempDir;

use crate::support::{With, file, live_names, metadata, metadata_files, trips};

struct Folders {
    catalog: Arc<HadoopCatalog>,
    folder: TempDir,
}

impl Folders {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { catalog: Arc::new(open(&folder)), folder };
        this.catalog.create_namespace("nyc", BTreeMap::new()).await.unwrap();
        this
    }

    async fn create(&self, with: With) -> Table {
        let location = self.catalog.stage_location(&trips()).await.unwrap();
        self.catalog.create_table(&trips(), metadata(location, with)).await.unwrap()
    }

    async fn load(&self) -> Table {
        self.catalog.load_table(&trips()).await.unwrap().unwrap()
    }

    fn metadata(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("wh/nyc/trips/metadata").join(name)
    }
}

fn open(folder: &TempDir) -> HadoopCatalog {
    let warehouse = format!("file://{}/wh", folder.path().display());
    HadoopCatalog::open(HadoopCatalogOptions { name: String::from("folders"), warehouse, storage: Storage::new() }).unwrap()
}

fn set(name: &str, value: &str) -> Vec<TableUpdate> {
    vec![TableUpdate::SetProperties { updates: HashMap::from([(name.to_owned(), value.to_owned())]) }]
}

#[tokio::test]
async fn each_commit_is_the_next_version() {
    let folders = Folders::new().await;
    let table = folders.create(With::default()).await;
    assert!(table.metadata_location.as_ref().unwrap().ends_with("/v1.metadata.json"));
    let appended = commit::append(folders.catalog.as_ref(), &table, vec![file(&table, "a", 1)], BTreeMap::new()).await.unwrap();
    assert!(appended.table.metadata_location.as_ref().unwrap().ends_with("/v2.metadata.json"));
    assert_eq!(live_names(&folders.load().await).await, ["a.parquet"]);
    assert_eq!(std::fs::read_to_string(folders.metadata("version-hint.text")).unwrap(), "2");
    assert_eq!(folders.catalog.tables("nyc").await.unwrap(), ["trips"]);
}

#[tokio::test]
async fn of_two_with_the_same_base_one_commits() {
    let folders = Folders::new().await;
    let table = folders.create(With::default()).await;
    let first = folders.catalog.commit(&table, Vec::new(), set("who", "first")).await.unwrap();
    let second = folders.catalog.commit(&table, Vec::new(), set("who", "second")).await;
    assert!(matches!(second, Err(CommitError::Conflict(_))), "{second:?}");
    assert_eq!(folders.load().await.metadata.properties()["who"], "first");
    // Another process knows nothing of what this one keeps.
    let other = open(&folders.folder).load_table(&trips()).await.unwrap().unwrap();
    assert_eq!(other.metadata_location, first.metadata_location);
    assert_eq!(metadata_files(&table, ".metadata.json"), ["v1.metadata.json", "v2.metadata.json"]);
}

#[tokio::test]
async fn a_hint_is_only_a_hint() {
    let folders = Folders::new().await;
    let mut table = folders.create(With::default()).await;
    for number in 0..4 {
        table = folders.catalog.commit(&table, Vec::new(), set("number", &number.to_string())).await.unwrap();
    }
    for hint in ["2", "5", "99", "five", ""] {
        std::fs::write(folders.metadata("version-hint.text"), hint).unwrap();
        assert_eq!(folders.load().await.metadata_location, table.metadata_location, "{hint:?}");
    }
    std::fs::remove_file(folders.metadata("version-hint.text")).unwrap();
    assert_eq!(folders.load().await.metadata_location, table.metadata_location);
}

#[tokio::test]
async fn a_version_that_was_there_is_not_made_again() {
    let folders = Folders::new().await;
    let old = folders.create(With::default()).await;
    let mut table = old.clone();
    for number in 0..3 {
        table = folders.catalog.commit(&table, Vec::new(), set("number", &number.to_string())).await.unwrap();
    }
    std::fs::remove_file(folders.metadata("v2.metadata.json")).unwrap();
    let late = folders.catalog.commit(&old, Vec::new(), set("who", "late")).await;
    assert!(matches!(late, Err(CommitError::Conflict(_))), "{late:?}");
    assert_eq!(folders.load().await.metadata_location, table.metadata_location);
}

#[tokio::test]
async fn a_table_made_again_is_another_one() {
    let folders = Folders::new().await;
    let first = folders.create(With::default()).await;
    assert_eq!(folders.load().await.metadata.uuid(), first.metadata.uuid());
    folders.catalog.drop_table(&trips(), true).await.unwrap();
    assert!(folders.catalog.load_table(&trips()).await.unwrap().is_none());
    assert!(!folders.folder.path().join("wh/nyc/trips").exists());
    let second = folders.create(With { text_column: "town", ..With::default() }).await;
    assert_ne!(first.metadata.uuid(), second.metadata.uuid());
    assert_eq!(folders.load().await.metadata.uuid(), second.metadata.uuid());
}

#[tokio::test]
async fn packed_metadata_is_found() {
    let folders = Folders::new().await;
    let table = folders.create(With::properties(&[("write.metadata.compression-codec", "gzip")])).await;
    assert!(table.metadata_location.as_ref().unwrap().ends_with("/v1.gz.metadata.json"));
    folders.catalog.commit(&table, Vec::new(), set("a", "b")).await.unwrap();
    assert_eq!(folders.load().await.metadata.properties()["a"], "b");
}

#[tokio::test]
async fn schemas_are_folders_in_folders() {
    let folders = Folders::new().await;
    let catalog = &folders.catalog;
    catalog.create_namespace("nyc.brooklyn", BTreeMap::from([(String::from("owner"), String::from("ada"))])).await.unwrap();
    folders.create(With::default()).await;
    let found = catalog.namespaces().await.unwrap();
    let names: Vec<&str> = found.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["nyc", "nyc.brooklyn"]);
    assert_eq!(found[1].properties["owner"], "ada");
    assert_eq!(catalog.namespace_names().await.unwrap(), names);
    assert_eq!(catalog.namespace("nyc.brooklyn").await.unwrap().as_ref(), Some(&found[1]));
    for missing in ["", "nope", "nyc.nope", "nyc.trips", "nyc.trips.metadata", "nyc..brooklyn", "_", "nyc./"] {
        assert_eq!(catalog.namespace(missing).await.unwrap(), None, "{missing}");
    }
    assert_eq!(catalog.create_namespace("nyc", BTreeMap::new()).await.unwrap_err().code(), Code::SchemaAlreadyExists);
    assert_eq!(catalog.drop_namespace("nyc").await.unwrap_err().code(), Code::SchemaNotEmpty);
    catalog.drop_namespace("nyc.brooklyn").await.unwrap();
    assert_eq!(catalog.tables("nyc.brooklyn").await.unwrap_err().code(), Code::SchemaNotFound);
    assert_eq!(catalog.tables("nyc.trips").await.unwrap_err().code(), Code::SchemaNotFound);
}

#[tokio::test]
async fn what_others_do_with_folders_is_seen() {
    let folders = Folders::new().await;
    folders.create(With::default()).await;
    assert_eq!(folders.catalog.tables("nyc").await.unwrap(), ["trips"]);
    let schema = folders.folder.path().join("wh/nyc");
    std::fs::rename(schema.join("trips"), schema.join("rides")).unwrap();
    assert_eq!(folders.catalog.tables("nyc").await.unwrap(), ["rides"]);
    std::fs::create_dir(schema.join("trips")).unwrap();
    assert_eq!(folders.catalog.tables("nyc").await.unwrap(), ["rides"]);
    assert_eq!(folders.catalog.namespace_names().await.unwrap(), ["nyc", "nyc.trips"]);
}

#[tokio::test]
async fn files_go_where_no_other_table_lies() {
    let folders = Folders::new().await;
    let table = folders.create(With::default()).await;
    let other = TableName::new("nyc", "rides");
    let location = folders.catalog.stage_location(&other).await.unwrap();
    let other = folders.catalog.create_table(&other, metadata(location, With::default())).await.unwrap();
    let warehouse = format!("{}/wh", folders.folder.path().display());
    let check = async |table: &Table, path: &str| {
        let set = HashMap::from([(String::from("write.data.path"), format!("{warehouse}{path}"))]);
        check_places(folders.catalog.as_ref(), table, &set).await.map_err(|error| error.code())
    };
    assert_eq!(check(&table, "/nyc/trips/elsewhere").await, Ok(()));
    assert_eq!(check(&table, "/nyc/elsewhere/data").await, Ok(()));
    assert_eq!(check(&table, "/nyc/rides/data").await, Err(Code::InvalidTableProperty));
    assert_eq!(check(&other, "/nyc/rides/data").await, Ok(()));
    let outcome = folders.catalog.commit(&table, Vec::new(), set("write.metadata.path", "/elsewhere")).await;
    assert!(matches!(outcome, Err(CommitError::Failed(error)) if error.code() == Code::NotSupported));
}
