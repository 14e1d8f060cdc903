//! The values of the keys in a folder of the cluster, as this process has seen them last, and how they are changed: each change says which value it found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Compare, CompareOp, Event, EventType, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use nunatak_core::config::Etcd;
use nunatak_core::{Code, Error, Result};
use serde::Serialize;
use tokio::sync::watch;
use tracing::warn;

use super::follow::{self, Follower};
use super::patience;
use super::servers::{Servers, is_lease_lost};
use super::{LEADER, MEMBERS};

/// How long a change that was made here may take to be seen here. It is made in any case.
const SEEN_WAIT: Duration = Duration::from_secs(1);

/// The most bytes of a value: etcd takes 1.5 MiB, and many of them are listed at once.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What is made of a key.
pub(super) trait Value: Clone + fmt::Debug + Send + Sync + 'static {
    /// Reads it. `pair` has the value and its revisions.
    fn read(pair: &KeyValue) -> serde_json::Result<Self>;
}

/// Values by the names of their keys within the folder.
pub(super) type Values<V> = BTreeMap<String, V>;

/// The folder.
#[derive(Debug)]
pub(super) struct Mirror<V> {
    what: &'static str,
    prefix: String,
    servers: Servers,
    values: watch::Sender<Arc<Values<V>>>,
    /// The revision of the last change that was seen.
    seen: watch::Sender<i64>,
    /// Whether changes are seen as they come.
    is_live: AtomicBool,
    /// The key of the leader.
    leader: String,
}

/// What became of a change.
enum Outcome {
    /// It was made, in that revision.
    Made(i64),
    /// The key was not as expected.
    Refused,
    /// Another coordinator leads than the one whose term it is, or none.
    NotLeading,
}

impl<V: Value> Mirror<V> {
    /// Reads the folder, and follows it from then on. `what` lies in it, and is its name.
    pub(super) async fn start(etcd: &Etcd, what: &'static str) -> Result<Arc<Self>> {
        let mirror = Arc::new(Self {
            what,
            prefix: super::prefix(etcd, &format!("{what}/")),
            servers: Servers::new(etcd)?,
            values: watch::Sender::default(),
            seen: watch::Sender::default(),
            is_live: AtomicBool::new(true),
            leader: super::prefix(etcd, MEMBERS) + LEADER,
        });
        let follower = mirror.as_ref();
        let revision = patience::until_answered(etcd, || follow::list(follower)).await?;
        tokio::spawn(follow::follow(Arc::downgrade(&mirror), revision));
        Ok(mirror)
    }

