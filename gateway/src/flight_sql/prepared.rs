//! Prepared statements: made and closed by actions, bound by DoPut, run by ticket (queries) or DoPut (updates).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::{ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any};
use bytes::Bytes;
use nunatak_coordinator::query::{Session, StatementKind};
use nunatak_core::Error;
use nunatak_core::error::Code;
use tonic::{Response, Status};
use uuid::Uuid;

use super::encode::{self, DataStream};
use super::executions::Statement;
use super::sessions::{Caller, Owner};
use super::statements::statement_of;
use super::{Service, status};
use crate::expiring::{Expiring, Renewal, lock};
use crate::limits;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(super) struct PreparedStatement {
    sql: String,
    owner: Owner,
    /// The session that it was planned in.
    session: Session,
    schema: SchemaRef,
    /// The values bound last.
    bound: Option<RecordBatch>,
}

/// The prepared statements of all sessions.
pub(super) struct PreparedStatements(Mutex<Inner>);

struct Inner {
    statements: Expiring<PreparedStatement>,
    /// How many each session has.
    counts: HashMap<Uuid, usize>,
}

impl PreparedStatements {
    /// None yet.
    pub(super) fn new() -> Self {
        let statements = Expiring::new(limits::PREPARED_IDLE_MAX, Renewal::Use, limits::PREPARED_MAX);
        Self(Mutex::new(Inner { statements, counts: HashMap::new() }))
    }

    fn add(&self, statement: PreparedStatement, now: Instant) -> Result<Uuid, Error> {
        let mut inner = lock(&self.0);
        let session = statement.owner.id;
        if inner.count(session) >= limits::PREPARED_PER_SESSION_MAX {
            let expired = inner.statements.expire(now);
            inner.uncount(&expired);
        }
        if inner.count(session) >= limits::PREPARED_PER_SESSION_MAX {
            let message = format!("the session has {} prepared statements", limits::PREPARED_PER_SESSION_MAX);
            return Err(Error::new(Code::GenericInsufficientResources, message).with_hint("close those that are no longer used"));
        }
        let handle = Uuid::new_v4();
        let gone = inner.statements.insert(handle, statement, now);
        inner.uncount(&gone);
        *inner.counts.entry(session).or_default() += 1;
        Ok(handle)
    }

    fn get(&self, handle: &[u8], user: &str, now: Instant) -> Result<PreparedStatement, Status> {
        self.with(handle, user, now, |statement| statement.clone())
    }

    fn bind(&self, handle: &[u8], user: &str, values: Option<RecordBatch>, now: Instant) -> Result<(), Status> {
        self.with(handle, user, now, |statement| statement.bound = values)
    }

    fn with<T>(&self, handle: &[u8], user: &str, now: Instant, use_it: impl FnOnce(&mut PreparedStatement) -> T) -> Result<T, Status> {
        let mut inner = lock(&self.0);
        let statement = Uuid::from_slice(handle).ok().and_then(|handle| inner.statements.get(handle, now));
        statement.filter(|statement| statement.owner.user == user).map(use_it).ok_or_else(no_such_statement)
    }

    /// Closes a statement. One that is gone already is closed as well.
    fn close(&self, handle: &[u8], user: &str, now: Instant) {
        if self.with(handle, user, now, |_| ()).is_err() {
            return;
        }
        let mut inner = lock(&self.0);
        let closed = Uuid::from_slice(handle).ok().and_then(|handle| inner.statements.remove(handle, now));
        inner.uncount(closed.as_slice());
    }

    /// Closes all statements of a session.
    pub(super) fn close_session(&self, owner: &Owner) {
        let mut inner = lock(&self.0);
        if inner.counts.remove(&owner.id).is_some() {
            inner.statements.remove_where(|statement| statement.owner.id == owner.id);
        }
    }
}

impl Inner {
    fn count(&self, session: Uuid) -> usize {
        self.counts.get(&session).copied().unwrap_or_default()
    }

    fn uncount(&mut self, gone: &[PreparedStatement]) {
        for statement in gone {
            let session = statement.owner.id;
            let left = self.count(session).saturating_sub(1);
            if left == 0 {
                self.counts.remove(&session);
            } else {
                self.counts.insert(session, left);
            }
        }
    }
}

impl Service {
    /// Prepares a statement.
    pub(super) async fn prepare(
        &self,
        caller: &Caller,
        request: ActionCreatePreparedStatementRequest,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        if request.transaction_id.as_ref().is_some_and(|id| !id.is_empty()) {
            return Err(status::unsupported("transactions are not supported: each statement is committed by itself"));
        }
        let plan = self.plan(&caller.session, &request.query).await?;
        let dataset_schema = match plan.kind {
            StatementKind::Query => encode::schema_bytes(&plan.schema)?,
            // By this JDBC's driver knows that it has to run the statement as an update.
            StatementKind::Update => Bytes::new(),
        };
        let parameter_schema = encode::schema_bytes(&plan.parameters)?;
        let statement =
            PreparedStatement { sql: request.query, owner: caller.owner.clone(), session: caller.session.clone(), schema: plan.schema, bound: None };
        let handle = self.prepared.add(statement, Instant::now()).map_err(|error| status::failed(&error, &caller.owner.user, None))?;
        let prepared_statement_handle = Bytes::copy_from_slice(handle.as_bytes());
        Ok(ActionCreatePreparedStatementResult { prepared_statement_handle, dataset_schema, parameter_schema })
    }

    /// Closes a prepared statement.
    pub(super) fn close_prepared(&self, caller: &Caller, handle: &[u8]) {
        self.prepared.close(handle, &caller.owner.user, Instant::now());
    }

