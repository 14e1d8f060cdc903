//! Schemas: made, listed, dropped.

use std::collections::BTreeMap;

use nunatak_catalog::{Catalog, Namespace};
use nunatak_core::Code;

use crate::support::{Warehouse, With, open, trips};

#[tokio::test]
async fn made_listed_and_dropped() {
    let warehouse = Warehouse::new().await;
    let properties = BTreeMap::from([(String::from("comment"), String::from("taxis"))]);
    warehouse.catalog.create_namespace("a.b", properties.clone()).await.unwrap();
    let expected = [
        Namespace { name: String::from("a.b"), properties: properties.clone() },
        Namespace { name: String::from("nyc"), properties: BTreeMap::new() },
    ];
    assert_eq!(warehouse.catalog.namespaces().await.unwrap(), expected);
    assert_eq!(warehouse.catalog.namespace_names().await.unwrap(), ["a.b", "nyc"]);
    assert_eq!(warehouse.catalog.namespace("a.b").await.unwrap().as_ref(), Some(&expected[0]));
    assert_eq!(warehouse.catalog.namespace("a").await.unwrap(), None);

    let error = warehouse.catalog.create_namespace("a.b", BTreeMap::new()).await.unwrap_err();
    assert_eq!(error.code(), Code::SchemaAlreadyExists);
    warehouse.catalog.drop_namespace("a.b").await.unwrap();
    assert_eq!(warehouse.catalog.drop_namespace("a.b").await.unwrap_err().code(), Code::SchemaNotFound);
    assert_eq!(warehouse.catalog.tables("a.b").await.unwrap_err().code(), Code::SchemaNotFound);
}

#[tokio::test]
async fn one_with_tables_or_schemas_in_it_stays() {
    let warehouse = Warehouse::new().await;
    warehouse.create(&trips(), With::default()).await;
    assert_eq!(warehouse.catalog.drop_namespace("nyc").await.unwrap_err().code(), Code::SchemaNotEmpty);
    warehouse.catalog.drop_table(&trips(), false).await.unwrap();
    warehouse.catalog.create_namespace("nyc.x", BTreeMap::new()).await.unwrap();
    assert_eq!(warehouse.catalog.drop_namespace("nyc").await.unwrap_err().code(), Code::SchemaNotEmpty);
    warehouse.catalog.drop_namespace("nyc.x").await.unwrap();
    warehouse.catalog.drop_namespace("nyc").await.unwrap();
}

#[tokio::test]
async fn its_location_is_where_its_tables_go() {
    let warehouse = Warehouse::new().await;
    let location = format!("{}/else where", warehouse.folder.path().display());
    let properties = BTreeMap::from([(String::from("location"), location.clone())]);
    warehouse.catalog.create_namespace("far", properties).await.unwrap();
    let staged = warehouse.catalog.stage_location(&nunatak_catalog::TableName::new("far", "a/b")).await.unwrap();
    assert!(staged.starts_with(&format!("{location}/a_b-")), "{staged}");
    let staged = warehouse.catalog.stage_location(&trips()).await.unwrap();
    assert!(staged.starts_with(&format!("file://{}/wh/nyc/trips-", warehouse.folder.path().display())), "{staged}");
}

#[tokio::test]
async fn catalogs_in_one_database_do_not_see_each_other() {
    let warehouse = Warehouse::new().await;
    let other = open(&warehouse.folder, "other").await;
    assert!(other.namespaces().await.unwrap().is_empty());
    other.create_namespace("nyc", BTreeMap::new()).await.unwrap();
    assert!(other.load_table(&trips()).await.unwrap().is_none());
}
