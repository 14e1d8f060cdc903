//! A warehouse in a temporary folder, and what tests put into it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use nunatak_catalog::backend::sql::{SqlCatalog, SqlCatalogOptions, SqlDatabase};
use nunatak_catalog::commit::{self, Appended};
use nunatak_catalog::snapshot::{self, ManifestCache, SnapshotFiles, Version};
use nunatak_catalog::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, NestedField, PrimitiveType, Schema, SortOrder, Struct,
    TableMetadata, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};
use nunatak_catalog::{Catalog, Storage, Table, TableName};
use tempfile::TempDir;

/// A catalog `lake` with the schema `nyc`.
pub(crate) struct Warehouse {
    pub(crate) catalog: Arc<SqlCatalog>,
    pub(crate) folder: TempDir,
}

impl Warehouse {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Arc::new(open(&folder, "lake").await);
        catalog.create_namespace("nyc", BTreeMap::new()).await.unwrap();
        Self { catalog, folder }
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("catalog.db")
    }

    pub(crate) async fn create(&self, name: &TableName, with: With) -> Table {
        let location = self.catalog.stage_location(name).await.unwrap();
        self.catalog.create_table(name, metadata(location, with)).await.unwrap()
    }

    pub(crate) async fn load(&self, name: &TableName) -> Table {
        self.catalog.load_table(name).await.unwrap().unwrap()
    }

    pub(crate) async fn append(&self, table: &Table, files: Vec<DataFile>) -> nunatak_core::Result<Appended> {
        commit::append(self.catalog.as_ref(), table, files, BTreeMap::new()).await
    }
}

pub(crate) async fn open(folder: &TempDir, name: &str) -> SqlCatalog {
    let options = SqlCatalogOptions {
        name: name.to_owned(),
        database: SqlDatabase::Sqlite(folder.path().join("catalog.db")),
        upgrade: true,
        warehouse: format!("file://{}/wh", folder.path().display()),
        storage: Storage::new(),
    };
    SqlCatalog::open(options).await.unwrap()
}

/// What a table is made with.
pub(crate) struct With {
    pub(crate) version: FormatVersion,
    pub(crate) properties: Vec<(&'static str, &'static str)>,
    pub(crate) partition: Option<&'static str>,
    pub(crate) text_column: &'static str,
}

impl Default for With {
    fn default() -> Self {
        Self { version: FormatVersion::V2, properties: Vec::new(), partition: None, text_column: "city" }
    }
}

impl With {
    pub(crate) fn properties(properties: &[(&'static str, &'static str)]) -> Self {
        Self { properties: properties.to_vec(), ..Self::default() }
    }
}

pub(crate) fn trips() -> TableName {
    TableName::new("nyc", "trips")
}

pub(crate) fn columns(text_column: &str) -> Schema {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let text = NestedField::optional(2, text_column, Type::Primitive(PrimitiveType::String));
    Schema::builder().with_fields([id.into(), text.into()]).build().unwrap()
}

pub(crate) fn metadata(location: String, with: With) -> TableMetadata {
    let mut spec = UnboundPartitionSpec::builder();
    if let Some(name) = with.partition {
        spec = spec.add_partition_field(2, name, Transform::Identity).unwrap();
    }
    let properties: HashMap<String, String> = with.properties.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let order = SortOrder::unsorted_order();
    let builder = TableMetadataBuilder::new(columns(with.text_column), spec.build(), order, location, with.version, properties).unwrap();
    builder.build().unwrap().metadata
}

pub(crate) fn file(table: &Table, name: &str, rows: u64) -> DataFile {
    build(table, name, rows, Struct::empty())
}

pub(crate) fn file_in(table: &Table, name: &str, rows: u64, city: &str) -> DataFile {
    build(table, name, rows, Struct::from_iter([Some(Literal::string(city))]))
}

fn build(table: &Table, name: &str, rows: u64, partition: Struct) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{}/data/{name}.parquet", table.metadata.location()))
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .record_count(rows)
        .file_size_in_bytes(rows * 10)
        .build()
        .unwrap()
}

pub(crate) async fn live(table: &Table) -> SnapshotFiles {
    let snapshot = snapshot::resolve(&table.metadata, &Version::Current).unwrap().unwrap();
    snapshot::files(table, &snapshot, &ManifestCache::new(1 << 20), &|_| true).await.unwrap()
}

pub(crate) async fn live_names(table: &Table) -> Vec<String> {
    let mut names: Vec<_> = live(table).await.data.iter().map(|entry| last(entry.file.file_path())).collect();
    names.sort();
    names
}

/// The names of the files in the metadata folder of a table that contain `part`.
pub(crate) fn metadata_files(table: &Table, part: &str) -> Vec<String> {
    let folder = format!("{}/metadata", local(table.metadata.location()));
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(part))
        .collect();
    files.sort();
    files
}

pub(crate) fn local(location: &str) -> String {
    location.strip_prefix("file://").unwrap_or(location).to_owned()
}

pub(crate) fn last(path: &str) -> String {
    path.rsplit('/').next().unwrap().to_owned()
}
