//! Sessions of clients: found by token or cookie, changed by statements and by session options, forgotten when idle; the coordinators of a cluster share them.
//!
//! An id of ours is a UUID of version 7. That tells it from tokens of other issuers, and tells when it was made. A cookie is handed out to every
//! client that shows none, and most clients never send it back: so a session is stored only when something is set in it. A cookie that nothing is known of was never
//! used if it is young, since what was set with it would still be there; and it is replaced long before it grows too old to tell.
//! A session that has expired is an error and never a fresh session in its place: a statement must not run in another schema than the one that
//! its client chose.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nunatak_coordinator::query::{SESSION_IDLE_MAX, Session, SessionChange, SessionChanger, SessionStore, StoredSession};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};
use uuid::Uuid;

use super::headers::{COOKIE, Headers, Identity};
use super::status;
use crate::limits;

/// The user of a call that does not say who it is from.
const ANONYMOUS: &str = "anonymous";

/// Takes over what a statement changed.
pub(super) fn apply(stored: &mut StoredSession, change: &SessionChange) {
    match change {
        SessionChange::SetProperty { name, value } => {
            stored.properties.insert(name.clone(), value.clone());
        }
        SessionChange::ResetProperty { name } => {
            stored.properties.remove(name);
        }
        SessionChange::Use { catalog, schema } => {
            if catalog.is_some() {
                stored.catalog.clone_from(catalog);
            }
            stored.schema = Some(schema.clone());
        }
        // Sessions here keep none: the protocol has prepared statements of its own. The rest is refused, or changes nothing.
        SessionChange::Prepare { .. }
        | SessionChange::Deallocate { .. }
        | SessionChange::StartTransaction { .. }
        | SessionChange::EndTransaction
        | SessionChange::SetRole { .. }
        | SessionChange::SetAuthorization { .. }
        | SessionChange::ResetAuthorization
        | SessionChange::SetPath { .. } => {}
    }
}

/// Whose a statement is, and which session its changes go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The session's id.
    pub(super) id: Uuid,
    /// The user.
    pub(super) user: String,
    standing: Standing,
}

/// What is known of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is stored.
    Stored,
    /// Its client has brought back a cookie with which nothing was set.
    Unused,
    /// Its client has yet to be told its cookie.
    New,
}

impl Owner {
    fn new(user: &str) -> Self {
        Self { id: Uuid::now_v7(), user: user.to_owned(), standing: Standing::New }
    }

    /// One that a ticket names.
    pub(super) fn named(id: Uuid, user: &str, is_stored: bool) -> Self {
        Self { id, user: user.to_owned(), standing: if is_stored { Standing::Stored } else { Standing::Unused } }
    }

    /// Whether its session is stored.
    pub(super) fn is_stored(&self) -> bool {
        self.standing == Standing::Stored
    }
}

/// Who calls, and the session that holds for this call.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) session: Session,
    pub(super) owner: Owner,
}

impl Caller {
    /// An answer to the caller. A client without a session is told the cookie of its new one.
    pub(super) fn answer<T>(&self, body: T) -> Response<T> {
        let mut response = Response::new(body);
        if self.owner.standing == Standing::New {
            set_cookie(response.metadata_mut(), &format!("{COOKIE}={}", self.owner.id));
        }
        response
    }

    /// An answer that tells the client to forget its session's cookie.
    pub(super) fn farewell<T>(body: T) -> Response<T> {
        let mut response = Response::new(body);
        forget_cookie(response.metadata_mut());
        response
    }
}

/// The stored sessions.
pub(super) struct Sessions(Arc<dyn SessionStore>);

impl Sessions {
    /// Those of a store.
    pub(super) fn new(store: Arc<dyn SessionStore>) -> Self {
        Self(store)
    }

    /// Stores a new session and gives its id: the token that names it from now on.
    pub(super) async fn open(&self, user: &str) -> Result<Uuid, Status> {
        let id = Uuid::now_v7();
        self.0.open(id, StoredSession::new(user)).await.map_err(|error| status::failed(&error, user, None))?;
        Ok(id)
    }

    /// The user of a handshake.
    pub(super) async fn user(&self, identity: &Identity) -> Result<String, Status> {
        match identity {
            Identity::Nobody => Ok(ANONYMOUS.to_owned()),
            Identity::User(user) => Ok(user.clone()),
            Identity::Token(token) => match own_id(token) {
                Some(id) => self.stored(id).await?.map(|stored| stored.user).ok_or_else(expired),
                None => Ok(ANONYMOUS.to_owned()),
            },
        }
    }

    /// Who calls, in which session. `default` gives the session that a user starts with.
    pub(super) async fn resolve(&self, headers: &Headers, default: impl Fn(&str) -> Session) -> Result<Caller, Status> {
        let (owner, stored) = self.find(headers).await?;
        let session = effective(default(&owner.user), headers, stored.as_ref());
        Ok(Caller { session, owner })
    }

    /// Changes a session; one that was closed or has expired in the meantime stays so.
    pub(super) async fn update(&self, owner: &Owner, change: SessionChanger<'_>) -> Result<(), Status> {
        let otherwise = (!owner.is_stored()).then(|| StoredSession::new(&owner.user));
        let changed = self.0.change(owner.id, otherwise, change).await;
        changed.map(drop).map_err(|error| status::failed(&error, &owner.user, None))
    }

