//! What coordinators keep of their clients' sessions, which tickets have been used, and by what they know their own handles: behind one trait, and in the memory of one process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use nunatak_core::expiring::{Expiring, Renewal, lock};
use nunatak_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A session that nobody has used for so long is forgotten.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(60 * 60);

/// A ticket is good for so long after it was given out.
pub const TICKET_TTL: Duration = Duration::from_secs(10 * 60);

/// Which tickets were used is known for longer than they are good: the clocks of coordinators differ.
pub(crate) const CLAIM_TTL: Duration = Duration::from_secs(20 * 60);

/// Sessions kept at once; one more and another one goes.
pub(crate) const SESSIONS_MAX: usize = 10_000;

/// Used tickets that are known at once.
const CLAIMS_MAX: usize = 100_000;

/// The length of a [`HandleKey`].
const HANDLE_KEY_BYTES: usize = 32;

/// What the texts of one session may have together.
const SESSION_BYTES_MAX: usize = 64 * 1024;

/// What was set in a session; `None` leaves it to the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    /// Whose it is.
    pub user: String,
    /// The catalog that names without one mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// The schema that names without one mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Session properties by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// The secret with which coordinators sign the handles and tickets that they give out: all coordinators of a cluster have the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct HandleKey([u8; HANDLE_KEY_BYTES]);

impl HandleKey {
    /// One that nobody can guess.
    pub fn generate() -> Self {
        let halves = [Uuid::new_v4(), Uuid::new_v4()];
        let mut key = [0; HANDLE_KEY_BYTES];
        // Of each half 122 bits are from the system's random numbers, which is plenty.
        key.chunks_exact_mut(HANDLE_KEY_BYTES / 2).zip(&halves).for_each(|(part, half)| part.copy_from_slice(half.as_bytes()));
        Self(key)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for HandleKey {
    type Error = String;

    fn try_from(bytes: Vec<u8>) -> Result<Self, Self::Error> {
        let length = bytes.len();
        <[u8; HANDLE_KEY_BYTES]>::try_from(bytes).map(Self).map_err(|_| format!("it has {length} bytes instead of {HANDLE_KEY_BYTES}"))
    }
}

impl From<HandleKey> for Vec<u8> {
    fn from(key: HandleKey) -> Self {
        key.0.to_vec()
    }
}

impl fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandleKey(***)")
    }
}

/// A change of a session. It may be made more than once, each time to the session as it was.
pub type SessionChanger<'a> = &'a (dyn Fn(&mut StoredSession) + Send + Sync);

/// Where sessions are kept.
#[async_trait]
pub trait SessionStore: Send + Sync + fmt::Debug {
    /// The session of an id, if there is one. This counts as a use.
    async fn get(&self, id: Uuid) -> Result<Option<StoredSession>>;

    /// Keeps a new session, whose id nobody else has made. Where the cluster cannot be told of it, this process alone knows it.
    async fn open(&self, id: Uuid, session: StoredSession) -> Result<()>;

    /// Changes a session, or the one that is given where there is none. Gives whether there was something to change.
    async fn change(&self, id: Uuid, otherwise: Option<StoredSession>, change: SessionChanger<'_>) -> Result<bool>;

    /// Forgets a session.
    async fn remove(&self, id: Uuid) -> Result<()>;

    /// Takes a ticket for its one run. Gives whether nobody has done so before.
    async fn claim(&self, ticket: Uuid) -> Result<bool>;

    /// Whether a claim could be made at this moment. Who keeps claims elsewhere asks there, for a short time.
    async fn can_claim(&self) -> bool;

    /// Sessions and claims that were made before then may be forgotten; `None` if they never are before their time.
    fn since(&self) -> Option<SystemTime>;

    /// By what coordinators know the handles and tickets that they have given out.
    fn handle_key(&self) -> HandleKey;
}

impl StoredSession {
    /// One in which nothing is set.
    pub fn new(user: &str) -> Self {
        Self { user: user.to_owned(), ..Self::default() }
    }

    /// The session after a change.
    ///
    /// Errors: `GENERIC_INSUFFICIENT_RESOURCES` if it has become too large.
    pub(crate) fn changed(mut self, change: SessionChanger<'_>) -> Result<Self> {
        change(&mut self);
        let properties = self.properties.iter().map(|(name, value)| name.len() + value.len());
        let names = [&self.catalog, &self.schema].map(|name| name.as_ref().map_or(0, String::len));
        if self.user.len() + names.iter().sum::<usize>() + properties.sum::<usize>() > SESSION_BYTES_MAX {
            let message = format!("what is set in the session has more than {} KiB", SESSION_BYTES_MAX / 1024);
            return Err(Error::new(Code::GenericInsufficientResources, message).with_hint("set shorter values"));
        }
        Ok(self)
    }
}

/// Sessions in the memory of one process.
#[derive(Debug)]
pub struct EmbeddedSessions {
    sessions: Mutex<Expiring<StoredSession>>,
    claims: Mutex<Expiring<()>>,
    since: SystemTime,
    handle_key: HandleKey,
}

impl EmbeddedSessions {
    /// None yet. One that is idle for `idle_max` is forgotten.
    pub fn new(idle_max: Duration) -> Self {
        Self {
            sessions: Mutex::new(Expiring::new(idle_max, Renewal::Use, SESSIONS_MAX)),
            claims: Mutex::new(Expiring::new(CLAIM_TTL, Renewal::Never, CLAIMS_MAX)),
            since: SystemTime::now(),
            handle_key: HandleKey::generate(),
        }
    }

    /// Whether it has a session.
    pub(crate) fn has(&self, id: Uuid) -> bool {
        lock(&self.sessions).get(id, Instant::now()).is_some()
    }
}

#[async_trait]
impl SessionStore for EmbeddedSessions {
    async fn get(&self, id: Uuid) -> Result<Option<StoredSession>> {
        Ok(lock(&self.sessions).get(id, Instant::now()).cloned())
    }

    async fn open(&self, id: Uuid, session: StoredSession) -> Result<()> {
        lock(&self.sessions).insert(id, session, Instant::now());
        Ok(())
    }

    async fn change(&self, id: Uuid, otherwise: Option<StoredSession>, change: SessionChanger<'_>) -> Result<bool> {
        let now = Instant::now();
        let mut sessions = lock(&self.sessions);
        let Some(session) = sessions.get(id, now).cloned().or(otherwise) else { return Ok(false) };
        sessions.insert(id, session.changed(change)?, now);
        Ok(true)
    }

    async fn remove(&self, id: Uuid) -> Result<()> {
        lock(&self.sessions).remove(id, Instant::now());
        Ok(())
    }

    async fn claim(&self, ticket: Uuid) -> Result<bool> {
        let now = Instant::now();
        let mut claims = lock(&self.claims);
        if claims.get(ticket, now).is_some() {
            return Ok(false);
        }
        claims.insert(ticket, (), now);
        Ok(true)
    }

    async fn can_claim(&self) -> bool {
        true
    }

    fn since(&self) -> Option<SystemTime> {
        Some(self.since)
    }

    fn handle_key(&self) -> HandleKey {
        self.handle_key.clone()
    }
}
