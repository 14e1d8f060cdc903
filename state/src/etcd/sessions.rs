//! Sessions of clients, for all coordinators of a cluster: `sessions/ID`, as JSON of [`StoredSession`], each with a lease that a use renews; and
//! `claims/TICKET`, the tickets that were used.
//!
//! What a session has is asked of etcd at each call, since another coordinator may have changed it a moment ago. While etcd is away what was seen last holds: nobody can
//! have changed it. Sessions that begin meanwhile are known to this process alone; the others refuse their tokens.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse};
use nunatak_core::config::Etcd;
use nunatak_core::expiring::{Expiring, Renewal, lock};
use nunatak_core::{Code, Error, Result};
use tracing::debug;
use uuid::Uuid;

use super::follow::Follower;
use super::mirror::{Mirror, Value};
use super::secrets::Secrets;
use super::servers::{at_run_time, is_lease_lost};
use crate::sessions::{CLAIM_TTL, SESSIONS_MAX, SessionChanger};
use crate::{EmbeddedSessions, HandleKey, SessionStore, StoredSession};

/// How long a client waits for etcd, and how long the next ones do not when that was in vain.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long etcd may take to show that it is there, before a ticket is given out whose claim will need it.
const PROBE_WAIT: Duration = Duration::from_secs(1);
/// A session's lease is renewed at most so often within its time.
const RENEWALS: u32 = 12;
/// How often a change is tried that others come before.
const CHANGES_MAX: usize = 20;
/// A lease takes up claims for this part of its time.
const CLAIM_LEASE_PART: u32 = 2;

/// Sessions in etcd.
#[derive(Debug)]
pub struct EtcdSessions {
    shared: Arc<Mirror<Session>>,
    /// Those that have begun while etcd was away.
    own: EmbeddedSessions,
    secrets: Secrets,
    idle_max: Duration,
    /// Sessions whose leases were renewed lately.
    renewed: Mutex<Expiring<()>>,
    /// When etcd has failed last.
    failed: Mutex<Option<Instant>>,
    /// What the keys of claims begin with.
    claims: String,
    /// The lease to which claims are bound, and when it was granted.
    claim_lease: tokio::sync::Mutex<Option<(i64, Instant)>>,
    /// Whether the last claim has failed.
    has_failed_to_claim: AtomicBool,
}

/// A session with what is to be known for changing it.
#[derive(Clone, Debug)]
struct Session {
    revision: i64,
    lease: i64,
    stored: StoredSession,
}

impl Value for Session {
    fn read(pair: &KeyValue) -> serde_json::Result<Self> {
        Ok(Self { revision: pair.mod_revision(), lease: pair.lease(), stored: serde_json::from_slice(pair.value())? })
    }
}

impl EtcdSessions {
    /// Reads what is there, and follows it as long as the store is referred to. A session that is idle for `idle_max` is forgotten. Must be called within a Tokio runtime.
    ///
    /// Errors: `CLUSTER_STATE_UNAVAILABLE` if no server answers, `CONFIGURATION_INVALID` if they refuse the user or certificates cannot be read.
    pub async fn start(etcd: &Etcd, idle_max: Duration) -> Result<Self> {
        Ok(Self {
            shared: Mirror::start(etcd, "sessions").await?,
            own: EmbeddedSessions::new(idle_max),
            secrets: Secrets::start(etcd).await?,
            idle_max,
            renewed: Mutex::new(Expiring::new(idle_max / RENEWALS, Renewal::Never, SESSIONS_MAX)),
            failed: Mutex::default(),
            claims: super::prefix(etcd, "claims/"),
            claim_lease: tokio::sync::Mutex::default(),
            has_failed_to_claim: AtomicBool::default(),
        })
    }

    fn is_away(&self) -> bool {
        lock(&self.failed).is_some_and(|failed| failed.elapsed() < PATIENCE)
    }

    /// Asks etcd, unless it has failed a moment ago.
    async fn ask<T>(&self, question: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.ask_for(PATIENCE, question).await
    }

