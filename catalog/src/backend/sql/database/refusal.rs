//! How PostgreSQL fails: what that means for what was asked, and our words for it.

use std::time::Duration;

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use nunatak_core::{Code, Error, Retry};
use tokio_postgres::error::{DbError, Severity, SqlState};

use super::options::Place;
use crate::commit::CHANGE_UNKNOWN;

/// A statement, or the wish for a connection, that did not succeed.
#[derive(Debug)]
pub(in super::super) struct Refusal {
    cause: Cause,
    stage: Stage,
}

#[derive(Debug)]
enum Cause {
    Postgres(tokio_postgres::Error),
    /// All connections are in use.
    Busy,
    /// No answer came in this time.
    Silent(Duration),
    /// The pool is in a state that we do not bring it into.
    Pool(PoolError),
}

/// How far it had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connect,
    Statement,
    Commit,
}

impl Refusal {
    /// No connection was had. `limit` is how long was waited for the server.
    pub(super) fn connecting(error: PoolError, limit: Duration) -> Self {
        let cause = match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => Cause::Postgres(error),
            PoolError::Timeout(TimeoutType::Wait) => Cause::Busy,
            // That hook of ours tells nothing else.
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) | PoolError::PostCreateHook(HookError::Message(_)) => Cause::Silent(limit),
            other => Cause::Pool(other),
        };
        Self { cause, stage: Stage::Connect }
    }

    pub(super) fn statement(error: tokio_postgres::Error) -> Self {
        Self { cause: Cause::Postgres(error), stage: Stage::Statement }
    }

    pub(super) fn silent(limit: Duration) -> Self {
        Self { cause: Cause::Silent(limit), stage: Stage::Statement }
    }

    /// The same of a statement that was a COMMIT.
    pub(super) fn at_commit(self) -> Self {
        Self { stage: Stage::Commit, ..self }
    }

    /// Whether it is certain that the database is as it was: a transaction ends with its connection, and with each error, unless its COMMIT was on the way.
    pub(super) fn changed_nothing(&self) -> bool {
        self.stage != Stage::Commit || self.is_answer()
    }

    /// Whether the connection is of no use any more.
    pub(super) fn broke_connection(&self) -> bool {
        self.stage != Stage::Connect && !self.is_answer()
    }

    /// Whether the same can succeed a moment later, and is safe to be run again: what it did is undone.
    pub(super) fn may_pass(&self) -> bool {
        let Cause::Postgres(error) = &self.cause else { return false };
        if !self.changed_nothing() {
            return false;
        }
        match error.as_db_error() {
            // Others have changed the same rows, or have made the same tables: what they did is seen now.
            Some(answer) if self.is_answer() => {
                let met = [
                    &SqlState::T_R_SERIALIZATION_FAILURE,
                    &SqlState::T_R_DEADLOCK_DETECTED,
                    &SqlState::UNIQUE_VIOLATION,
                    &SqlState::DUPLICATE_TABLE,
                    &SqlState::DUPLICATE_COLUMN,
                ];
                met.contains(&answer.code())
            }
            Some(answer) => is_restart(answer),
            // A certificate that is refused now is refused again, as is a method of authentication.
            None => match self.stage {
                Stage::Connect => error.is_closed() || io_error(error).is_some_and(|error| tls_error(error).is_none()),
                _ => true,
            },
        }
    }

    /// Whether a table is gone that was there.
    pub(super) fn lacks_table(&self) -> bool {
        self.answer().is_some_and(|answer| *answer.code() == SqlState::UNDEFINED_TABLE)
    }

    /// Whether the server has refused the statement and goes on with the connection.
    fn is_answer(&self) -> bool {
        self.stage != Stage::Connect && self.answer().is_some_and(|answer| answer.parsed_severity() == Some(Severity::Error))
    }

    fn answer(&self) -> Option<&DbError> {
        match &self.cause {
            Cause::Postgres(error) => error.as_db_error(),
            _ => None,
        }
    }

    /// Our error; `operation` is what was being done.
    pub(super) fn into_error(self, place: &Place, operation: &str) -> Error {
        let unknown = !self.changed_nothing();
        let error = self.describe(place).with_context("operation", operation);
        let error = match unknown {
            true => Error::new(Code::CommitStateUnknown, format!("{CHANGE_UNKNOWN}{}", error.message()))
                .with_context("operation", operation)
                .with_hint("look for it before running the statement again"),
            false => error,
        };
        match self.cause {
            Cause::Postgres(cause) => error.with_source(cause),
            Cause::Pool(cause) => error.with_source(cause),
            Cause::Busy | Cause::Silent(_) => error,
        }
    }

    fn describe(&self, place: &Place) -> Error {
        let server = &place.server;
        let unavailable = |what: String| Error::new(Code::CatalogUnavailable, format!("PostgreSQL at {server} {what}")).with_retry(Retry::Query);
        match &self.cause {
            Cause::Busy => unavailable("has no connection left for this catalog".to_owned())
                .with_hint("raise the catalog's property 'clients', or run fewer statements at once"),
            Cause::Silent(limit) => unavailable(format!("gave no answer in {} s", limit.as_secs())),
            Cause::Pool(error) => Error::internal(format!("the connections to PostgreSQL at {server} cannot be used: {error}")),
            Cause::Postgres(error) => match error.as_db_error() {
                Some(answer) => answered(answer, place),
                None if self.stage == Stage::Connect => match io_error(error) {
                    Some(io) => match tls_error(io) {
                        Some(tls) => Error::new(Code::CatalogUnavailable, format!("PostgreSQL at {server} is not trusted: {tls}"))
                            .with_hint("name the authority of its certificate with sslrootcert, or check less with another sslmode"),
                        None => unavailable(format!("cannot be reached: {io}")),
                    },
                    None if std::error::Error::source(error).is_none() => unavailable(format!("gave no answer that PostgreSQL gives: {error}")),
                    // Such as no TLS where it is required, or a password that the server wants and nobody has named.
                    None => {
                        Error::new(Code::CatalogAccessDenied, format!("PostgreSQL at {server} lets user '{}' not in: {}", place.user, reason(error)))
                            .with_hint("check jdbc.user, jdbc.password and sslmode")
                    }
                },
                None => unavailable(format!("is gone: {}", reason(error))),
            },
        }
    }
}

