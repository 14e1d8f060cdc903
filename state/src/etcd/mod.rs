//! Cluster state in etcd: each member has a key with a lease of its own, and watches those of the others.
//!
//! Below the prefix of a cluster lie `members/executors/ID` and `members/coordinators/ID`, whose values say where the member is, and `members/leader`, the id of the coordinator
//! that leads. [`servers`] talks to whichever server of etcd answers, [`registration`] renews what this process has announced, [`follow`] watches that folder, and [`view`] makes
//! members of what it sees. While etcd cannot be reached the members stay as they were last known: nobody is gone because etcd is away. Executors need no other folder.
//!
//! What coordinators share lies beside it: `catalogs/NAME` ([`catalogs`]), `sessions/ID` and `claims/TICKET` ([`sessions`]), `secrets/NAME` ([`secrets`]), and
//! `maintenance/NUMBER` ([`journal`]). A [`mirror`] has the values of such keys. A process that starts before etcd answers waits for it ([`patience`]).

mod catalogs;
pub(crate) mod follow;
mod journal;
mod mirror;
mod patience;
mod registration;
mod secrets;
mod servers;
mod sessions;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use etcd_client::{Event, EventType, KeyValue};
use nunatak_core::config::Etcd;
use nunatak_core::{Error, Result};
use tokio::sync::watch;

use crate::{Announcements, ClusterState, Member, Membership, threads};
use follow::Follower;
use registration::Registration;
use servers::Servers;
use view::{Entry, View};

pub use catalogs::EtcdCatalogs;
pub use journal::EtcdJournal;
pub use sessions::EtcdSessions;

/// How long a member is taken for alive after it renewed its lease last. It does so each second; etcd may need some of them to choose another leader of its own.
const LEASE: Duration = Duration::from_secs(10);

/// The folder of the members.
const MEMBERS: &str = "members/";
/// What lies in it.
const EXECUTORS: &str = "executors/";
const COORDINATORS: &str = "coordinators/";
const LEADER: &str = "leader";

/// Cluster state that outlives all processes of the cluster.
#[derive(Debug)]
pub struct EtcdState {
    /// What the keys of members begin with.
    prefix: String,
    servers: Servers,
    registration: Registration,
    view: Mutex<View>,
    membership: watch::Sender<Membership>,
}

impl EtcdState {
    /// Connects, lists the members, and watches them as long as the state is referred to.
    ///
    /// Errors: `CLUSTER_STATE_UNAVAILABLE` if no server answers for [`Etcd::start_wait`], `CONFIGURATION_INVALID` if they refuse the user or certificates, or these
    /// cannot be read.
    pub async fn start(etcd: &Etcd) -> Result<Arc<Self>> {
        Self::with_lease(etcd, LEASE).await
    }

    /// The same, with leases of that length.
    pub(crate) async fn with_lease(etcd: &Etcd, lease: Duration) -> Result<Arc<Self>> {
        let prefix = prefix(etcd, MEMBERS);
        let state = Arc::new(Self {
            servers: Servers::new(etcd)?,
            // Connections of its own: what is announced must not wait for anything else that etcd is asked for.
            registration: Registration::new(Servers::new(etcd)?, &prefix, lease),
            view: Mutex::new(View::new(lease)),
            membership: watch::Sender::default(),
            prefix,
        });
        let threads = threads()?;
        let (listing, etcd) = (Arc::clone(&state), etcd.clone());
        // The connection belongs to the threads on which it is made.
        let listed = threads.spawn(async move {
            let follower = listing.as_ref();
            patience::until_answered(&etcd, || follow::list(follower)).await
        });
        let revision = listed.await.map_err(|error| Error::internal(format!("the members cannot be listed: {error}")))??;
        threads.spawn(follow::follow(Arc::downgrade(&state), revision));
        Ok(state)
    }

    /// Changes what is known, and tells who listens if that made a difference.
    fn change(&self, change: impl FnOnce(&mut View, Instant)) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut view, Instant::now());
        let now = view.membership();
        self.membership.send_if_modified(|known| {
            let differs = *known != now;
            if differs {
                *known = now;
            }
            differs
        });
    }

    /// A key without the prefix.
    fn key<'a>(&self, pair: &'a KeyValue) -> Option<&'a str> {
        pair.key_str().ok()?.strip_prefix(&self.prefix)
    }

    fn entry(&self, pair: &KeyValue) -> Option<(String, Entry)> {
        let key = self.key(pair)?;
        Some((key.to_owned(), Entry::read(key, pair.create_revision(), pair.value())?))
    }
}

/// What the keys of a cluster begin with that lie in one of its folders, which ends with a slash.
fn prefix(etcd: &Etcd, folder: &str) -> String {
    format!("{}/{folder}", etcd.prefix.trim_end_matches('/'))
}

impl Follower for EtcdState {
    fn what(&self) -> &str {
        "members"
    }

    fn servers(&self) -> &Servers {
        &self.servers
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn listed(&self, pairs: &[KeyValue], _: i64) {
        let entries: BTreeMap<String, Entry> = pairs.iter().filter_map(|pair| self.entry(pair)).collect();
        self.change(|view, now| view.listed(entries, now));
    }

    fn changed(&self, events: &[Event]) {
        self.change(|view, now| {
            for event in events {
                let Some(pair) = event.kv() else { continue };
                match event.event_type() {
                    EventType::Delete => {
                        if let Some(key) = self.key(pair) {
                            view.deleted(key, now);
                        }
                    }
                    EventType::Put => {
                        if let Some((key, entry)) = self.entry(pair) {
                            view.put(key, entry, now);
                        }
                    }
                }
            }
        });
    }

    fn resumed(&self) {
        self.change(|view, now| view.resumed(now));
    }

    fn look(&self) {
        self.change(|view, now| view.look(now));
    }
}

#[async_trait]
impl Announcements for EtcdState {
    async fn announce(&self, member: Member) -> Result<()> {
        self.registration.announce(&member).await
    }

    async fn leave(&self, id: &str) -> Result<()> {
        let Some(lease) = self.registration.end(id) else { return Ok(()) };
        // What it holds goes with it.
        self.servers.call("end a lease", |mut client| async move { client.lease_revoke(lease).await.map(drop) }).await
    }
}

#[async_trait]
impl ClusterState for EtcdState {
    /// Out of the sight of this process only: the others look for themselves, and the lease of a process that has ended does not go on.
    async fn remove(&self, id: &str) -> Result<()> {
        self.change(|view, now| view.take_out(id, now));
        Ok(())
    }

    fn membership(&self) -> watch::Receiver<Membership> {
        self.membership.subscribe()
    }

    fn leadership(&self, id: &str) -> Option<u64> {
        self.registration.leadership(id, Instant::now())
    }
}
