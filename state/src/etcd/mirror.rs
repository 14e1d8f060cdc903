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
use super::servers::{Servers, is_lease_lost};

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
        });
        let revision = follow::list(&*mirror).await?;
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
        let key = self.key_of(name);
        let what = format!("read one of the {}", self.what);
        let mut found = self
            .servers
            .call(&what, |mut client| {
                let key = key.clone();
                async move { client.get(key, None).await }
            })
            .await?;
        let pair = found.take_kvs().into_iter().next();
        Ok(pair.and_then(|pair| self.value(&pair)))
    }

    /// Writes a value if the last change of its key was in the `expected` revision; `None` stands for no such key. Gives whether it was so, and is.
    pub(super) async fn put(&self, name: &str, value: &(impl Serialize + Sync), expected: Option<i64>, lease: Option<i64>) -> Result<bool> {
        let value = serde_json::to_vec(value).map_err(|error| Error::internal("a value cannot be written as JSON").with_source(error))?;
        if value.len() > VALUE_BYTES_MAX {
            let message = format!("'{name}' has {} bytes, and each of the {} may have {VALUE_BYTES_MAX}", value.len(), self.what);
            return Err(Error::new(Code::GenericInsufficientResources, message));
        }
        let options = lease.map(|lease| PutOptions::new().with_lease(lease));
        let put = TxnOp::put(self.key_of(name), value.clone(), options);
        self.change(name, expected, put, Some(&value)).await
    }

    /// Removes a key that was changed last in the `expected` revision. Gives whether it was so.
    pub(super) async fn delete(&self, name: &str, expected: i64) -> Result<bool> {
        self.change(name, Some(expected), TxnOp::delete(self.key_of(name), None), None).await
    }

    /// Makes a change after which the key has the `wanted` value, and waits until it is seen here.
    async fn change(&self, name: &str, expected: Option<i64>, change: TxnOp, wanted: Option<&[u8]>) -> Result<bool> {
        let key = self.key_of(name);
        let condition = match expected {
            Some(revision) => Compare::mod_revision(key.clone(), CompareOp::Equal, revision),
            None => Compare::create_revision(key.clone(), CompareOp::Equal, 0),
        };
        let change = Txn::new().when([condition]).and_then([change]).or_else([TxnOp::get(key, None)]);
        let attempts = AtomicUsize::new(0);
        let what = format!("change one of the {}", self.what);
        let made = self
            .servers
            .call(&what, |mut client| {
                let change = change.clone();
                let is_first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
                async move {
                    match client.txn(change).await {
                        // That an attempt has not been answered does not tell that it has failed.
                        Ok(answer) if answer.succeeded() || !is_first && is_so(answer.op_responses(), wanted) => {
                            Ok(Some(answer.header().map_or(0, |header| header.revision())))
                        }
                        Ok(_) => Ok(None),
                        // The key would be gone at once.
                        Err(error) if is_lease_lost(&error) => Ok(None),
                        Err(error) => Err(error),
                    }
                }
            })
            .await?;
        let Some(revision) = made else { return Ok(false) };
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

/// Whether the key that was read has that value.
fn is_so(answers: Vec<TxnOpResponse>, wanted: Option<&[u8]>) -> bool {
    answers.into_iter().any(|answer| match answer {
        TxnOpResponse::Get(found) => found.kvs().first().map(KeyValue::value) == wanted,
        _ => false,
    })
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
