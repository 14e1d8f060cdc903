//! Requests against a catalog of folders, as clients send them.

use serde_json::{Value, json};

use super::*;
use crate::backend::hadoop::{HadoopCatalog, HadoopCatalogOptions};
use crate::storage::Storage;

fn server(folder: &tempfile::TempDir, access: Access) -> RestServer {
    let options = HadoopCatalogOptions { name: "f".to_owned(), warehouse: folder.path().display().to_string(), storage: Storage::new() };
    RestServer::new(Arc::new(HadoopCatalog::open(options).unwrap()), access, MetadataCache::default())
}

fn said(outcome: Result<Answer, Failure>) -> Value {
    serde_json::from_slice(&outcome.unwrap().body).unwrap()
}

fn failed(outcome: Result<Answer, Failure>) -> (u16, &'static str) {
    let failure = outcome.unwrap_err();
    (failure.status, failure.kind)
}

fn body(value: Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn schema() -> Value {
    json!({ "type": "struct", "schema-id": 0, "fields": [
        { "id": 5, "name": "a", "required": true, "type": "long" }, { "id": 9, "name": "b", "required": false, "type": "string" } ] })
}

fn snapshot(id: i64, sequence_number: i64, parent: Option<i64>) -> Value {
    json!({ "action": "add-snapshot", "snapshot": {
        "snapshot-id": id, "parent-snapshot-id": parent, "sequence-number": sequence_number, "timestamp-ms": chrono::Utc::now().timestamp_millis(),
        "manifest-list": format!("/m/{id}.avro"), "summary": { "operation": "append" }, "schema-id": 0 } })
}

fn main_at(id: i64) -> Value {
    json!({ "action": "set-snapshot-ref", "ref-name": "main", "type": "branch", "snapshot-id": id })
}

fn main_is(id: Option<i64>) -> Value {
    json!({ "type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": id })
}

fn commit(requirements: Value, updates: Value) -> Vec<u8> {
    body(json!({ "requirements": requirements, "updates": updates }))
}

async fn with_table(server: &RestServer) {
    server.create_namespace(&body(json!({ "namespace": ["n"], "properties": { "owner": "me" } }))).await.unwrap();
    let order = json!({ "order-id": 0, "fields": [] });
    let request =
        json!({ "name": "t", "schema": schema(), "write-order": order, "location": null, "properties": { "format-version": "2", "k": "v" } });
    let made = said(server.create_table("n", &Load::default(), &body(request)).await);
    assert_eq!(made["metadata"]["schemas"][0]["fields"][1]["id"], 2);
    assert_eq!(made["metadata"]["properties"], json!({ "k": "v", "write.parquet.compression-codec": "zstd" }));
    assert!(made["metadata-location"].as_str().unwrap().ends_with("/n/t/metadata/v1.metadata.json"));
}

#[tokio::test]
async fn what_a_commit_requires_must_hold() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, Access::default());
    with_table(&server).await;
    let first = commit(json!([main_is(None)]), json!([snapshot(1, 1, None), main_at(1)]));
    assert_eq!(said(server.commit("n", "t", &first).await)["metadata"]["current-snapshot-id"], 1);
    assert_eq!(failed(server.commit("n", "t", &first).await), (409, "CommitFailedException"));
    // It requires nothing of what has changed, but was numbered before.
    let stale = commit(json!([main_is(Some(1))]), json!([snapshot(2, 1, Some(1)), main_at(2)]));
    assert_eq!(failed(server.commit("n", "t", &stale).await), (409, "CommitFailedException"));
    let second = commit(json!([main_is(Some(1))]), json!([snapshot(2, 2, Some(1)), main_at(2)]));
    server.commit("n", "t", &second).await.unwrap();
    for (request, status) in [
        (commit(json!([]), json!([{ "action": "set-current-schema", "schema-id": 7 }])), 400),
        (commit(json!([]), json!([{ "action": "fly" }])), 400),
        (commit(json!([{ "type": "assert-table-uuid", "uuid": "00000000-0000-0000-0000-000000000000" }]), json!([])), 409),
        (commit(json!([{ "type": "assert-create" }]), json!([])), 400),
        (b"{".to_vec(), 400),
    ] {
        assert_eq!(server.commit("n", "t", &request).await.unwrap_err().status, status, "{}", String::from_utf8_lossy(&request));
    }
    assert_eq!(failed(server.commit("n", "u", &second).await), (404, "NoSuchTableException"));
}

