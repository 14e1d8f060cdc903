//! Prepared statements: made and closed by actions, bound by DoPut, run by ticket (queries) or DoPut (updates).
//!
//! A handle carries its statement, and the one that binding gives carries the values, too: so any coordinator takes it, and nothing of it is kept here. What is too long
//! to travel is; and so are values that were bound, for clients that go on with the handle that they had.

use std::sync::Mutex;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow_flight::FlightEndpoint;
use arrow_flight::sql::{ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult};
use bytes::Bytes;
use nunatak_coordinator::query::StatementKind;
use nunatak_core::Error;
use nunatak_core::error::Code;
use nunatak_core::expiring::{Expiring, Renewal, lock};
use tonic::{Response, Status};
use uuid::Uuid;

use super::carried::Carried;
use super::encode::{self, DataStream};
use super::executions::held_elsewhere;
use super::seal::Seal;
use super::sessions::Caller;
use super::statements::statement_of;
use super::{Service, status};
use crate::limits;

/// What is kept of prepared statements.
pub(super) struct PreparedStatements {
    seal: Seal,
    /// Statements whose handles do not carry them.
    held: Mutex<Expiring<Carried>>,
    /// The values bound last, and by whom.
    bound: Mutex<Expiring<(String, RecordBatch)>>,
}

impl PreparedStatements {
    /// None yet.
    pub(super) fn new(seal: Seal) -> Self {
        Self {
            seal,
            held: Mutex::new(Expiring::new(limits::PREPARED_IDLE_MAX, Renewal::Use, limits::HELD_MAX)),
            bound: Mutex::new(Expiring::new(limits::PREPARED_IDLE_MAX, Renewal::Use, limits::BOUND_MAX)),
        }
    }

    /// The handle of a statement of the coordinator at `here`.
    fn handle(&self, statement: Carried, here: &str) -> Bytes {
        if statement.can_travel() {
            return self.seal.close(&statement);
        }
        let stub = statement.stub(here);
        if let Some(id) = stub.id() {
            lock(&self.held).insert(id, statement, Instant::now());
        }
        self.seal.close(&stub)
    }

    /// What a user's handle stands for.
    fn get(&self, handle: &Bytes, user: &str, here: &str) -> Result<(Uuid, Carried), Status> {
        let (id, carried) = self.open(handle)?;
        let statement = match &carried.holder {
            Some(holder) if holder != here => return Err(held_elsewhere("the prepared statement", holder)),
            Some(_) => lock(&self.held).get(id, Instant::now()).cloned().ok_or_else(no_such_statement)?,
            None => carried,
        };
        if statement.user == user { Ok((id, statement)) } else { Err(no_such_statement()) }
    }

    fn open(&self, handle: &Bytes) -> Result<(Uuid, Carried), Status> {
        self.seal.open(handle, "the prepared statement", "prepare it again")
    }

    fn bind(&self, id: Uuid, user: &str, values: Option<RecordBatch>) {
        let now = Instant::now();
        let mut bound = lock(&self.bound);
        match values {
            Some(values) => drop(bound.insert(id, (user.to_owned(), values), now)),
            None => drop(bound.remove(id, now)),
        }
    }

    fn bound(&self, id: Uuid, user: &str) -> Option<RecordBatch> {
        lock(&self.bound).get(id, Instant::now()).filter(|(owner, _)| owner == user).map(|(_, values)| values.clone())
    }

