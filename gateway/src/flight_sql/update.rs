//! DoPut: updates, and values for the parameters of prepared statements.

use arrow_flight::sql::{Command, CommandPreparedStatementQuery, DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use prost::Message;
use tonic::{Response, Status, Streaming};

use super::sessions::Caller;
use super::{Service, command, parameters, status, unsupported_command};
use crate::limits;

/// What DoPut answers with.
type PutStream = BoxStream<'static, Result<PutResult, Status>>;

impl Service {
    /// Does what the command in the first message says.
    pub(super) async fn put(&self, caller: &Caller, mut messages: Streaming<FlightData>) -> Result<Response<PutStream>, Status> {
        let first = messages.message().await?.ok_or_else(|| status::malformed("the call has no message, and so no command"))?;
        let descriptor = first.flight_descriptor.as_ref().ok_or_else(|| status::malformed("the first message has no descriptor"))?;
        match command(&descriptor.cmd)? {
            Command::CommandStatementUpdate(update) => {
                let count = self.statement_update(caller, update).await?;
                Ok(caller.answer(result_then_end(count_result(count), messages)))
            }
            Command::CommandPreparedStatementUpdate(update) => {
                let values = parameters::read(stream::iter([Ok(first)]).chain(messages)).await?;
                let count = self.prepared_update(caller, &update.prepared_statement_handle, values).await?;
                Ok(caller.answer(one(count_result(count))))
            }
            Command::CommandPreparedStatementQuery(CommandPreparedStatementQuery { prepared_statement_handle }) => {
                let values = parameters::read(stream::iter([Ok(first)]).chain(messages)).await?;
                let bound = self.bind_prepared(caller, &prepared_statement_handle, values).await?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(bound) };
                Ok(caller.answer(one(PutResult { app_metadata: result.encode_to_vec().into() })))
            }
            other => Err(unsupported_command(&other)),
        }
    }
}

fn count_result(record_count: i64) -> PutResult {
    PutResult { app_metadata: DoPutUpdateResult { record_count }.encode_to_vec().into() }
}

fn one(result: PutResult) -> PutStream {
    stream::iter([Ok(result)]).boxed()
}

/// The result at once, then the end of the call when the client has ended its side. The clients in C++ (ODBC is one) end theirs only when they have
/// the result; others send an empty batch first, and take it ill if the call ends before it was read.
fn result_then_end(result: PutResult, messages: Streaming<FlightData>) -> PutStream {
    let read_to_end = async move {
        let mut messages = messages;
        let reading = async { while let Ok(Some(_)) = messages.message().await {} };
        // A client that never ends its side loses nothing by our ending ours.
        let _ = tokio::time::timeout(limits::UPDATE_END_WAIT, reading).await;
        stream::empty()
    };
    one(result).chain(stream::once(read_to_end).flatten()).boxed()
}