/// Our error for what the server says.
fn answered(answer: &DbError, place: &Place) -> Error {
    let Place { server, database, user } = place;
    let said = answer.message();
    let error = |code: Code, what: &str| Error::new(code, format!("PostgreSQL at {server} {what}: {said}"));
    match *answer.code() {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            error(Code::CatalogAccessDenied, &format!("lets user '{user}' not in")).with_hint("check user and password of the catalog")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => error(Code::CatalogAccessDenied, &format!("does not let user '{user}' do this")).with_hint(format!(
            "the user needs SELECT, INSERT, UPDATE and DELETE on the catalog's tables in database '{database}', and CREATE to make them"
        )),
        SqlState::INVALID_CATALOG_NAME => {
            error(Code::ConfigurationInvalid, &format!("has no database '{database}'")).with_hint(format!("CREATE DATABASE \"{database}\" makes it"))
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            error(Code::IcebergCatalogError, "is read-only").with_hint("name the primary server, or all of them and target_session_attrs=read-write")
        }
        SqlState::TOO_MANY_CONNECTIONS => error(Code::CatalogUnavailable, "takes no more connections")
            .with_hint("lower the catalog's property 'clients', or raise max_connections of the server")
            .with_retry(Retry::Query),
        SqlState::QUERY_CANCELED => error(Code::CatalogUnavailable, "took too long").with_retry(Retry::Query),
        SqlState::STRING_DATA_RIGHT_TRUNCATION => error(Code::InvalidArguments, "takes no such text")
            .with_hint("names have up to 255 characters, locations and values of properties up to 1000"),
        SqlState::UNDEFINED_TABLE => error(Code::IcebergCatalogError, "has lost the catalog's tables").with_retry(Retry::Query),
        _ if is_restart(answer) => error(Code::CatalogUnavailable, "is starting or stopping").with_retry(Retry::Query),
        _ => error(Code::IcebergCatalogError, "failed"),
    }
}

/// Whether the server says that it stops, has stopped or starts.
fn is_restart(answer: &DbError) -> bool {
    [&SqlState::ADMIN_SHUTDOWN, &SqlState::CRASH_SHUTDOWN, &SqlState::CANNOT_CONNECT_NOW].contains(&answer.code())
}

fn io_error(error: &tokio_postgres::Error) -> Option<&std::io::Error> {
    std::error::Error::source(error)?.downcast_ref()
}

fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What an error says, and what has caused it: it says little itself.
fn reason(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
