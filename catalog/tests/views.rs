//! Views: made, replaced, dropped.

use std::collections::HashMap;

use nunatak_catalog::{Catalog, TableName, View};
use nunatak_core::Code;

use crate::support::{Warehouse, With, columns, local, trips};

fn view(sql: &str, comment: Option<&str>) -> View {
    View {
        name: TableName::new("nyc", "busy"),
        sql: sql.to_owned(),
        columns: Vec::new(),
        column_comments: HashMap::new(),
        default_catalog: String::from("lake"),
        default_schema: String::from("nyc"),
        comment: comment.map(str::to_owned),
        owner: comment.map(|_| String::from("ada")),
    }
}

fn location(warehouse: &Warehouse) -> String {
    let database = rusqlite::Connection::open(warehouse.database()).unwrap();
    let sql = "SELECT metadata_location FROM iceberg_tables WHERE table_name = 'busy' AND iceberg_type = 'VIEW'";
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn made_replaced_and_dropped() {
    let warehouse = Warehouse::new().await;
    let catalog = &warehouse.catalog;
    let first = view("SELECT 1 AS id, 'x' AS city", Some("all of them"));
    catalog.create_view(&first, columns("city"), false).await.unwrap();
    let loaded = catalog.load_view(&first.name).await.unwrap().unwrap();
    assert_eq!((loaded.sql, loaded.comment, loaded.default_schema), (first.sql.clone(), first.comment.clone(), String::from("nyc")));
    assert_eq!(catalog.views("nyc").await.unwrap(), ["busy"]);
    assert!(catalog.tables("nyc").await.unwrap().is_empty());
    assert!(catalog.load_table(&first.name).await.unwrap().is_none());

    let second = view("SELECT 2 AS id, 'y' AS city", None);
    assert_eq!(catalog.create_view(&second, columns("city"), false).await.unwrap_err().code(), Code::TableAlreadyExists);
    catalog.create_view(&second, columns("city"), true).await.unwrap();
    let loaded = catalog.load_view(&first.name).await.unwrap().unwrap();
    assert_eq!((loaded.sql, loaded.comment), (second.sql.clone(), None));
    assert!(location(&warehouse).contains("/metadata/00001-"));

    // The same text once more is no new version, but no error either.
    catalog.create_view(&second, columns("city"), true).await.unwrap();
    catalog.create_view(&first, columns("town"), true).await.unwrap();
    assert_eq!(catalog.load_view(&first.name).await.unwrap().unwrap().sql, first.sql);

    let folder = local(location(&warehouse).split("/metadata/").next().unwrap());
    assert_eq!(catalog.drop_table(&first.name, true).await.unwrap_err().code(), Code::TableNotFound);
    catalog.drop_view(&first.name).await.unwrap();
    assert_eq!(catalog.drop_view(&first.name).await.unwrap_err().code(), Code::TableNotFound);
    assert!(catalog.load_view(&first.name).await.unwrap().is_none());
    assert!(!std::path::Path::new(&folder).exists());
}

#[tokio::test]
async fn views_and_tables_share_their_names() {
    let warehouse = Warehouse::new().await;
    warehouse.create(&trips(), With::default()).await;
    let taken = View { name: trips(), ..view("SELECT 1", None) };
    for replace in [false, true] {
        let error = warehouse.catalog.create_view(&taken, columns("city"), replace).await.unwrap_err();
        assert_eq!(error.code(), Code::TableAlreadyExists);
    }
    let nowhere = View { name: TableName::new("nowhere", "v"), ..view("SELECT 1", None) };
    assert_eq!(warehouse.catalog.create_view(&nowhere, columns("city"), true).await.unwrap_err().code(), Code::SchemaNotFound);
    assert!(warehouse.catalog.load_view(&trips()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_view_of_another_engine_is_read_and_replaced() {
    let warehouse = Warehouse::new().await;
    let mine = view("SELECT 1 AS id", None);
    warehouse.catalog.create_view(&mine, columns("city"), false).await.unwrap();
    let file = local(&location(&warehouse));
    let json = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, json.replace("\"trino\"", "\"spark\"").replace(",\"default-catalog\":\"lake\"", "")).unwrap();
    let loaded = warehouse.catalog.load_view(&mine.name).await.unwrap().unwrap();
    assert_eq!((loaded.sql.as_str(), loaded.default_catalog.as_str()), ("SELECT 1 AS id", "lake"));
    let changed = view("SELECT 3 AS id", None);
    warehouse.catalog.create_view(&changed, columns("city"), true).await.unwrap();
    assert_eq!(warehouse.catalog.load_view(&mine.name).await.unwrap().unwrap().sql, changed.sql);
}
