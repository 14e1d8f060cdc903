//! What this process has announced: its lease, its key, and whether it leads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse};
use nunatak_core::{Error, Result};
use tracing::{info, warn};

use super::servers::{Servers, is_lease_lost};
use super::{COORDINATORS, EXECUTORS, LEADER};
use crate::Member;

/// This part of a lease is left when its owner stops to rely on it: clocks may go at different speeds, and what is under way takes a while to hear of it.
const MARGIN_PART: u32 = 5;

/// The membership of one process.
#[derive(Debug)]
pub(super) struct Registration {
    servers: Servers,
    /// Ends with a slash.
    prefix: String,
    lease: Duration,
    /// Held by the announcement that is under way.
    turn: tokio::sync::Mutex<()>,
    own: Mutex<Own>,
}

#[derive(Debug, Default)]
struct Own {
    /// The member's id, once it was announced.
    id: Option<String>,
    lease: Option<Lease>,
    /// The revision in which this process began to lead.
    term: Option<i64>,
    has_left: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    id: i64,
    time_to_live: Duration,
    /// Until then it can be relied on.
    until: Instant,
}

impl Lease {
    /// One that was asked for at that time.
    fn new(id: i64, time_to_live: Duration, asked_for: Instant) -> Self {
        Self { id, time_to_live, until: asked_for + time_to_live - time_to_live / MARGIN_PART }
    }
}

impl Registration {
    pub(super) fn new(servers: Servers, prefix: &str, lease: Duration) -> Self {
        Self { servers, prefix: prefix.to_owned(), lease, turn: tokio::sync::Mutex::default(), own: Mutex::default() }
    }

