//! What any store of sessions does, over the memory of a process and over a real etcd.

use std::sync::Arc;
use std::time::Duration;

use nunatak_core::Code;
use uuid::Uuid;

use super::LEASE;
use super::server::{EtcdServer, once_up};
use crate::{EmbeddedSessions, EtcdSessions, SessionStore, StoredSession};

fn used(session: &mut StoredSession) {
    session.schema = Some("nyc".to_owned());
}

fn set(session: &mut StoredSession) {
    session.properties.insert("execution_mode".to_owned(), "local".to_owned());
}

/// The suite. Both are stores of the same cluster, whose sessions may be idle for [`LEASE`].
async fn behaves(one: Arc<dyn SessionStore>, other: Arc<dyn SessionStore>) {
    let (id, ada) = (Uuid::now_v7(), StoredSession::new("ada"));
    assert_eq!(one.get(id).await.unwrap(), None);
    assert!(!one.change(id, None, &used).await.unwrap(), "what is not there is not changed");
    one.open(id, ada.clone()).await.unwrap();
    assert_eq!(other.get(id).await.unwrap(), Some(ada.clone()));
    for (changed, seen) in [(&one, &other), (&other, &one)] {
        let catalog = Uuid::new_v4().to_string();
        let change = |session: &mut StoredSession| session.catalog = Some(catalog.clone());
        assert!(changed.change(id, None, &change).await.unwrap());
        assert_eq!(seen.get(id).await.unwrap().unwrap().catalog.as_ref(), Some(&catalog), "a change is seen by the very next call");
    }
    let (first, second) = tokio::join!(one.change(id, None, &used), other.change(id, None, &set));
    assert!(first.unwrap() && second.unwrap());
    let both = other.get(id).await.unwrap().unwrap();
    assert!(both.schema.is_some() && both.properties.len() == 1, "none of two changes is lost: {both:?}");

    let fresh = Uuid::now_v7();
    let (first, second) = tokio::join!(one.change(fresh, Some(ada.clone()), &used), other.change(fresh, Some(ada.clone()), &set));
    assert!(first.unwrap() && second.unwrap());
    let both = one.get(fresh).await.unwrap().unwrap();
    assert!(both.schema.is_some() && both.properties.len() == 1 && both.user == "ada", "{both:?}");
    let long = |session: &mut StoredSession| session.schema = Some("x".repeat(100_000));
    assert_eq!(one.change(fresh, None, &long).await.unwrap_err().code(), Code::GenericInsufficientResources);

    other.remove(fresh).await.unwrap();
    other.remove(fresh).await.unwrap();
    assert_eq!(one.get(fresh).await.unwrap(), None);
    assert!(!one.change(fresh, None, &used).await.unwrap());

    // Uses keep it, whoever is asked.
    for turn in 0..8 {
        tokio::time::sleep(LEASE / 3).await;
        let store = if turn % 2 == 0 { &one } else { &other };
        assert!(store.get(id).await.unwrap().is_some(), "turn {turn}");
    }
    tokio::time::sleep(LEASE * 3).await;
    assert_eq!(one.get(id).await.unwrap(), None, "one that is idle is forgotten");

    assert_eq!(one.handle_key(), other.handle_key(), "what one has signed the other one knows");
    let ticket = Uuid::now_v7();
    let (first, second) = tokio::join!(one.claim(ticket), other.claim(ticket));
    assert!(first.unwrap() ^ second.unwrap(), "one of them has it");
    assert!(!one.claim(ticket).await.unwrap() && other.claim(Uuid::now_v7()).await.unwrap());
}

#[tokio::test]
async fn in_memory() {
    let store = Arc::new(EmbeddedSessions::new(LEASE));
    behaves(Arc::clone(&store) as _, store).await;
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
    let elsewhere = server.config("/other");
    drop(once_up(|| EtcdSessions::start(&elsewhere, LEASE)).await);
    let (one, other) = tokio::join!(EtcdSessions::start(&config, LEASE), EtcdSessions::start(&config, LEASE));
    let (one, other) = (Arc::new(one.unwrap()), Arc::new(other.unwrap()));
    behaves(Arc::clone(&one) as _, Arc::clone(&other) as _).await;

    // While etcd is away, what was known holds and nothing changes.
    let (known, begun) = (Uuid::now_v7(), Uuid::now_v7());
    let long = Arc::new(once_up(|| EtcdSessions::start(&config, Duration::from_secs(60))).await);
    long.open(known, StoredSession::new("ada")).await.unwrap();
    assert!(long.can_claim().await);
    server.kill();
    assert_eq!(long.change(known, None, &used).await.unwrap_err().code(), Code::ClusterStateUnavailable);
    assert_eq!(long.get(known).await.unwrap(), Some(StoredSession::new("ada")));
    assert_eq!(long.claim(Uuid::now_v7()).await.unwrap_err().code(), Code::ClusterStateUnavailable);
    assert!(!long.can_claim().await);
    // Sessions that begin meanwhile are one process's own, and stay so.
    long.open(begun, StoredSession::new("bob")).await.unwrap();
    assert!(long.change(begun, None, &used).await.unwrap());
    assert_eq!(other.get(begun).await.unwrap(), None);
    server.restart();
    assert!(once_up(|| long.change(known, None, &used)).await);
    assert_eq!(long.get(known).await.unwrap().and_then(|session| session.schema).as_deref(), Some("nyc"));
    assert_eq!(long.get(begun).await.unwrap().map(|session| session.user).as_deref(), Some("bob"));
}