    /// The same, for so long at most. An etcd that refuses us is one that cannot be used, whatever the configuration was good for before.
    async fn ask_for<T>(&self, patience: Duration, question: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let away = || Error::new(Code::ClusterStateUnavailable, "etcd cannot be reached").with_hint("try again when it can");
        if self.is_away() {
            return Err(away());
        }
        let answer = tokio::time::timeout(patience, question).await;
        let is_silent = answer.is_err();
        let answer = answer.unwrap_or_else(|_| Err(away())).map_err(at_run_time);
        if answer.as_ref().is_err_and(is_unavailable) {
            let is_first = !self.is_away();
            *lock(&self.failed) = Some(Instant::now());
            // Its server may stand still where the others do not. Of many that have waited, one turns away.
            if is_silent && is_first {
                self.shared.servers().turn_away();
            }
        }
        answer
    }

    /// A session as etcd has it.
    async fn shared(&self, id: Uuid) -> Result<Option<Session>> {
        self.ask(self.shared.get(&id.to_string())).await
    }

    async fn grant(&self, time: Duration) -> Result<i64> {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let granted = self.shared.servers().call("grant a lease", |mut client| async move { client.lease_grant(seconds, None).await });
        Ok(granted.await?.id())
    }

    /// Keeps a session that is not there. Gives whether it was so.
    async fn insert(&self, id: Uuid, session: &StoredSession) -> Result<bool> {
        self.make_room().await?;
        let lease = self.grant(self.idle_max).await?;
        self.shared.put(&id.to_string(), session, None, Some(lease)).await
    }

    /// Where there are too many sessions, that goes which was not changed for longest.
    async fn make_room(&self) -> Result<()> {
        if self.shared.count() < SESSIONS_MAX {
            return Ok(());
        }
        let all = Arc::clone(&self.shared.watch().borrow());
        match all.iter().min_by_key(|(_, session)| session.revision) {
            Some((id, session)) => self.shared.delete(id, session.revision).await.map(drop),
            None => Ok(()),
        }
    }

    /// Renews the lease of a session from time to time.
    async fn renew(&self, id: Uuid, lease: i64) {
        let now = Instant::now();
        {
            let mut renewed = lock(&self.renewed);
            if lease == 0 || renewed.get(id, now).is_some() {
                return;
            }
            renewed.insert(id, (), now);
        }
        let renewal = self.shared.servers().call("renew a lease", |mut client| async move {
            match client.lease_keep_alive(lease).await {
                // The next call finds that out.
                Err(error) if is_lease_lost(&error) => Ok(()),
                renewed => renewed.map(drop),
            }
        });
        if let Err(error) = self.ask(renewal).await {
            debug!(%error, "the lease of a session is not renewed");
        }
    }

    /// The lease for a claim that is made now.
    async fn claim_lease(&self) -> Result<i64> {
        let mut current = self.claim_lease.lock().await;
        if let Some((lease, granted)) = *current
            && granted.elapsed() < CLAIM_TTL / CLAIM_LEASE_PART
        {
            return Ok(lease);
        }
        // So long that the last claim which it takes up lives for its time.
        let asked = Instant::now();
        let lease = self.grant(CLAIM_TTL + CLAIM_TTL / CLAIM_LEASE_PART).await?;
        *current = Some((lease, asked));
        Ok(lease)
    }

    /// Whether etcd grants a lease for claims again, after one has failed: an etcd without space answers, and takes nothing.
    async fn takes_claims(&self) -> bool {
        if !self.has_failed_to_claim.load(Ordering::Relaxed) {
            return true;
        }
        let granted = self.ask_for(PROBE_WAIT, async {
            *self.claim_lease.lock().await = None;
            self.claim_lease().await
        });
        let takes_claims = granted.await.is_ok();
        self.has_failed_to_claim.store(!takes_claims, Ordering::Relaxed);
        takes_claims
    }