    /// Forgets a session. Gives whether it is gone: where the store cannot be reached, it ends when it has been idle for long.
    pub(super) async fn close(&self, owner: &Owner) -> bool {
        if !owner.is_stored() {
            return true;
        }
        let removed = self.0.remove(owner.id).await;
        removed.inspect_err(|error| tracing::info!(%error, "a session is left to its end")).is_ok()
    }

    async fn stored(&self, id: Uuid) -> Result<Option<StoredSession>, Status> {
        self.0.get(id).await.map_err(|error| status::failed(&error, "", None))
    }

    async fn find(&self, headers: &Headers) -> Result<(Owner, Option<StoredSession>), Status> {
        if let Identity::Token(token) = &headers.identity
            && let Some(id) = own_id(token)
        {
            let stored = self.stored(id).await?.ok_or_else(expired)?;
            return Ok((Owner { id, user: stored.user.clone(), standing: Standing::Stored }, Some(stored)));
        }
        let user = match &headers.identity {
            Identity::User(user) => user.as_str(),
            Identity::Nobody | Identity::Token(_) => ANONYMOUS,
        };
        let Some(id) = headers.cookie.filter(is_own) else { return Ok((Owner::new(user), None)) };
        let owner = |standing| Owner { id, user: user.to_owned(), standing };
        match self.stored(id).await? {
            Some(stored) if stored.user == user => Ok((owner(Standing::Stored), Some(stored))),
            // The cookie of another login in the same client: not this user's session.
            Some(_) => Ok((Owner::new(user), None)),
            None if is_recent(id, limits::COOKIE_RENEWAL, self.0.since()) => Ok((owner(Standing::Unused), None)),
            // What was set with it would still be there, so nothing was; but soon that could not be told any more.
            None if is_recent(id, SESSION_IDLE_MAX, self.0.since()) => Ok((Owner::new(user), None)),
            None => {
                let mut status = expired();
                forget_cookie(status.metadata_mut());
                Err(status)
            }
        }
    }
}

/// Whether an id of ours was made within that time, and not before `since`.
pub(super) fn is_recent(id: Uuid, age_max: Duration, since: Option<SystemTime>) -> bool {
    let Some((seconds, nanoseconds)) = id.get_timestamp().map(|made| made.to_unix()) else {
        return false;
    };
    // The id's clock has milliseconds.
    let made = UNIX_EPOCH + Duration::new(seconds, nanoseconds) + Duration::from_millis(1);
    // One of the future is of a coordinator whose clock is ahead.
    let age = SystemTime::now().duration_since(made).unwrap_or_default();
    since.is_none_or(|since| made >= since) && age < age_max
}

/// The session of a call: what was set in it, then headers, then defaults. Headers come second since clients send them with every call (they are
/// connection properties of JDBC and ODBC): before what was set they would undo every `USE`. Properties in a header are for the call, and win.
fn effective(default: Session, headers: &Headers, stored: Option<&StoredSession>) -> Session {
    let catalog = stored.and_then(|stored| stored.catalog.clone()).or_else(|| headers.catalog.clone());
    let schema = stored.and_then(|stored| stored.schema.clone()).or_else(|| headers.schema.clone());
    let mut session = default;
    if let Some(catalog) = catalog.filter(|catalog| *catalog != session.catalog) {
        session.catalog = catalog;
        // The default schema is one of the default catalog.
        session.schema = None;
    }
    session.schema = schema.or(session.schema);
    session.properties.extend(stored.map(|stored| stored.properties.clone()).unwrap_or_default());
    session.properties.extend(headers.properties.iter().cloned());
    session
}

fn is_own(id: &Uuid) -> bool {
    id.get_version_num() == 7
}

fn own_id(token: &str) -> Option<Uuid> {
    Uuid::try_parse(token).ok().filter(is_own)
}

fn expired() -> Status {
    status::unauthenticated("the session is not known, or was idle for too long (connect again)")
}

fn forget_cookie(metadata: &mut MetadataMap) {
    set_cookie(metadata, &format!("{COOKIE}=; Max-Age=0"));
}