#[tokio::test]
async fn a_commit_without_updates_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, Access::default());
    with_table(&server).await;
    let answered = said(server.commit("n", "t", &commit(json!([main_is(None)]), json!([]))).await);
    assert!(answered["metadata-location"].as_str().unwrap().ends_with("/v1.metadata.json"), "{answered}");
    assert_eq!(failed(server.commit("n", "t", &commit(json!([main_is(Some(1))]), json!([]))).await), (409, "CommitFailedException"));
}

#[tokio::test]
async fn what_will_never_be_is_not_to_be_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let sql = crate::backend::sql::SqlCatalogOptions {
        name: "s".to_owned(),
        database: crate::backend::sql::SqlDatabase::Sqlite(folder.path().join("c.sqlite")),
        upgrade: true,
        warehouse: folder.path().display().to_string(),
        storage: Storage::new(),
    };
    let catalog = crate::backend::sql::SqlCatalog::open(sql).await.unwrap();
    let server = RestServer::new(Arc::new(catalog), Access::default(), MetadataCache::default());
    server.create_namespace(&body(json!({ "namespace": ["n"] }))).await.unwrap();
    for staged in [false, true] {
        let request = json!({ "name": "t", "schema": schema(), "location": "relative/path", "stage-create": staged });
        assert_eq!(failed(server.create_table("n", &Load::default(), &body(request)).await), (400, "BadRequestException"));
    }
    std::fs::write(folder.path().join("text"), "no JSON").unwrap();
    for file in ["text", "none"] {
        let request = json!({ "name": "t", "metadata-location": format!("file://{}/{file}", folder.path().display()) });
        assert_eq!(failed(server.register_table("n", &Load::default(), &body(request)).await), (400, "BadRequestException"), "{file}");
    }
    let request = json!({ "namespace": ["m"], "properties": { "location": "nonsense" } });
    assert_eq!(failed(server.create_namespace(&body(request)).await), (400, "BadRequestException"));
    let request = json!({ "removals": [], "updates": { "location": "nonsense" } });
    assert_eq!(failed(server.change_namespace("n", &body(request)).await), (400, "BadRequestException"));
}

#[tokio::test]
async fn a_table_is_loaded_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, Access::default());
    with_table(&server).await;
    let loaded = server.load_table("n", "t", &Load::default()).await.unwrap();
    let text = std::fs::read_to_string(folder.path().join("n/t/metadata/v1.metadata.json")).unwrap();
    assert!(String::from_utf8_lossy(&loaded.body).contains(&text));
    let unless = |unless: Option<String>, refs_only| Load { unless, refs_only, ..Load::default() };
    let again = server.load_table("n", "t", &unless(loaded.tag.clone(), false)).await.unwrap();
    assert_eq!((again.status, again.body.len(), &again.tag), (304, 0, &loaded.tag));
    assert_eq!(server.load_table("n", "t", &unless(loaded.tag.clone(), true)).await.unwrap().status, 200);
    let change = commit(json!([]), json!([{ "action": "set-properties", "updates": { "k": "w" } }]));
    server.commit("n", "t", &change).await.unwrap();
    let changed = server.load_table("n", "t", &unless(loaded.tag, false)).await.unwrap();
    assert_eq!(said(Ok(changed))["metadata"]["properties"]["k"], "w");
    assert_eq!(failed(server.load_table("n", "u", &Load::default()).await), (404, "NoSuchTableException"));
    assert_eq!(failed(server.load_table("m", "t", &Load::default()).await), (404, "NoSuchTableException"));
    assert_eq!(failed(server.list_tables("m", &Page::default()).await), (404, "NoSuchNamespaceException"));
    assert_eq!(failed(server.load_view("n", "t").await), (404, "NoSuchViewException"));
}

