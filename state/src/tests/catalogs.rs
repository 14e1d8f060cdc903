//! What any store of catalogs does, over a file and over a real etcd.

use std::sync::Arc;

use etcd_client::Client;
use nunatak_core::Code;

use super::PATIENCE;
use super::server::{EtcdServer, once_up};
use crate::{CatalogDefinition, CatalogFile, CatalogStore, EtcdCatalogs};

fn definition(kind: &str) -> CatalogDefinition {
    let properties = [("type", kind), ("s3.secret-access-key", "${ENV:KEY}")];
    CatalogDefinition { comment: Some("a\u{e9}".to_owned()), properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into() }
}

/// The version that is kept under a name.
fn version(store: &dyn CatalogStore, name: &str) -> Option<u64> {
    store.watch().borrow().get(name).map(|stored| stored.version)
}

/// The suite.
async fn behaves(store: &dyn CatalogStore) {
    let mut watch = store.watch();
    assert!(watch.borrow_and_update().is_empty());
    for name in ["a", "with/slash \u{e9}", ""] {
        assert!(store.put(name, definition("rest"), None).await.unwrap());
        assert!(watch.has_changed().unwrap() && watch.borrow_and_update()[name].definition == definition("rest"), "who made it sees it at once");
    }
    assert!(!store.put("a", definition("sql"), None).await.unwrap(), "the name is taken");
    let first = version(store, "a").unwrap();
    assert!(!store.put("a", definition("sql"), Some(first + 1_000)).await.unwrap());
    assert!(store.put("a", definition("sql"), Some(first)).await.unwrap());
    let second = version(store, "a").unwrap();
    assert!(second > first && !store.delete("a", first).await.unwrap() && !store.delete("b", second).await.unwrap());
    assert!(store.delete("a", second).await.unwrap() && version(store, "a").is_none());
    assert!(store.put("a", definition("rest"), None).await.unwrap());
    assert!(version(store, "a") > Some(second), "its name is free, its versions are not");

    let (one, two, three) = tokio::join!(
        store.put("race", definition("rest"), None),
        store.put("race", definition("sql"), None),
        store.put("race", definition("hadoop"), None)
    );
    assert_eq!([one, two, three].into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogs.json");
    let store = CatalogFile::open(path.clone()).unwrap();
    behaves(&store).await;
    assert_eq!(*CatalogFile::open(path).unwrap().watch().borrow(), *store.watch().borrow());
}

#[tokio::test]
async fn in_etcd() {
    in_etcd_of(EtcdServer::start()).await;
}

#[tokio::test]
async fn in_the_newest_etcd() {
    in_etcd_of(EtcdServer::start_newest()).await;
}

async fn in_etcd_of(server: Option<EtcdServer>) {
    let Some(mut server) = server else { return };
    let config = server.config("/one");
    let store = once_up(|| EtcdCatalogs::start(&config)).await;
    let other = once_up(|| EtcdCatalogs::start(&config)).await;
    behaves(&store).await;
    let wanted = Arc::clone(&store.watch().borrow());
    let mut seen = other.watch();
    let see = seen.wait_for(|seen| *seen == wanted);
    assert!(tokio::time::timeout(PATIENCE, see).await.is_ok_and(|seen| seen.is_ok()), "others see it");
    // More than are listed at a time.
    for number in 0..120 {
        assert!(other.put(&format!("many{number}"), definition("hadoop"), None).await.unwrap());
    }
    let third = once_up(|| EtcdCatalogs::start(&config)).await;
    assert_eq!(*third.watch().borrow(), *other.watch().borrow(), "all pages are listed");
    let long = CatalogDefinition { comment: Some("x".repeat(100_000)), ..definition("rest") };
    assert_eq!(store.put("long", long, None).await.unwrap_err().code(), Code::GenericInsufficientResources);

    server.kill();
    assert_eq!(store.put("b", definition("rest"), None).await.unwrap_err().code(), Code::ClusterStateUnavailable);
    assert!(store.watch().borrow().contains_key("a"), "what is known goes on");
    server.restart();
    assert!(once_up(|| store.put("b", definition("rest"), None)).await);
    // What is compacted before the watch goes on is listed.
    let mut client = Client::connect([&config.endpoints[0]], None).await.unwrap();
    let value = serde_json::to_vec(&definition("hive")).unwrap();
    let last = client.put("/one/catalogs/theirs", value, None).await.unwrap().header().unwrap().revision();
    client.compact(last, None).await.unwrap();
    for store in [&store, &other] {
        let mut seen = store.watch();
        let see = seen.wait_for(|seen| seen.contains_key("b") && seen.contains_key("theirs"));
        assert!(tokio::time::timeout(PATIENCE, see).await.is_ok_and(|seen| seen.is_ok()), "and changes are seen again");
    }
}
