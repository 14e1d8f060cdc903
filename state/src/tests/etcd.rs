//! The suite over a real etcd, and what only etcd does.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use nunatak_core::Code;
use nunatak_core::config::Etcd;

use super::server::{EtcdServer, once_up};
use super::{Announced, LEASE, PATIENCE, behaves, coordinator, executor, ids, until};
use crate::etcd::follow;
use crate::{ClusterState, EtcdState, Member};

async fn connect(etcd: &Etcd) -> Arc<EtcdState> {
    once_up(|| EtcdState::with_lease(etcd, LEASE)).await
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
    let Some(server) = server else { return };
    let config = server.config("/one");
    behaves(|| async { connect(&config).await as Arc<dyn ClusterState> }).await;
}

#[tokio::test]
async fn clusters_with_other_prefixes_are_others() {
    let Some(server) = EtcdServer::start() else { return };
    let (one, other) = (connect(&server.config("/one")).await, connect(&server.config("/oneother")).await);
    let one: Arc<dyn ClusterState> = one;
    let _a = Announced::start(&one, Member::Executor(executor("a", 1)));
    until(&mut one.membership(), "it joins", |members| ids(members) == ["a"]).await;
    assert!(other.membership().borrow().executors.is_empty());
}

#[tokio::test]
async fn members_stay_while_etcd_is_away_and_the_leader_pauses() {
    let Some(mut server) = EtcdServer::start() else { return };
    let config = server.config("/one");
    let (first, second): (Arc<dyn ClusterState>, Arc<dyn ClusterState>) = (connect(&config).await, connect(&config).await);
    let mut members = second.membership();
    let _a = Announced::start(&first, Member::Executor(executor("a", 1)));
    let _x = Announced::start(&second, coordinator("x"));
    until(&mut members, "they join", |members| ids(members) == ["a"] && members.leader.is_some()).await;
    let (before, term) = (members.borrow().clone(), second.leadership("x"));

    server.kill();
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(*members.borrow(), before, "nobody is gone because etcd is away");
    assert_eq!(second.leadership("x"), None, "but nobody can be sure to lead");
    second.remove("a").await.unwrap();
    assert!(members.borrow().executors.is_empty(), "who is seen to be gone is gone");

    server.restart();
    until(&mut members, "the executor is there after all", |members| ids(members) == ["a"]).await;
    let leads = async {
        while second.leadership("x").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, leads).await.is_ok(), "the leader goes on");
    assert!(second.leadership("x") >= term);
}

#[tokio::test]
async fn a_watch_that_was_compacted_lists_again() {
    let Some(server) = EtcdServer::start() else { return };
    let config = server.config("/one");
    let state = connect(&config).await;
    let mut client = Client::connect([&config.endpoints[0]], None).await.unwrap();
    let mut last = 0;
    for port in 1..=5 {
        let value = serde_json::to_vec(&executor("a", port)).unwrap();
        last = client.put("/one/members/executors/a", value, None).await.unwrap().header().unwrap().revision();
    }
    client.compact(last, None).await.unwrap();

    let mut revision = 1;
    let changes = follow::watch(&*state, &mut revision).await.unwrap();
    assert_eq!(revision, 1);
    follow::read(&Arc::downgrade(&state), changes, &mut revision).await;
    assert_eq!(revision, last, "it has listed what is there");
    assert_eq!(state.membership().borrow().executors[0].executor.port, 5);

    // A cluster that has lost its data counts anew.
    let mut revision = last + 1000;
    drop(follow::watch(&*state, &mut revision).await.unwrap());
    assert_eq!(revision, last);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let Some(server) = EtcdServer::start() else { return };
    let mut config = server.config("/one");
    drop(connect(&config).await);
    let there = config.endpoints[0].clone();
    config.endpoints = vec!["http://127.0.0.1:1".to_owned(), there];
    drop(connect(&config).await);

    config.endpoints.truncate(1);
    let error = EtcdState::start(&config).await.err().unwrap();
    assert_eq!(error.code(), Code::ClusterStateUnavailable);
    assert!(error.message().contains("http://127.0.0.1:1 (") && error.message().contains("refused"), "{error}");
    let config = Etcd { user: Some("engine".to_owned()), password: Some("wrong".to_owned()), ..server.config("/one") };
    let error = EtcdState::start(&config).await.err().unwrap();
    assert_eq!(error.code(), Code::ConfigurationInvalid, "{error}");
    assert!(error.message().contains("refuses user 'engine'"), "{error}");
}
