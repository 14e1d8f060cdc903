//! What any cluster state does: one suite each for members, catalogs and sessions, run over what a process keeps by itself and over a real etcd.

mod catalogs;
mod etcd;
mod journal;
mod server;
mod sessions;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{ClusterState, CoordinatorMember, EmbeddedState, ExecutorMember, Member, Membership};

/// The leases of these tests. Etcd grants none that are shorter.
const LEASE: Duration = Duration::from_secs(2);
/// How often a member is announced.
const INTERVAL: Duration = Duration::from_millis(250);
/// What is to happen happens within that time.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn executor(id: &str, port: u16) -> ExecutorMember {
    ExecutorMember { id: id.to_owned(), host: "127.0.0.1".to_owned(), port, slots: 2, memory_bytes: 3, draining: false }
}

pub(super) fn coordinator(id: &str) -> Member {
    let at = |port: u16| format!("127.0.0.1:{port}");
    Member::Coordinator(CoordinatorMember { id: id.to_owned(), host: "127.0.0.1".to_owned(), port: 7, flight: at(8), http: at(9) })
}

/// A process that announces itself until it is dropped, as if it was killed then.
pub(super) struct Announced(JoinHandle<()>);

impl Announced {
    pub(super) fn start(state: &Arc<dyn ClusterState>, member: Member) -> Self {
        let state = Arc::clone(state);
        Self(tokio::spawn(async move {
            loop {
                // While etcd is away it fails, and tries again.
                let _ = state.announce(member.clone()).await;
                tokio::time::sleep(INTERVAL).await;
            }
        }))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until the members are as they should be.
pub(super) async fn until(members: &mut watch::Receiver<Membership>, what: &str, is_so: impl Fn(&Membership) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, members.wait_for(|members| is_so(members))).await.map(|found| found.is_ok());
    assert_eq!(waited, Ok(true), "{what}: {:?}", members.borrow());
}

pub(super) fn ids(members: &Membership) -> Vec<&str> {
    members.executors.iter().map(|joined| joined.executor.id.as_str()).collect()
}

fn number(members: &watch::Receiver<Membership>, id: &str) -> Option<u64> {
    members.borrow().executors.iter().find(|joined| joined.executor.id == id).map(|joined| joined.number)
}

/// The suite. `connect` gives each process its state.
async fn behaves<F, W>(connect: F)
where
    F: Fn() -> W,
    W: Future<Output = Arc<dyn ClusterState>>,
{
    let watcher = connect().await;
    let mut members = watcher.membership();
    let (first, second) = (connect().await, connect().await);
    let a = Announced::start(&first, Member::Executor(executor("a", 1)));
    let b = Announced::start(&second, Member::Executor(executor("b", 2)));
    until(&mut members, "executors join", |members| ids(members) == ["a", "b"]).await;
    let (departures, joined) = (members.borrow().departures, number(&members, "b"));
    members.mark_unchanged();
    tokio::time::sleep(LEASE * 2).await;
    assert!(!members.has_changed().unwrap(), "renewals are no changes, and keep members");

    watcher.remove("b").await.unwrap();
    until(&mut members, "who was taken out by mistake comes back", |members| members.departures > departures && ids(members) == ["a", "b"]).await;
    assert!(number(&members, "b") > joined, "but has joined anew");

    drop(b);
    until(&mut members, "a lease that is not renewed ends", |members| ids(members) == ["a"]).await;
    let b = Announced::start(&second, Member::Executor(ExecutorMember { draining: true, ..executor("b", 2) }));
    until(&mut members, "and begins anew", |members| members.executors.iter().any(|joined| joined.executor.id == "b" && joined.executor.draining))
        .await;
    drop(b);

    let third = connect().await;
    let _c = Announced::start(&third, Member::Executor(executor("c", 2)));
    until(&mut members, "a process takes the place of the one before it", |members| ids(members) == ["a", "c"]).await;
    drop(a);
    tokio::time::sleep(INTERVAL).await;
    first.leave("a").await.unwrap();
    let left = tokio::time::timeout(LEASE / 2, members.wait_for(|members| ids(members) == ["c"])).await.is_ok();
    assert!(left, "who leaves is gone at once");

    leads(&connect, &mut members).await;
}

/// The part of the suite about leaders.
async fn leads<F, W>(connect: &F, members: &mut watch::Receiver<Membership>)
where
    F: Fn() -> W,
    W: Future<Output = Arc<dyn ClusterState>>,
{
    let (first, second) = (connect().await, connect().await);
    assert_eq!(first.leadership("x"), None);
    let x = Announced::start(&first, coordinator("x"));
    until(members, "the only coordinator leads", |members| members.leader.as_deref() == Some("x")).await;
    let _y = Announced::start(&second, coordinator("y"));
    until(members, "coordinators join", |members| members.coordinators.len() == 2).await;
    let term = first.leadership("x");
    assert!(term.is_some() && second.leadership("y").is_none());
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(first.leadership("x"), term, "it goes on to lead");

    drop(x);
    let mut both = false;
    let took_over = tokio::time::timeout(PATIENCE, async {
        while second.leadership("y").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        both = first.leadership("x").is_some();
    });
    assert!(took_over.await.is_ok(), "another one leads when the leader is gone");
    assert!(!both, "there is one leader at a time");
    assert!(second.leadership("y") > term, "terms grow");
    until(members, "all see it", |members| members.leader.as_deref() == Some("y") && members.coordinators.len() == 1).await;
    second.leave("y").await.unwrap();
}

#[tokio::test]
async fn in_memory() {
    let state: Arc<dyn ClusterState> = EmbeddedState::start(LEASE).unwrap();
    behaves(|| std::future::ready(Arc::clone(&state))).await;
}
