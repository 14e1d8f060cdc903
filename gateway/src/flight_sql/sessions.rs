//! Sessions of clients: found by token or cookie, changed by statements and by session options, forgotten when idle.
//!
//! An id of ours is a UUID of version 7. That tells it from tokens of other issuers, and tells when it was made. A cookie is handed out to every
//! client that shows none, and most clients never send it back: so a session is stored only when its cookie comes back or something is set in it.
//! A session that has expired is an error and never a fresh session in its place: a statement must not run in another schema than the one that
//! its client chose.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nunatak_coordinator::query::{Session, SessionChange};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};
use uuid::Uuid;

use super::headers::{COOKIE, Headers, Identity};
use super::status;
use crate::expiring::{Expiring, Renewal, lock};
use crate::limits;

/// The user of a call that does not say who it is from.
const ANONYMOUS: &str = "anonymous";

/// What was set in a session; `None` leaves it to headers and defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) user: String,
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) properties: BTreeMap<String, String>,
}

impl Stored {
    fn new(user: &str) -> Self {
        Self { user: user.to_owned(), ..Self::default() }
    }

    /// Takes over what a statement changed.
    pub(super) fn apply(&mut self, change: &SessionChange) {
        match change {
            SessionChange::SetProperty { name, value } => {
                self.properties.insert(name.clone(), value.clone());
            }
            SessionChange::ResetProperty { name } => {
                self.properties.remove(name);
            }
            SessionChange::Use { catalog, schema } => {
                if catalog.is_some() {
                    self.catalog.clone_from(catalog);
                }
                self.schema = Some(schema.clone());
            }
        }
    }
}