    async fn make_claim(&self, ticket: Uuid) -> Result<bool> {
        let key = format!("{}{ticket}", self.claims);
        // Tells this claim from those of others when it is sent again.
        let nonce = Uuid::new_v4().to_string();
        // The lease may turn out to be gone: etcd has lost its data, or somebody has revoked it.
        for _ in 0..2 {
            let lease = self.claim_lease().await?;
            let put = TxnOp::put(key.clone(), nonce.clone(), Some(PutOptions::new().with_lease(lease)));
            let condition = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
            let claim = Txn::new().when([condition]).and_then([put]).or_else([TxnOp::get(key.clone(), None)]);
            let claimed = self
                .shared
                .servers()
                .call("claim a ticket", |mut client| {
                    let (claim, nonce) = (claim.clone(), nonce.clone());
                    async move {
                        match client.txn(claim).await {
                            Ok(answer) => Ok(Some(answer.succeeded() || is_held(answer.op_responses(), nonce.as_bytes()))),
                            Err(error) if is_lease_lost(&error) => Ok(None),
                            Err(error) => Err(error),
                        }
                    }
                })
                .await?;
            match claimed {
                Some(claimed) => return Ok(claimed),
                None => *self.claim_lease.lock().await = None,
            }
        }
        Err(Error::new(Code::ClusterStateUnavailable, "etcd ends leases before they are used").with_hint("try again"))
    }
}

/// Whether the key that was read has that value.
fn is_held(answers: Vec<TxnOpResponse>, value: &[u8]) -> bool {
    answers.into_iter().any(|answer| match answer {
        TxnOpResponse::Get(found) => found.kvs().iter().any(|pair| pair.value() == value),
        _ => false,
    })
}

fn is_unavailable(error: &Error) -> bool {
    error.code() == Code::ClusterStateUnavailable
}

#[async_trait]
impl SessionStore for EtcdSessions {
    async fn get(&self, id: Uuid) -> Result<Option<StoredSession>> {
        if let Some(session) = self.own.get(id).await? {
            return Ok(Some(session));
        }
        let found = match self.shared(id).await {
            Ok(found) => found,
            Err(error) if is_unavailable(&error) => self.shared.known(&id.to_string()),
            Err(error) => return Err(error),
        };
        let Some(session) = found else { return Ok(None) };
        self.renew(id, session.lease).await;
        Ok(Some(session.stored))
    }

    async fn open(&self, id: Uuid, session: StoredSession) -> Result<()> {
        let opened = self.ask(self.insert(id, &session)).await;
        match opened {
            Err(error) if is_unavailable(&error) => self.own.open(id, session).await,
            opened => opened.map(drop),
        }
    }

    async fn change(&self, id: Uuid, otherwise: Option<StoredSession>, change: SessionChanger<'_>) -> Result<bool> {
        if self.own.has(id) {
            return self.own.change(id, None, change).await;
        }
        for _ in 0..CHANGES_MAX {
            let is_changed = match (self.shared(id).await?, &otherwise) {
                (Some(Session { revision, lease, stored }), _) => {
                    let changed = stored.changed(change)?;
                    let lease = Some(lease).filter(|lease| *lease != 0);
                    self.ask(self.shared.put(&id.to_string(), &changed, Some(revision), lease)).await?
                }
                (None, Some(otherwise)) => self.ask(self.insert(id, &otherwise.clone().changed(change)?)).await?,
                (None, None) => return Ok(false),
            };
            if is_changed {
                return Ok(true);
            }
        }
        Err(Error::new(Code::GenericInternalError, "the session is changed by others all the time").with_hint("try again"))
    }

    async fn remove(&self, id: Uuid) -> Result<()> {
        if self.own.has(id) {
            return self.own.remove(id).await;
        }
        // Its lease ends by itself.
        while let Some(session) = self.shared(id).await? {
            if self.ask(self.shared.delete(&id.to_string(), session.revision)).await? {
                break;
            }
        }
        Ok(())
    }

    async fn claim(&self, ticket: Uuid) -> Result<bool> {
        let claimed = self.ask(self.make_claim(ticket)).await;
        self.has_failed_to_claim.store(claimed.is_err(), Ordering::Relaxed);
        claimed
    }

    /// Etcd is asked, since it takes the watch some seconds to notice that it has stopped to answer: what cannot be claimed then stays with this coordinator. Whoever has
    /// stopped, or has lost the others, cannot answer this question.
    async fn can_claim(&self) -> bool {
        self.shared.is_live() && self.ask_for(PROBE_WAIT, self.shared.probe()).await.is_ok() && self.takes_claims().await
    }

    fn since(&self) -> Option<SystemTime> {
        None
    }

    fn handle_key(&self) -> HandleKey {
        self.secrets.handles()
    }
}
