//! DoAction: prepared statements, cancellation, session options; and a clear refusal of the others.

use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, Any, Command,
    ProstMessageExt,
};
use arrow_flight::{Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use nunatak_core::{Code, Error};
use prost::Message;
use serde::Serialize;
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use super::executions::{Found, held_elsewhere};
use super::sessions::Caller;
use super::{Service, command, peers, status};

/// The results of an action.
pub(super) type ResultStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;

/// The actions there are, and what each does.
const ACTIONS: [(&str, &str); 7] = [
    ("CreatePreparedStatement", "Prepares a statement. ActionCreatePreparedStatementRequest -> ActionCreatePreparedStatementResult"),
    ("ClosePreparedStatement", "Closes a prepared statement. ActionClosePreparedStatementRequest -> nothing"),
    ("CancelFlightInfo", "Cancels a query. CancelFlightInfoRequest -> CancelFlightInfoResult"),
    ("CancelQuery", "Cancels a query; superseded by CancelFlightInfo. ActionCancelQueryRequest -> ActionCancelQueryResult"),
    ("SetSessionOptions", "Sets catalog, schema and session properties. SetSessionOptionsRequest -> SetSessionOptionsResult"),
    ("GetSessionOptions", "Gives catalog, schema and session properties. GetSessionOptionsRequest -> GetSessionOptionsResult"),
    ("CloseSession", "Ends the session. CloseSessionRequest -> CloseSessionResult"),
];

/// What `list_actions` answers.
pub(super) fn list() -> BoxStream<'static, Result<ActionType, Status>> {
    let actions = ACTIONS.map(|(name, description)| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() }));
    stream::iter(actions).boxed()
}

impl Service {
    /// Does an action of a call with these headers.
    pub(super) async fn act(&self, caller: &Caller, action: Action, metadata: &MetadataMap) -> Result<Response<ResultStream>, Status> {
        match action.r#type.as_str() {
            "CreatePreparedStatement" => {
                let request: ActionCreatePreparedStatementRequest = unpack(&action)?;
                Ok(caller.answer(one(self.prepare(caller, request).await?.as_any().encode_to_vec())))
            }
            "ClosePreparedStatement" => {
                let request: ActionClosePreparedStatementRequest = unpack(&action)?;
                self.close_prepared(caller, &request.prepared_statement_handle);
                Ok(caller.answer(stream::empty().boxed()))
            }
            "CancelFlightInfo" => {
                let request: CancelFlightInfoRequest = decode(&action)?;
                let status = self.cancel(caller, &request.info.unwrap_or_default(), metadata).await?;
                Ok(caller.answer(one(CancelFlightInfoResult::new(status).encode_to_vec())))
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = unpack(&action)?;
                let info = FlightInfo::decode(request.info).map_err(|error| unreadable(&action, &error))?;
                // The two messages share their numbers.
                let result = ActionCancelQueryResult { result: self.cancel(caller, &info, metadata).await?.into() };
                Ok(caller.answer(one(result.as_any().encode_to_vec())))
            }
            "SetSessionOptions" => {
                let result = self.set_session_options(caller, decode(&action)?).await?;
                Ok(caller.answer(one(result.encode_to_vec())))
            }
            "GetSessionOptions" => Ok(caller.answer(one(Self::get_session_options(caller).encode_to_vec()))),
            "CloseSession" => Ok(Caller::farewell(one(self.close_session(caller).await.encode_to_vec()))),
            peers::LIST => json(&self.coordinator.queries_here()),
            peers::KILL => {
                let to_kill: peers::ToKill = serde_json::from_slice(&action.body).map_err(|error| unreadable(&action, &error))?;
                json(&self.coordinator.kill_here(&to_kill.id, &caller.owner.user, &to_kill.message))
            }
            other => Err(refusal(other)),
        }
    }

    /// Cancels the query that a flight info was given for, whichever coordinator runs it.
    async fn cancel(&self, caller: &Caller, info: &FlightInfo, metadata: &MetadataMap) -> Result<CancelStatus, Status> {
        let ticket = info.endpoint.iter().find_map(|endpoint| statement_ticket(&endpoint.ticket.as_ref()?.ticket)).ok_or_else(no_such_query)?;
        let found = self.executions.cancel(&ticket, &caller.owner.user, &self.coordinator).await?;
        let others = if peers::is_passed_on(metadata) { Vec::new() } else { self.coordinator.peers() };
        let asked = match &found {
            Found::Running => return Ok(CancelStatus::Cancelling),
            Found::NotBegun => return Ok(CancelStatus::Cancelled),
            Found::Nothing => return Err(no_such_query()),
            Found::At(holder) if !others.contains(holder) => return Err(held_elsewhere("the ticket", holder)),
            Found::At(holder) => vec![holder.clone()],
            Found::NotHere | Found::Taken(_) => others,
        };
        let answers = peers::cancel(asked, info, metadata).await;
        match found {
            _ if answers.is_cancelling => Ok(CancelStatus::Cancelling),
            _ if !answers.silent.is_empty() => {
                let message = format!("these coordinators, which may run the query, cannot be told to cancel it: {}", answers.silent.join(", "));
                Err(status::of(&Error::new(Code::RemoteHostGone, message).with_hint("try again, or end the stream of its rows"), None))
            }
            // Nobody runs it, and all know now that it must not.
            Found::NotHere => Ok(CancelStatus::Cancelled),
            Found::At(_) if answers.is_cancelled => Ok(CancelStatus::Cancelled),
            Found::Taken(Some(status)) => Err(status),
            _ => Err(no_such_query()),
        }
    }
}