/// Whose a statement or handle is, and which session its changes go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The session's id.
    pub(super) id: Uuid,
    /// The user.
    pub(super) user: String,
    /// Whether the session has yet to be stored.
    fresh: bool,
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
        if self.owner.fresh {
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
pub(super) struct Sessions {
    stored: Mutex<Expiring<Stored>>,
    started: Instant,
    started_unix: Duration,
}

impl Sessions {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            stored: Mutex::new(Expiring::new(limits::SESSION_IDLE_MAX, Renewal::Use, limits::SESSIONS_MAX)),
            started: Instant::now(),
            started_unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// Stores a new session and gives its id: the token that names it from now on.
    pub(super) fn open(&self, user: &str, now: Instant) -> Uuid {
        let id = Uuid::now_v7();
        lock(&self.stored).insert(id, Stored::new(user), now);
        id
    }

    /// The user of a handshake.
    pub(super) fn user(&self, identity: &Identity, now: Instant) -> Result<String, Status> {
        match identity {
            Identity::Nobody => Ok(ANONYMOUS.to_owned()),
            Identity::User(user) => Ok(user.clone()),
            Identity::Token(token) => match own_id(token) {
                Some(id) => lock(&self.stored).get(id, now).map(|stored| stored.user.clone()).ok_or_else(expired),
                None => Ok(ANONYMOUS.to_owned()),
            },
        }
    }

    /// Who calls, in which session. `default` gives the session that a user starts with.
    pub(super) fn resolve(&self, headers: &Headers, default: impl Fn(&str) -> Session, now: Instant) -> Result<Caller, Status> {
        let (owner, stored) = self.find(headers, now)?;
        let session = effective(default(&owner.user), headers, stored.as_ref());
        Ok(Caller { session, owner })
    }

    /// Changes a session; one that was closed or has expired in the meantime stays so.
    pub(super) fn update(&self, owner: &Owner, now: Instant, change: impl FnOnce(&mut Stored)) {
        let mut stored = lock(&self.stored);
        if let Some(session) = stored.get(owner.id, now) {
            change(session);
        } else if owner.fresh {
            let mut session = Stored::new(&owner.user);
            change(&mut session);
            stored.insert(owner.id, session, now);
        }
    }

    /// Forgets a session.
    pub(super) fn close(&self, owner: &Owner, now: Instant) {
        lock(&self.stored).remove(owner.id, now);
    }

    fn find(&self, headers: &Headers, now: Instant) -> Result<(Owner, Option<Stored>), Status> {
        let mut sessions = lock(&self.stored);
        if let Identity::Token(token) = &headers.identity
            && let Some(id) = own_id(token)
        {
            let stored = sessions.get(id, now).ok_or_else(expired)?.clone();
            return Ok((Owner { id, user: stored.user.clone(), fresh: false }, Some(stored)));
        }
        let user = match &headers.identity {
            Identity::User(user) => user.as_str(),
            Identity::Nobody | Identity::Token(_) => ANONYMOUS,
        };
        let Some(id) = headers.cookie.filter(is_own) else {
            return Ok((Owner { id: Uuid::now_v7(), user: user.to_owned(), fresh: true }, None));
        };
        if let Some(stored) = sessions.get(id, now) {
            if stored.user != user {
                // The cookie of another login in the same client: not this user's session.
                return Ok((Owner { id: Uuid::now_v7(), user: user.to_owned(), fresh: true }, None));
            }
            return Ok((Owner { id, user: user.to_owned(), fresh: false }, Some(stored.clone())));
        }
        if !self.can_be_unused(id, now) {
            let mut status = expired();
            forget_cookie(status.metadata_mut());
            return Err(status);
        }
        sessions.insert(id, Stored::new(user), now);
        Ok((Owner { id, user: user.to_owned(), fresh: false }, None))
    }

    /// Whether a cookie that is not stored can be one that we made and its client brings back for the first time.
    fn can_be_unused(&self, id: Uuid, now: Instant) -> bool {
        let Some((seconds, nanoseconds)) = id.get_timestamp().map(|made| made.to_unix()) else {
            return false;
        };
        // The id's clock has milliseconds.
        let made = Duration::new(seconds, nanoseconds) + Duration::from_millis(1);
        let now_unix = self.started_unix + now.saturating_duration_since(self.started);
        made >= self.started_unix && now_unix.saturating_sub(made) < limits::SESSION_IDLE_MAX
    }
}

/// The session of a call: what was set in it, then headers, then defaults. Headers come second since clients send them with every call (they are
/// connection properties of JDBC and ODBC): before what was set they would undo every `USE`. Properties in a header are for the call, and win.
fn effective(default: Session, headers: &Headers, stored: Option<&Stored>) -> Session {
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
    use super::*;

    fn headers(identity: Identity, cookie: Option<Uuid>) -> Headers {
        Headers { identity, cookie, catalog: None, schema: None, properties: Vec::new() }
    }

    fn default(user: &str) -> Session {
        Session::new(user, "lake", Some("default".to_owned()))
    }

    fn used(schema: &str) -> SessionChange {
        SessionChange::Use { catalog: None, schema: schema.to_owned() }
    }

    #[test]
    fn a_token_names_its_session_until_it_is_idle_for_too_long() -> Result<(), Status> {
        let sessions = Sessions::new();
        let now = Instant::now();
        let id = sessions.open("ada", now);
        let headers = headers(Identity::Token(id.to_string()), None);
        let caller = sessions.resolve(&headers, default, now)?;
        assert_eq!((caller.owner.user.as_str(), caller.session.schema.as_deref()), ("ada", Some("default")));
        sessions.update(&caller.owner, now, |stored| stored.apply(&used("nyc")));
        assert_eq!(sessions.resolve(&headers, default, now)?.session.schema.as_deref(), Some("nyc"));
        let late = sessions.resolve(&headers, default, now + limits::SESSION_IDLE_MAX);
        assert_eq!(late.err().map(|status| status.code()), Some(tonic::Code::Unauthenticated));
        Ok(())
    }

    #[test]
    fn a_cookie_is_offered_and_holds_from_the_first_change_on() -> Result<(), Status> {
        let sessions = Sessions::new();
        let now = Instant::now();
        let first = sessions.resolve(&headers(Identity::User("ada".to_owned()), None), default, now)?;
        assert!(first.answer(()).metadata().get("set-cookie").is_some());
        sessions.update(&first.owner, now, |stored| stored.apply(&used("nyc")));
        let second = sessions.resolve(&headers(Identity::User("ada".to_owned()), Some(first.owner.id)), default, now)?;
        assert_eq!(second.session.schema.as_deref(), Some("nyc"));
        assert!(second.answer(()).metadata().get("set-cookie").is_none());
        // Another user with the same cookie does not get her session.
        let other = sessions.resolve(&headers(Identity::Nobody, Some(first.owner.id)), default, now)?;
        assert_eq!((other.session.user.as_str(), other.session.schema.as_deref()), (ANONYMOUS, Some("default")));
        Ok(())
    }

    #[test]
    fn an_unused_cookie_is_taken_back_and_an_old_one_refused() -> Result<(), Status> {
        let sessions = Sessions::new();
        let now = Instant::now();
        let first = sessions.resolve(&headers(Identity::Nobody, None), default, now)?;
        let back = headers(Identity::Nobody, Some(first.owner.id));
        assert_eq!(sessions.resolve(&back, default, now)?.owner.id, first.owner.id);
        let late = sessions.resolve(&back, default, now + 2 * limits::SESSION_IDLE_MAX);
        let status = late.err().unwrap_or_else(|| Status::ok("not refused"));
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        assert!(status.metadata().get("set-cookie").is_some());
        Ok(())
    }

    #[test]
    fn tokens_of_others_are_let_in_as_nobody() -> Result<(), Status> {
        let sessions = Sessions::new();
        let now = Instant::now();
        for token in ["dremio-token".to_owned(), Uuid::new_v4().to_string()] {
            assert_eq!(sessions.resolve(&headers(Identity::Token(token), None), default, now)?.owner.user, ANONYMOUS);
        }
        assert!(sessions.resolve(&headers(Identity::Token(Uuid::now_v7().to_string()), None), default, now).is_err());
        Ok(())
    }

    #[test]
    fn what_was_set_comes_before_headers_and_headers_before_defaults() {
        let mut call = headers(Identity::Nobody, None);
        call.catalog = Some("other".to_owned());
        assert_eq!(effective(default("ada"), &call, None).schema, None);
        call.schema = Some("nyc".to_owned());
        call.properties = vec![("a".to_owned(), "header".to_owned())];
        let mut stored = Stored { schema: Some("paris".to_owned()), ..Stored::default() };
        stored.properties = BTreeMap::from([("a".to_owned(), "set".to_owned()), ("b".to_owned(), "set".to_owned())]);
        let session = effective(default("ada"), &call, Some(&stored));
        assert_eq!((session.catalog.as_str(), session.schema.as_deref()), ("other", Some("paris")));
        assert_eq!(session.properties["a"], "header");
        assert_eq!(session.properties["b"], "set");
    }
}