fn set_cookie(metadata: &mut MetadataMap, cookie: &str) {
    if let Ok(value) = MetadataValue::try_from(cookie) {
        metadata.insert("set-cookie", value);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nunatak_state::EmbeddedSessions;
    use uuid::{NoContext, Timestamp};

    use super::*;

    fn sessions() -> Sessions {
        Sessions::new(Arc::new(EmbeddedSessions::new(SESSION_IDLE_MAX)))
    }

    /// An id as it was made so long ago.
    fn made_before(age: Duration) -> Uuid {
        let made = (SystemTime::now() - age).duration_since(UNIX_EPOCH).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(NoContext, made.as_secs(), made.subsec_nanos()))
    }

    fn headers(identity: Identity, cookie: Option<Uuid>) -> Headers {
        Headers { identity, cookie, catalog: None, schema: None, properties: Vec::new() }
    }

    fn default(user: &str) -> Session {
        Session::new(user, "lake", Some("default".to_owned()))
    }

    fn used(schema: &str) -> SessionChange {
        SessionChange::Use { catalog: None, schema: schema.to_owned() }
    }

    #[tokio::test]
    async fn a_token_names_its_session_until_it_is_closed() -> Result<(), Status> {
        let sessions = sessions();
        let id = sessions.open("ada").await?;
        let headers = headers(Identity::Token(id.to_string()), None);
        let caller = sessions.resolve(&headers, default).await?;
        assert_eq!((caller.owner.user.as_str(), caller.session.schema.as_deref()), ("ada", Some("default")));
        sessions.update(&caller.owner, &|stored| apply(stored, &used("nyc"))).await?;
        assert_eq!(sessions.resolve(&headers, default).await?.session.schema.as_deref(), Some("nyc"));
        assert!(sessions.close(&caller.owner).await);
        let late = sessions.resolve(&headers, default).await;
        assert_eq!(late.err().map(|status| status.code()), Some(tonic::Code::Unauthenticated));
        sessions.update(&caller.owner, &|stored| apply(stored, &used("nyc"))).await?;
        assert!(sessions.resolve(&headers, default).await.is_err(), "a change does not bring it back");
        Ok(())
    }

    #[tokio::test]
    async fn a_cookie_is_offered_and_holds_from_the_first_change_on() -> Result<(), Status> {
        let sessions = sessions();
        let first = sessions.resolve(&headers(Identity::User("ada".to_owned()), None), default).await?;
        assert!(first.answer(()).metadata().get("set-cookie").is_some());
        let back = headers(Identity::User("ada".to_owned()), Some(first.owner.id));
        let unused = sessions.resolve(&back, default).await?;
        assert!(unused.owner.id == first.owner.id && unused.answer(()).metadata().get("set-cookie").is_none());
        for owner in [&first.owner, &unused.owner] {
            sessions.update(owner, &|stored| apply(stored, &used("nyc"))).await?;
            let second = sessions.resolve(&back, default).await?;
            assert_eq!(second.session.schema.as_deref(), Some("nyc"));
            assert!(second.answer(()).metadata().get("set-cookie").is_none());
        }
        // Another user with the same cookie does not get her session.
        let other = sessions.resolve(&headers(Identity::Nobody, Some(first.owner.id)), default).await?;
        assert_eq!((other.session.user.as_str(), other.session.schema.as_deref()), (ANONYMOUS, Some("default")));
        Ok(())
    }

    #[tokio::test]
    async fn a_cookie_of_which_nothing_can_be_known_is_refused() {
        let sessions = sessions();
        // It may have been used before this process began.
        for age in [Duration::from_secs(60), 2 * SESSION_IDLE_MAX] {
            let refused = sessions.resolve(&headers(Identity::Nobody, Some(made_before(age))), default).await;
            let status = refused.err().unwrap_or_else(|| Status::ok("not refused"));
            assert_eq!(status.code(), tonic::Code::Unauthenticated);
            assert!(status.metadata().get("set-cookie").is_some());
        }
    }

    #[test]
    fn ids_tell_their_age() {
        let (hour, minute) = (Duration::from_secs(3_600), Duration::from_secs(60));
        let id = made_before(minute);
        assert!(is_recent(id, hour, None) && !is_recent(id, minute / 2, None));
        assert!(is_recent(id, hour, Some(SystemTime::now() - hour)) && !is_recent(id, hour, Some(SystemTime::now())));
        assert!(is_recent(Uuid::new_v7(Timestamp::from_unix(NoContext, 1 << 33, 0)), minute, None), "clocks differ");
        assert!(!is_recent(Uuid::new_v4(), hour, None));
    }

    #[tokio::test]
    async fn tokens_of_others_are_let_in_as_nobody() -> Result<(), Status> {
        let sessions = sessions();
        for token in ["dremio-token".to_owned(), Uuid::new_v4().to_string()] {
            assert_eq!(sessions.resolve(&headers(Identity::Token(token), None), default).await?.owner.user, ANONYMOUS);
        }
        assert!(sessions.resolve(&headers(Identity::Token(Uuid::now_v7().to_string()), None), default).await.is_err());
        Ok(())
    }

    #[test]
    fn what_was_set_comes_before_headers_and_headers_before_defaults() {
        let mut call = headers(Identity::Nobody, None);
        call.catalog = Some("other".to_owned());
        assert_eq!(effective(default("ada"), &call, None).schema, None);
        call.schema = Some("nyc".to_owned());
        call.properties = vec![("a".to_owned(), "header".to_owned())];
        let mut stored = StoredSession { schema: Some("paris".to_owned()), ..StoredSession::default() };
        stored.properties = BTreeMap::from([("a".to_owned(), "set".to_owned()), ("b".to_owned(), "set".to_owned())]);
        let session = effective(default("ada"), &call, Some(&stored));
        assert_eq!((session.catalog.as_str(), session.schema.as_deref()), ("other", Some("paris")));
        assert_eq!(session.properties["a"], "header");
        assert_eq!(session.properties["b"], "set");
    }
}
