//! Statements: planning them for a ticket, running them for a ticket, running updates for their count.

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow_flight::sql::{CommandStatementQuery, CommandStatementUpdate, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightEndpoint, Ticket};
use futures::{StreamExt, TryStreamExt};
use nunatak_coordinator::query::{Prepared, Request, Running, Session, StatementKind, StoredSession};
use nunatak_core::Error;
use nunatak_core::error::Code;
use prost::Message;
use prost::bytes::Bytes;
use tonic::{Response, Status};

use super::carried::Carried;
use super::encode::{self, DataStream};
use super::executions::{Run, Statement};
use super::sessions::{Caller, Owner, apply};
use super::{Service, status};

/// What Flight SQL wants where the number of changed rows is unknown.
const COUNT_UNKNOWN: i64 = -1;

impl Service {
    /// Plans a statement, and gives the exact schema of its rows.
    pub(super) async fn plan(&self, session: &Session, sql: &str) -> Result<Prepared, Status> {
        self.coordinator.prepare(session, sql).await.map_err(|error| status::failed(&error, &session.user, None))
    }

    /// The schema of a statement's rows.
    pub(super) async fn statement_schema(&self, caller: &Caller, query: &CommandStatementQuery) -> Result<Bytes, Status> {
        refuse_transaction(query.transaction_id.as_ref())?;
        encode::schema_bytes(&self.plan(&caller.session, &query.query).await?.schema)
    }

    /// The schema of a statement's rows, and a ticket for them. It does not start: an update may not run for being asked about.
    pub(super) async fn statement_info(&self, caller: &Caller, query: CommandStatementQuery) -> Result<(Bytes, FlightEndpoint), Status> {
        refuse_transaction(query.transaction_id.as_ref())?;
        let plan = self.plan(&caller.session, &query.query).await?;
        let statement = Carried::new(query.query, plan.kind == StatementKind::Update, &caller.session).of(&caller.owner);
        Ok((encode::schema_bytes(&plan.schema)?, self.endpoint(statement).await))
    }

    /// A ticket for a statement, and who takes it: anyone, unless the statement stays in this coordinator.
    pub(super) async fn endpoint(&self, statement: Carried) -> FlightEndpoint {
        let issued = self.executions.issue(statement).await;
        let command = TicketStatementQuery { statement_handle: self.seal.close(&issued) }.as_any();
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(command.encode_to_vec()));
        match issued.holder {
            Some(holder) if self.coordinator.may_have_peers() => endpoint.with_location(format!("grpc+tcp://{holder}")),
            _ => endpoint,
        }
    }

    /// Runs what a ticket stands for.
    pub(super) async fn statement_rows(&self, caller: &Caller, ticket: &TicketStatementQuery) -> Result<Response<DataStream>, Status> {
        let (carried, run) = self.executions.redeem(&ticket.statement_handle, &caller.owner.user).await?;
        let (session, parameters) = (carried.session(&self.coordinator)?, carried.values().await?);
        let statement = Statement { owner: carried.owner(&caller.owner), sql: carried.sql, session, parameters };
        self.run(caller, statement, run).await
    }

    /// Runs a statement and sends its rows. When the client drops the stream the query is cancelled, since its rows are dropped with it.
    pub(super) async fn run(&self, caller: &Caller, statement: Statement, run: Run) -> Result<Response<DataStream>, Status> {
        let user = statement.owner.user.clone();
        let running = tokio::select! {
            submitted = self.submit(statement) => submitted?,
            () = run.cancelled() => {
                return Err(status::failed(&Error::new(Code::UserCanceled, "the query was cancelled before it started"), &user, None));
            }
        };
        let Running { id, schema, rows, .. } = running;
        run.accepted(&id, &self.coordinator);
        let mut response = caller.answer(());
        status::insert_query_id(response.metadata_mut(), &id);
        let rows = rows.map(move |item| {
            // Holds the run for as long as the rows flow.
            let _ = &run;
            item.map_err(|error| status::failed(&error, &user, Some(&id)))
        });
        Ok(response.map(|()| encode::rows(schema, rows)))
    }

    /// Runs an update that has no handle, and gives its count.
    pub(super) async fn statement_update(&self, caller: &Caller, update: CommandStatementUpdate) -> Result<i64, Status> {
        refuse_transaction(update.transaction_id.as_ref())?;
        self.count(statement_of(caller, update.query, None)).await
    }

    /// Runs a statement to its end and gives how many rows it changed.
    pub(super) async fn count(&self, statement: Statement) -> Result<i64, Status> {
        let user = statement.owner.user.clone();
        let Running { id, kind, mut rows, .. } = self.submit(statement).await?;
        let mut count = 0;
        while let Some(batch) = rows.try_next().await.map_err(|error| status::failed(&error, &user, Some(&id)))? {
            if kind == StatementKind::Update {
                count += changed_rows(&batch);
            }
        }
        Ok(if kind == StatementKind::Update { count } else { COUNT_UNKNOWN })
    }

    /// Starts a statement, and takes over what it changed in its session.
    async fn submit(&self, statement: Statement) -> Result<Running, Status> {
        let Statement { sql, session, owner, parameters } = statement;
        let Owner { user, .. } = &owner;
        let submitted = self.coordinator.submit(Request { sql, session, parameters, is_listed: false }).await;
        let mut running = submitted.map_err(|error| status::failed(&error, user, None))?;
        let changes = std::mem::take(&mut running.session_changes);
        if !changes.is_empty() {
            let change = |stored: &mut StoredSession| changes.iter().for_each(|change| apply(stored, change));
            self.sessions.update(&owner, &change).await?;
        }
        Ok(running)
    }
}

/// A statement of the caller's, in the session of this call.
pub(super) fn statement_of(caller: &Caller, sql: String, parameters: Option<RecordBatch>) -> Statement {
    Statement { sql, session: caller.session.clone(), owner: caller.owner.clone(), parameters }
}

/// Transactions are not advertised; a client that names one all the same must not believe that its statement is part of one.
fn refuse_transaction(transaction: Option<&Bytes>) -> Result<(), Status> {
    match transaction {
        Some(id) if !id.is_empty() => Err(status::unsupported("transactions are not supported: each statement is committed by itself")),
        _ => Ok(()),
    }
}

/// The count in an update's batch. A null is a statement that changes no rows, such as CREATE TABLE. That is none and not an unknown number: to
/// JDBC's driver -1 means that there are rows to fetch, and it then runs the statement once more as a query.
fn changed_rows(batch: &RecordBatch) -> i64 {
    let counts = batch.columns().first().and_then(|column| column.as_any().downcast_ref::<Int64Array>());
    counts.map(|counts| counts.iter().flatten().sum()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::error::ArrowError;

    use super::*;

    #[test]
    fn a_null_count_is_no_rows() -> Result<(), ArrowError> {
        for (count, wanted) in [(Some(7), 7), (Some(0), 0), (None, 0)] {
            let batch = RecordBatch::try_from_iter_with_nullable([("rows", Arc::new(Int64Array::from(vec![count])) as _, true)])?;
            assert_eq!(changed_rows(&batch), wanted);
        }
        Ok(())
    }
}