    /// Binds values to the parameters of a prepared statement.
    pub(super) fn bind_prepared(&self, caller: &Caller, handle: &[u8], values: Option<RecordBatch>) -> Result<(), Status> {
        self.prepared.bind(handle, &caller.owner.user, values, Instant::now())
    }

    /// The schema of a prepared statement's rows: planned again where the session has changed since, as names may now mean other tables.
    pub(super) async fn prepared_schema(&self, caller: &Caller, handle: &[u8]) -> Result<SchemaRef, Status> {
        let prepared = self.prepared.get(handle, &caller.owner.user, Instant::now())?;
        if prepared.session == caller.session {
            return Ok(prepared.schema);
        }
        Ok(self.plan(&caller.session, &prepared.sql).await?.schema)
    }

    /// The schema of a prepared statement's rows, and a ticket for them with the values that are bound now.
    pub(super) async fn prepared_info(&self, caller: &Caller, handle: &[u8]) -> Result<(SchemaRef, Any), Status> {
        let statement = self.bound_statement(caller, handle)?;
        let schema = self.prepared_schema(caller, handle).await?;
        Ok((schema, self.ticket(statement)))
    }

    /// Runs a prepared statement that was asked for by its handle instead of a ticket.
    pub(super) async fn prepared_rows(&self, caller: &Caller, handle: &[u8]) -> Result<Response<DataStream>, Status> {
        let statement = self.bound_statement(caller, handle)?;
        let run = self.executions.start_unticketed(&caller.owner.user);
        self.run(caller, statement, run).await
    }

    /// Runs a prepared statement as an update: once for each row of values, and gives the sum of the counts.
    pub(super) async fn prepared_update(&self, caller: &Caller, handle: &[u8], values: Option<RecordBatch>) -> Result<i64, Status> {
        let prepared = self.prepared.get(handle, &caller.owner.user, Instant::now())?;
        let Some(values) = values.or(prepared.bound) else {
            return self.count(statement_of(caller, prepared.sql, None)).await;
        };
        let mut sum = 0_i64;
        for row in 0..values.num_rows() {
            let count = self.count(statement_of(caller, prepared.sql.clone(), Some(values.slice(row, 1)))).await?;
            // Once unknown, the sum stays unknown.
            sum = if sum < 0 || count < 0 { -1 } else { sum.saturating_add(count) };
        }
        Ok(sum)
    }

    fn bound_statement(&self, caller: &Caller, handle: &[u8]) -> Result<Statement, Status> {
        let prepared = self.prepared.get(handle, &caller.owner.user, Instant::now())?;
        let bound = prepared.bound.filter(|values| values.num_rows() > 0);
        match bound.as_ref().map(RecordBatch::num_rows) {
            None | Some(1) => Ok(statement_of(caller, prepared.sql, bound)),
            Some(rows) => {
                let message = format!("{rows} rows of values are bound to a statement that gives rows");
                Err(status::of(&Error::new(Code::InvalidParameterUsage, message).with_hint("bind one row"), None))
            }
        }
    }
}

fn no_such_statement() -> Status {
    status::no_such("the prepared statement", "prepare it again")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::super::headers::{Headers, Identity};
    use super::super::sessions::Sessions;
    use super::*;

    fn statement(sessions: &Sessions, user: &str) -> Result<PreparedStatement, Status> {
        let headers = Headers { identity: Identity::User(user.to_owned()), cookie: None, catalog: None, schema: None, properties: Vec::new() };
        let caller = sessions.resolve(&headers, |user| Session::new(user, "lake", None), Instant::now())?;
        let schema = Arc::new(Schema::empty());
        Ok(PreparedStatement { sql: "SELECT 1".to_owned(), owner: caller.owner, session: caller.session, schema, bound: None })
    }

    #[test]
    fn a_session_has_a_limit_that_closing_and_expiry_give_back() -> Result<(), Box<dyn std::error::Error>> {
        let prepared = PreparedStatements::new();
        let sessions = Sessions::new();
        let (ada, bob) = (statement(&sessions, "ada")?, statement(&sessions, "bob")?);
        let now = Instant::now();
        let first = prepared.add(ada.clone(), now)?;
        for _ in 1..limits::PREPARED_PER_SESSION_MAX {
            prepared.add(ada.clone(), now)?;
        }
        assert_eq!(prepared.add(ada.clone(), now).err().map(|error| error.code()), Some(Code::GenericInsufficientResources));
        prepared.add(bob, now)?;
        prepared.close(first.as_bytes(), "bob", now);
        assert!(prepared.add(ada.clone(), now).is_err());
        prepared.close(first.as_bytes(), "ada", now);
        prepared.add(ada.clone(), now)?;
        prepared.add(ada.clone(), now + limits::PREPARED_IDLE_MAX)?;
        assert_eq!(lock(&prepared.0).counts.len(), 1);
        Ok(())
    }

    #[test]
    fn a_handle_is_its_users_until_it_is_closed() -> Result<(), Box<dyn std::error::Error>> {
        let prepared = PreparedStatements::new();
        let now = Instant::now();
        let ada = statement(&Sessions::new(), "ada")?;
        let handle = prepared.add(ada.clone(), now)?;
        assert!(prepared.get(handle.as_bytes(), "ada", now).is_ok());
        assert!(prepared.get(handle.as_bytes(), "bob", now).is_err());
        prepared.close_session(&ada.owner);
        assert_eq!(prepared.get(handle.as_bytes(), "ada", now).err().map(|status| status.code()), Some(tonic::Code::NotFound));
        Ok(())
    }
}