    /// Closes a statement. Of one that was closed before, or is kept nowhere, nothing is left.
    fn close(&self, handle: &Bytes, user: &str) {
        let now = Instant::now();
        let Ok((id, carried)) = self.open(handle) else { return };
        let mut held = lock(&self.held);
        let is_theirs = match carried.holder {
            Some(_) => held.get(id, now).is_some_and(|statement| statement.user == user),
            None => carried.user == user,
        };
        if is_theirs {
            held.remove(id, now);
            lock(&self.bound).remove(id, now);
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
        let rows_schema = encode::schema_bytes(&plan.schema)?;
        let dataset_schema = match plan.kind {
            StatementKind::Query => rows_schema.clone(),
            // By this JDBC's driver knows that it has to run the statement as an update.
            StatementKind::Update => Bytes::new(),
        };
        let parameter_schema = encode::schema_bytes(&plan.parameters)?;
        let mut statement = Carried::new(request.query, plan.kind == StatementKind::Update, &caller.session);
        statement.rows_schema = rows_schema;
        let prepared_statement_handle = self.prepared.handle(statement, self.coordinator.flight());
        Ok(ActionCreatePreparedStatementResult { prepared_statement_handle, dataset_schema, parameter_schema })
    }

    /// Closes a prepared statement.
    pub(super) fn close_prepared(&self, caller: &Caller, handle: &Bytes) {
        self.prepared.close(handle, &caller.owner.user);
    }

    /// Binds values to the parameters of a prepared statement, and gives the handle by which any coordinator knows of them.
    pub(super) async fn bind_prepared(&self, caller: &Caller, handle: &Bytes, values: Option<RecordBatch>) -> Result<Bytes, Status> {
        let (id, mut statement) = self.prepared(caller, handle)?;
        self.prepared.bind(id, &caller.owner.user, values.clone());
        let is_too_large = values.as_ref().is_some_and(|values| values.get_array_memory_size() > limits::HANDLE_BYTES_MAX);
        if is_too_large || !statement.can_travel() {
            return Ok(handle.clone());
        }
        statement.bind(values).await?;
        Ok(if statement.can_travel() { self.prepared.seal.close(&statement) } else { handle.clone() })
    }

    /// The schema of a prepared statement's rows.
    pub(super) async fn prepared_schema(&self, caller: &Caller, handle: &Bytes) -> Result<Bytes, Status> {
        let (_, prepared) = self.prepared(caller, handle)?;
        self.rows_schema(caller, &prepared).await
    }

    /// The schema of a prepared statement's rows, and a ticket for them with the values that are bound now.
    pub(super) async fn prepared_info(&self, caller: &Caller, handle: &Bytes) -> Result<(Bytes, FlightEndpoint), Status> {
        let (id, prepared) = self.prepared(caller, handle)?;
        let values = self.bound_row(caller, id, &prepared).await?;
        let schema = self.rows_schema(caller, &prepared).await?;
        let mut statement = Carried::new(prepared.sql, prepared.is_update, &caller.session).of(&caller.owner);
        statement.bind(values).await?;
        Ok((schema, self.endpoint(statement).await))
    }

    /// Runs a prepared statement that was asked for by its handle instead of a ticket.
    pub(super) async fn prepared_rows(&self, caller: &Caller, handle: &Bytes) -> Result<Response<DataStream>, Status> {
        let (id, prepared) = self.prepared(caller, handle)?;
        let values = self.bound_row(caller, id, &prepared).await?;
        let run = self.executions.start_unticketed(&caller.owner.user);
        self.run(caller, statement_of(caller, prepared.sql, values), run).await
    }

    /// Runs a prepared statement as an update: once for each row of values, and gives the sum of the counts.
    pub(super) async fn prepared_update(&self, caller: &Caller, handle: &Bytes, values: Option<RecordBatch>) -> Result<i64, Status> {
        let (id, prepared) = self.prepared(caller, handle)?;
        let values = match values {
            Some(values) => Some(values),
            None => self.bound_values(caller, id, &prepared).await?,
        };
        let Some(values) = values else {
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

    fn prepared(&self, caller: &Caller, handle: &Bytes) -> Result<(Uuid, Carried), Status> {
        self.prepared.get(handle, &caller.owner.user, self.coordinator.flight())
    }

    /// Planned again where the session has changed since, as names may now mean other tables.
    async fn rows_schema(&self, caller: &Caller, prepared: &Carried) -> Result<Bytes, Status> {
        if prepared.claimed_session() == caller.session {
            return Ok(prepared.rows_schema.clone());
        }
        encode::schema_bytes(&self.plan(&caller.session, &prepared.sql).await?.schema)
    }

    /// The values that the handle carries, or those that were bound here last.
    async fn bound_values(&self, caller: &Caller, id: Uuid, prepared: &Carried) -> Result<Option<RecordBatch>, Status> {
        Ok(prepared.values().await?.or_else(|| self.prepared.bound(id, &caller.owner.user)))
    }

    /// The same for a statement that gives rows.
    async fn bound_row(&self, caller: &Caller, id: Uuid, prepared: &Carried) -> Result<Option<RecordBatch>, Status> {
        let bound = self.bound_values(caller, id, prepared).await?.filter(|values| values.num_rows() > 0);
        match bound.as_ref().map(RecordBatch::num_rows) {
            None | Some(1) => Ok(bound),
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

    use arrow::array::Int64Array;
    use nunatak_coordinator::query::{SESSION_IDLE_MAX, Session};
    use nunatak_state::EmbeddedSessions;

    use super::*;

    const HERE: &str = "h:1";

    /// Those of two coordinators of a cluster.
    fn two() -> (PreparedStatements, PreparedStatements) {
        let seal = Seal::new(Arc::new(EmbeddedSessions::new(SESSION_IDLE_MAX)));
        (PreparedStatements::new(seal.clone()), PreparedStatements::new(seal))
    }

    fn statement(sql: String) -> Carried {
        Carried::new(sql, false, &Session::new("ada", "lake", None))
    }

    fn missing<T>(outcome: Result<T, Status>) -> Option<tonic::Code> {
        outcome.err().map(|status| status.code())
    }

    #[test]
    fn a_handle_is_its_users_wherever_it_is_brought() -> Result<(), Status> {
        let (one, other) = two();
        let handle = one.handle(statement("SELECT 1".to_owned()), HERE);
        assert_eq!(other.get(&handle, "ada", "h:2")?.1.sql, "SELECT 1");
        assert_eq!(missing(other.get(&handle, "bob", "h:2")), Some(tonic::Code::NotFound));
        assert!(lock(&one.held).expire(Instant::now() + limits::PREPARED_IDLE_MAX).is_empty(), "nothing of it is kept");
        Ok(())
    }

    #[test]
    fn a_long_statement_stays_until_it_is_closed() -> Result<(), Status> {
        let (one, other) = two();
        let long = "x".repeat(limits::HANDLE_BYTES_MAX);
        let handle = one.handle(statement(long.clone()), HERE);
        assert!(handle.len() < 150);
        let elsewhere = other.get(&handle, "ada", "h:2").err().map(|status| status.message().to_owned());
        assert!(elsewhere.is_some_and(|text| text.contains("the coordinator at h:1 holds")));
        assert_eq!(missing(one.get(&handle, "bob", HERE)), Some(tonic::Code::NotFound));
        one.close(&handle, "bob");
        assert_eq!(one.get(&handle, "ada", HERE)?.1.sql, long);
        one.close(&handle, "ada");
        assert_eq!(missing(one.get(&handle, "ada", HERE)), Some(tonic::Code::NotFound));
        Ok(())
    }

    #[test]
    fn values_are_their_users_until_the_statement_is_closed() -> Result<(), Box<dyn std::error::Error>> {
        let (prepared, _) = two();
        let handle = prepared.handle(statement("SELECT ?".to_owned()), HERE);
        let (id, _) = prepared.get(&handle, "ada", HERE)?;
        let values = RecordBatch::try_from_iter([("$1", Arc::new(Int64Array::from(vec![1])) as _)])?;
        prepared.bind(id, "ada", Some(values.clone()));
        assert_eq!((prepared.bound(id, "ada"), prepared.bound(id, "bob")), (Some(values.clone()), None));
        prepared.bind(id, "ada", None);
        assert_eq!(prepared.bound(id, "ada"), None);
        prepared.bind(id, "ada", Some(values));
        prepared.close(&handle, "ada");
        assert_eq!(prepared.bound(id, "ada"), None);
        Ok(())
    }
}