#[tokio::test]
async fn a_staged_table_keeps_the_ids_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, Access::default());
    server.create_namespace(&body(json!({ "namespace": ["n"] }))).await.unwrap();
    let staged = said(server.create_table("n", &Load::default(), &body(json!({ "name": "t", "schema": schema(), "stage-create": true }))).await);
    assert_eq!(staged.get("metadata-location"), None);
    assert_eq!(failed(server.load_table("n", "t", &Load::default()).await), (404, "NoSuchTableException"));
    for version in [1, 2, 3] {
        let name = format!("t{version}");
        let mut first = snapshot(1, if version == 1 { 0 } else { 1 }, None);
        if version == 3 {
            first["snapshot"]["first-row-id"] = json!(0);
            first["snapshot"]["added-rows"] = json!(7);
        }
        let location = staged["metadata"]["location"].as_str().unwrap().replace("/n/t", &format!("/n/{name}"));
        let fields = json!([{ "source-id": 9, "field-id": 1000, "name": "b", "transform": "identity" }]);
        let sort = json!([{ "transform": "identity", "source-id": 5, "direction": "asc", "null-order": "nulls-first" }]);
        let updates = json!([
            { "action": "assign-uuid", "uuid": "7c2bb5d1-5a39-4a4b-9e0a-0c7bfb3b3f0e" },
            { "action": "upgrade-format-version", "format-version": version },
            { "action": "add-schema", "schema": schema(), "last-column-id": 9 },
            { "action": "set-current-schema", "schema-id": -1 },
            { "action": "add-spec", "spec": { "spec-id": 0, "fields": fields } },
            { "action": "set-default-spec", "spec-id": -1 },
            { "action": "add-sort-order", "sort-order": { "order-id": 1, "fields": sort } },
            { "action": "set-default-sort-order", "sort-order-id": -1 },
            { "action": "set-location", "location": location },
            { "action": "set-properties", "updates": { "k": "v" } },
            first,
            main_at(1),
        ]);
        let request = commit(json!([{ "type": "assert-create" }]), updates);
        let made = &said(server.commit("n", &name, &request).await)["metadata"];
        assert_eq!((&made["format-version"], &made["last-column-id"], &made["default-spec-id"]), (&json!(version), &json!(9), &json!(0)));
        assert_eq!((&made["partition-specs"][0]["fields"], &made["default-sort-order-id"]), (&fields, &json!(1)));
        assert_eq!((&made["schemas"].as_array().unwrap().len(), &made["current-snapshot-id"]), (&1, &json!(1)));
        assert_eq!(made["table-uuid"], "7c2bb5d1-5a39-4a4b-9e0a-0c7bfb3b3f0e");
        assert_eq!(failed(server.commit("n", &name, &request).await), (409, "AlreadyExistsException"));
    }
}

#[tokio::test]
async fn namespaces_have_levels_and_properties() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, Access::default());
    for levels in [json!(["a"]), json!(["a", "b"]), json!(["c"])] {
        server.create_namespace(&body(json!({ "namespace": levels }))).await.unwrap();
    }
    assert_eq!(said(server.list_namespaces(None, &Page::default()).await), json!({ "namespaces": [["a"], ["c"]], "x-nunatak-parents": [["a"]] }));
    assert_eq!(said(server.list_namespaces(Some("a"), &Page::default()).await), json!({ "namespaces": [["a", "b"]], "x-nunatak-parents": [] }));
    let page = Page::parse(Some(""), Some("1")).unwrap();
    assert_eq!(
        said(server.list_namespaces(None, &page).await),
        json!({ "next-page-token": "a", "namespaces": [["a"]], "x-nunatak-parents": [["a"]] })
    );
    assert_eq!(failed(server.list_namespaces(Some("x"), &page).await), (404, "NoSuchNamespaceException"));
    let change = |removals: Value, updates: Value| body(json!({ "removals": removals, "updates": updates }));
    let changed = said(server.change_namespace("a", &change(json!(["x"]), json!({ "k": "v" }))).await);
    assert_eq!(changed, json!({ "updated": ["k"], "removed": [], "missing": ["x"] }));
    let properties = said(server.load_namespace("a").await)["properties"].clone();
    assert_eq!(properties["k"], "v");
    assert!(properties["location"].as_str().unwrap().ends_with("/a"), "{properties}");
    assert_eq!(failed(server.change_namespace("a", &change(json!(["k"]), json!({ "k": "w" }))).await), (422, "UnprocessableEntityException"));
    assert_eq!(said(server.change_namespace("a", &change(json!(["k"]), json!({}))).await)["removed"], json!(["k"]));
    assert_eq!(failed(server.drop_namespace("a").await), (409, "NamespaceNotEmptyException"));
    assert_eq!(failed(server.create_namespace(&body(json!({ "namespace": ["c"] }))).await), (409, "AlreadyExistsException"));
    assert_eq!(failed(server.create_namespace(&body(json!({ "namespace": ["c.d"] }))).await), (400, "BadRequestException"));
    server.drop_namespace("a\u{1f}b").await.unwrap();
    assert_eq!(failed(server.namespace_exists("a\u{1f}b").await), (404, "NoSuchNamespaceException"));
}