fn no_such_query() -> Status {
    status::no_such("the query", "it may have ended already")
}

fn refusal(action: &str) -> Status {
    match action {
        "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => {
            status::unsupported(format!("action {action}: transactions are not supported, each statement is committed by itself"))
        }
        "CreatePreparedSubstraitPlan" => status::unsupported(format!("action {action}: Substrait plans are not supported, send SQL")),
        other => {
            let names = ACTIONS.map(|(name, _)| name).join(", ");
            status::unsupported(format!("there is no action '{other}', only {names}"))
        }
    }
}

fn statement_ticket(ticket: &Bytes) -> Option<Bytes> {
    match command(ticket).ok()? {
        Command::TicketStatementQuery(ticket) => Some(ticket.statement_handle),
        _ => None,
    }
}

/// The request of one of Flight SQL's actions: packed into an `Any`.
fn unpack<M: ProstMessageExt>(action: &Action) -> Result<M, Status> {
    let any = Any::decode(action.body.clone()).map_err(|error| unreadable(action, &error))?;
    let request = any.unpack().map_err(|error| unreadable(action, &error))?;
    request.ok_or_else(|| unreadable(action, &format!("it holds a '{}'", any.type_url)))
}

/// The request of one of Flight's own actions: as it is.
fn decode<M: Message + Default>(action: &Action) -> Result<M, Status> {
    M::decode(action.body.clone()).map_err(|error| unreadable(action, &error))
}

fn unreadable(action: &Action, cause: &dyn std::fmt::Display) -> Status {
    status::malformed(format!("the request of the action {} cannot be read: {cause}", action.r#type))
}

/// An answer for another coordinator.
fn json(value: &impl Serialize) -> Result<Response<ResultStream>, Status> {
    let unwritable = |error: serde_json::Error| status::of(&Error::internal("an answer cannot be written as JSON").with_source(error), None);
    serde_json::to_vec(value).map(|body| Response::new(one(body))).map_err(unwritable)
}

fn one(body: Vec<u8>) -> ResultStream {
    stream::iter([Ok(arrow_flight::Result::new(body))]).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_there_is() {
        let status = refusal("Fly");
        assert_eq!(status.code(), tonic::Code::Unimplemented);
        assert!(status.message().contains("there is no action 'Fly', only CreatePreparedStatement, "), "{}", status.message());
        assert!(refusal("BeginTransaction").message().contains("transactions are not supported"));
    }
}