    /// Announces the member of this process, or renews its lease.
    pub(super) async fn announce(&self, member: &Member) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.claim(member.id())?;
        let lease = self.renewed_lease().await?;
        self.register(member, lease).await
    }

    /// The lease that is to be ended, if there is one for this member. Nothing is announced from now on.
    pub(super) fn end(&self, id: &str) -> Option<i64> {
        let mut own = self.lock();
        if own.id.as_deref() != Some(id) {
            return None;
        }
        own.has_left = true;
        own.term = None;
        own.lease.take().map(|lease| lease.id)
    }

    /// The term, if this member leads at that time.
    pub(super) fn leadership(&self, id: &str, now: Instant) -> Option<u64> {
        let own = self.lock();
        let is_sure = own.id.as_deref() == Some(id) && own.lease.is_some_and(|lease| now < lease.until);
        own.term.filter(|_| is_sure).and_then(|term| u64::try_from(term).ok())
    }

    fn lock(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is one member in a process: executors of others find each other through etcd as well.
    fn claim(&self, id: &str) -> Result<()> {
        let mut own = self.lock();
        if own.has_left {
            return Err(Error::internal("a member that has left was announced"));
        }
        if own.id.get_or_insert_with(|| id.to_owned()).as_str() != id {
            return Err(Error::not_supported("the members of this cluster find each other through etcd")
                .with_hint("start the executor with --etcd instead of --coordinator"));
        }
        Ok(())
    }

    /// Renews the lease, or asks for one.
    async fn renewed_lease(&self) -> Result<i64> {
        let known = self.lock().lease;
        if let Some(Lease { id, time_to_live, .. }) = known {
            let asked_for = Instant::now();
            let renewed = self.servers.call("renew a lease", |mut client| async move {
                match client.lease_keep_alive(id).await {
                    Ok(_) => Ok(true),
                    Err(error) if is_lease_lost(&error) => Ok(false),
                    Err(error) => Err(error),
                }
            });
            if renewed.await? {
                self.hold(Lease::new(id, time_to_live, asked_for))?;
                return Ok(id);
            }
            warn!("the lease of this member has ended; it joins anew");
            self.lose_lease();
        }
        let seconds = i64::try_from(self.lease.as_secs()).unwrap_or(i64::MAX).max(1);
        let asked_for = Instant::now();
        let granted = self.servers.call("grant a lease", |mut client| async move { client.lease_grant(seconds, None).await }).await?;
        let time_to_live = Duration::from_secs(u64::try_from(granted.ttl()).unwrap_or_default());
        self.hold(Lease::new(granted.id(), time_to_live, asked_for))?;
        Ok(granted.id())
    }

    fn hold(&self, lease: Lease) -> Result<()> {
        let mut own = self.lock();
        if own.has_left {
            return Err(Error::internal("a member has left while it was announced"));
        }
        own.lease = Some(lease);
        Ok(())
    }

    fn lose_lease(&self) {
        let mut own = self.lock();
        own.lease = None;
        own.term = None;
    }

    /// Puts the member's key if it is not there as it should be, and makes a coordinator the leader if there is none.
    async fn register(&self, member: &Member, lease: i64) -> Result<()> {
        let key = match member {
            Member::Executor(executor) => format!("{}{EXECUTORS}{}", self.prefix, executor.id),
            Member::Coordinator(coordinator) => format!("{}{COORDINATORS}{}", self.prefix, coordinator.id),
        };
        let value = match member {
            Member::Executor(executor) => serde_json::to_vec(executor),
            Member::Coordinator(coordinator) => serde_json::to_vec(coordinator),
        };
        let value = value.map_err(|error| Error::internal("a member cannot be written").with_source(error))?;
        let leader = format!("{}{LEADER}", self.prefix);
        // What only reads is answered without a word to etcd's log: a renewal costs nothing.
        let known = self
            .servers
            .call("read a member", |mut client| {
                let read = Txn::new().and_then([TxnOp::get(key.clone(), None), TxnOp::get(leader.clone(), None)]);
                async move { client.txn(read).await }
            })
            .await?;
        let mut pairs = known.op_responses().into_iter().map(|answer| match answer {
            TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next(),
            _ => None,
        });
        let (own_pair, leader_pair) = (pairs.next().flatten(), pairs.next().flatten());
        if !own_pair.is_some_and(|pair| pair.lease() == lease && pair.value() == value) {
            self.put(&key, &value, lease).await?;
        }
        if let Member::Coordinator(coordinator) = member {
            let term = match leader_pair {
                Some(pair) if pair.lease() == lease => Some(pair.create_revision()),
                Some(_) => None,
                None => self.campaign(&leader, &coordinator.id, lease).await?,
            };
            let mut own = self.lock();
            own.term = term.filter(|_| own.lease.is_some_and(|own| own.id == lease));
        }
        Ok(())
    }

    async fn put(&self, key: &str, value: &[u8], lease: i64) -> Result<()> {
        let has_lease = self
            .servers
            .call("write a member", |mut client| {
                let (key, value) = (key.to_owned(), value.to_vec());
                async move {
                    match client.put(key, value, Some(PutOptions::new().with_lease(lease))).await {
                        Ok(_) => Ok(true),
                        Err(error) if is_lease_lost(&error) => Ok(false),
                        Err(error) => Err(error),
                    }
                }
            })
            .await?;
        if has_lease {
            return Ok(());
        }
        self.lose_lease();
        Err(Error::internal("the lease of this member has ended before it was used"))
    }

    /// Makes this coordinator the leader unless there is one; its term, if that went well. The revision in which the key is made is the number of the term: it only grows.
    async fn campaign(&self, leader: &str, id: &str, lease: i64) -> Result<Option<i64>> {
        let won = self
            .servers
            .call("choose a leader", |mut client| {
                let put = TxnOp::put(leader, id, Some(PutOptions::new().with_lease(lease)));
                let choice = Txn::new().when([Compare::create_revision(leader, CompareOp::Equal, 0)]).and_then([put]);
                async move {
                    match client.txn(choice).await {
                        Ok(answer) => Ok(answer.header().filter(|_| answer.succeeded()).map(|header| header.revision())),
                        // The next announcement finds that out.
                        Err(error) if is_lease_lost(&error) => Ok(None),
                        Err(error) => Err(error),
                    }
                }
            })
            .await?;
        if let Some(term) = won {
            info!(term, "this coordinator leads");
        }
        Ok(won)
    }
}