    /// All values, now and after each change.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Values<V>>> {
        self.values.subscribe()
    }

    /// A value as it was seen last.
    pub(super) fn known(&self, name: &str) -> Option<V> {
        self.values.borrow().get(name).cloned()
    }

    /// How many values there are.
    pub(super) fn count(&self) -> usize {
        self.values.borrow().len()
    }

    /// Whether changes are seen as they come: etcd can be reached.
    pub(super) fn is_live(&self) -> bool {
        self.is_live.load(Ordering::Relaxed)
    }

    /// A value as it is now, which etcd is asked for.
    pub(super) async fn get(&self, name: &str) -> Result<Option<V>> {
        Ok(self.read(name).await?.and_then(|pair| self.value(&pair)))
    }

    /// The pair of a key as it is now, if it is there.
    async fn read(&self, name: &str) -> Result<Option<KeyValue>> {
        let key = self.key_of(name);
        let what = format!("read one of the {}", self.what);
        let mut found = self
            .servers
            .call(&what, |mut client| {
                let key = key.clone();
                async move { client.get(key, None).await }
            })
            .await?;
        Ok(found.take_kvs().into_iter().next())
    }

    /// Asks etcd for something that only a server with a majority behind it can tell.
    pub(super) async fn probe(&self) -> Result<()> {
        let key = self.prefix.as_str();
        self.servers.call("ask whether it is there", |mut client| async move { client.get(key, None).await }).await.map(drop)
    }

    /// Removes a value that is there and cannot be read, so that nobody here has seen it. Gives whether there was one.
    pub(super) async fn delete_unreadable(&self, name: &str) -> Result<bool> {
        match self.read(name).await? {
            Some(pair) if V::read(&pair).is_err() => self.delete(name, pair.mod_revision()).await,
            _ => Ok(false),
        }
    }

    /// Writes a value if the last change of its key was in the `expected` revision; `None` stands for no such key. Gives whether it was so, and is.
    pub(super) async fn put(&self, name: &str, value: &(impl Serialize + Sync), expected: Option<i64>, lease: Option<i64>) -> Result<bool> {
        let options = lease.map(|lease| PutOptions::new().with_lease(lease));
        self.write(name, value, expected, options, None).await
    }

    /// The same without a lease, by the coordinator that leads in that term.
    ///
    /// Errors: `CLUSTER_STATE_UNAVAILABLE` if it does not any more, whatever it believes.
    pub(super) async fn put_as_leader(&self, name: &str, value: &(impl Serialize + Sync), expected: Option<i64>, term: u64) -> Result<bool> {
        self.write(name, value, expected, None, Some(term)).await
    }

    async fn write(
        &self,
        name: &str,
        value: &(impl Serialize + Sync),
        expected: Option<i64>,
        options: Option<PutOptions>,
        term: Option<u64>,
    ) -> Result<bool> {
        let value = serde_json::to_vec(value).map_err(|error| Error::internal("a value cannot be written as JSON").with_source(error))?;
        if value.len() > VALUE_BYTES_MAX {
            let message = format!("'{name}' has {} bytes, and each of the {} may have {VALUE_BYTES_MAX}", value.len(), self.what);
            return Err(Error::new(Code::GenericInsufficientResources, message));
        }
        let put = TxnOp::put(self.key_of(name), value.clone(), options);
        self.change(name, expected, put, Some(&value), term).await
    }

    /// Removes a key that was changed last in the `expected` revision. Gives whether it was so.
    pub(super) async fn delete(&self, name: &str, expected: i64) -> Result<bool> {
        self.change(name, Some(expected), TxnOp::delete(self.key_of(name), None), None, None).await
    }

    /// Makes a change after which the key has the `wanted` value, and waits until it is seen here. One with a `term` is made only within that.
    async fn change(&self, name: &str, expected: Option<i64>, change: TxnOp, wanted: Option<&[u8]>, term: Option<u64>) -> Result<bool> {
        let key = self.key_of(name);
        let condition = match expected {
            Some(revision) => Compare::mod_revision(key.clone(), CompareOp::Equal, revision),
            None => Compare::create_revision(key.clone(), CompareOp::Equal, 0),
        };
        let term = term.map(|term| i64::try_from(term).unwrap_or(i64::MAX));
        let leads = term.map(|term| Compare::create_revision(self.leader.clone(), CompareOp::Equal, term));
        let conditions: Vec<Compare> = [condition].into_iter().chain(leads).collect();
        let look = [TxnOp::get(key, None), TxnOp::get(self.leader.clone(), None)];
        let look: Vec<TxnOp> = look.into_iter().take(conditions.len()).collect();
        let change = Txn::new().when(conditions).and_then([change]).or_else(look);
        let attempts = AtomicUsize::new(0);
        let what = format!("change one of the {}", self.what);
        let made = self
            .servers
            .call(&what, |mut client| {
                let change = change.clone();
                let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
                async move {
                    let answer = match client.txn(change).await {
                        Ok(answer) => answer,
                        // The key would be gone at once.
                        Err(error) if is_lease_lost(&error) => return Ok(Outcome::Refused),
                        Err(error) => return Err(error),
                    };
                    let revision = answer.header().map_or(0, |header| header.revision());
                    if answer.succeeded() {
                        return Ok(Outcome::Made(revision));
                    }
                    let mut found = answer.op_responses().into_iter().map(pair_of);
                    let (pair, leader) = (found.next().flatten(), found.next().flatten());
                    // That an attempt has not been answered does not tell that it has failed.
                    Ok(if !is_first && pair.as_ref().map(KeyValue::value) == wanted {
                        Outcome::Made(revision)
                    } else if term.is_some() && term != leader.map(|leader| leader.create_revision()) {
                        Outcome::NotLeading
                    } else {
                        Outcome::Refused
                    })
                }
            })
            .await?;
        let revision = match made {
            Outcome::Made(revision) => revision,
            Outcome::Refused => return Ok(false),
            Outcome::NotLeading => {
                return Err(Error::new(Code::ClusterStateUnavailable, format!("another coordinator leads, and writes the {} now", self.what)));
            }
        };
        let mut seen = self.seen.subscribe();
        let is_seen = async move { seen.wait_for(|seen| *seen >= revision).await.is_ok() };
        // Whoever is told that it is made finds it made. Where the watch has ended this takes longer, and changes nothing.
        let _ = tokio::time::timeout(SEEN_WAIT, is_seen).await;
        Ok(true)
    }

    fn key_of(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn name<'a>(&self, pair: &'a KeyValue) -> Option<&'a str> {
        pair.key_str().ok()?.strip_prefix(&self.prefix)
    }

    fn value(&self, pair: &KeyValue) -> Option<V> {
        V::read(pair).map_err(|error| warn!(key = pair.key_str().unwrap_or_default(), %error, "a value of the cluster's state cannot be read")).ok()
    }
}

/// The key that was read, if it is there.
fn pair_of(answer: TxnOpResponse) -> Option<KeyValue> {
    match answer {
        TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next(),
        _ => None,
    }
}

impl<V: Value> Follower for Mirror<V> {
    fn what(&self) -> &str {
        self.what
    }

    fn servers(&self) -> &Servers {
        &self.servers
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn listed(&self, pairs: &[KeyValue], revision: i64) {
        let values = pairs.iter().filter_map(|pair| Some((self.name(pair)?.to_owned(), self.value(pair)?)));
        self.values.send_replace(Arc::new(values.collect()));
        self.seen.send_replace(revision);
    }

    fn changed(&self, events: &[Event]) {
        let Some(revision) = events.iter().filter_map(Event::kv).map(KeyValue::mod_revision).max() else { return };
        self.values.send_modify(|values| {
            let values = Arc::make_mut(values);
            for event in events {
                let Some((pair, name)) = event.kv().and_then(|pair| Some((pair, self.name(pair)?))) else { continue };
                let value = match event.event_type() {
                    EventType::Put => self.value(pair),
                    EventType::Delete => None,
                };
                match value {
                    Some(value) => drop(values.insert(name.to_owned(), value)),
                    None => drop(values.remove(name)),
                }
            }
        });
        self.seen.send_replace(revision);
    }

    fn resumed(&self) {
        self.is_live.store(true, Ordering::Relaxed);
    }

    fn lost(&self) {
        self.is_live.store(false, Ordering::Relaxed);
    }
}