#[tokio::test]
async fn clients_may_do_what_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let open = server(&folder, Access { vended: BTreeMap::from([("s3.access-key-id".to_owned(), "id".to_owned())]), ..Access::default() });
    with_table(&open).await;
    let asked = Load { credentials: true, ..Load::default() };
    let given = said(open.load_table("n", "t", &asked).await);
    assert_eq!(given["config"]["s3.access-key-id"], "id");
    assert_eq!(given["storage-credentials"][0]["prefix"], given["metadata"]["location"]);
    assert_eq!(said(open.load_table("n", "t", &Load::default()).await)["config"], json!({}));
    let closed = server(&folder, Access { read_only: true, ..Access::default() });
    assert_eq!(said(closed.load_table("n", "t", &asked).await)["config"], json!({}));
    for refused in [
        closed.commit("n", "t", &commit(json!([]), json!([]))).await,
        closed.drop_table("n", "t", true).await,
        closed.create_namespace(&body(json!({ "namespace": ["m"] }))).await,
        closed.drop_namespace("n").await,
    ] {
        assert_eq!(failed(refused), (403, "ForbiddenException"));
    }
    assert_eq!(failed(open.drop_table("n", "t", false).await), (406, "UnsupportedOperationException"));
    open.drop_table("n", "t", true).await.unwrap();
    assert_eq!(failed(open.table_exists("n", "t").await), (404, "NoSuchTableException"));
}

#[tokio::test]
async fn folders_do_not_change_together() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder, Access::default());
    assert_eq!(failed(server.commit_all(&body(json!({ "table-changes": [] }))).await), (406, "UnsupportedOperationException"));
    assert!(!server.has_transactions());
}

#[tokio::test]
async fn requests_are_signed_for_tables_below_the_warehouse() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let signing =
        Signing { root: crate::storage::Location::parse(&root).unwrap(), properties: BTreeMap::from([("s3.region".to_owned(), "x".to_owned())]) };
    let server = server(&folder, Access { signing: Some(signing), ..Access::default() });
    with_table(&server).await;
    let config = said(server.load_table("n", "t", &Load { signing: true, ..Load::default() }).await)["config"].clone();
    assert_eq!((&config["s3.signer.endpoint"], &config["s3.region"]), (&json!("v1/f/namespaces/n/tables/t/sign"), &json!("x")));
    assert_eq!(said(server.load_table("n", "t", &Load::default()).await)["config"], json!({}));
    let request = body(json!({ "region": "x", "method": "GET", "uri": "http://127.0.0.1:9/b/n/t/x", "headers": {} }));
    // It may be signed, but is for no bucket.
    assert_eq!(failed(server.sign("n", "t", None, &request).await), (406, "UnsupportedOperationException"));
    assert_eq!(failed(server.sign("n", "u", None, &request).await), (404, "NoSuchTableException"));
    for place in ["/elsewhere/u", root.as_str()] {
        assert_eq!(failed(server.sign("n", "u", Some(place), &request).await), (403, "ForbiddenException"), "{place}");
    }
    assert_eq!(failed(server.sign("n", "t", None, b"{").await), (400, "BadRequestException"));
}
