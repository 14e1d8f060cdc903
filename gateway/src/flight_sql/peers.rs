//! The other coordinators of the cluster: a query that is to be cancelled may run at any of them.

use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::join_all;
use nunatak_coordinator::query::{Kill, ListedQuery};
use nunatak_core::Error;
use prost::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// The header of a call that another coordinator has passed on, and that is passed on no more.
const PASSED_ON: &str = "nunatak-passed-on";

/// What says who calls.
const IDENTITY: [&str; 2] = ["authorization", "cookie"];

/// How long a coordinator may take to be reached, and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether another coordinator has passed on a call.
pub(super) fn is_passed_on(metadata: &MetadataMap) -> bool {
    metadata.contains_key(PASSED_ON)
}

/// What all of some coordinators say to a cancellation.
pub(super) struct Answers {
    /// Whether one of them runs the query, and ends it.
    pub(super) is_cancelling: bool,
    /// Whether one of them had it, and has not begun to run it.
    pub(super) is_cancelled: bool,
    /// Those that could not be asked, with the reason.
    pub(super) silent: Vec<String>,
}

/// Asks the coordinators at `addresses` to cancel the query that a flight info was given for, as the caller whose headers these are.
pub(super) async fn cancel(addresses: Vec<String>, info: &FlightInfo, metadata: &MetadataMap) -> Answers {
    let asked = join_all(addresses.into_iter().map(|address| async move {
        let call = tokio::time::timeout(CALL_TIMEOUT, cancel_at(&address, info, metadata)).await;
        call.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))).map_err(|status| (address, status))
    }));
    let mut answers = Answers { is_cancelling: false, is_cancelled: false, silent: Vec::new() };
    for answer in asked.await {
        match answer {
            Ok(status) => {
                answers.is_cancelling |= status == CancelStatus::Cancelling;
                answers.is_cancelled |= status == CancelStatus::Cancelled;
            }
            // It knows of no such query.
            Err((_, status)) if status.code() == Code::NotFound => {}
            Err((address, status)) => answers.silent.push(format!("{address} ({})", status.message())),
        }
    }
    answers
}

async fn cancel_at(address: &str, info: &FlightInfo, metadata: &MetadataMap) -> Result<CancelStatus, Status> {
    let channel = connect(address).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let body = CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
    let mut request = Request::new(Action::new("CancelFlightInfo", body));
    for name in IDENTITY {
        for value in metadata.get_all(name) {
            request.metadata_mut().append(name, value.clone());
        }
    }
    request.metadata_mut().insert(PASSED_ON, MetadataValue::from_static("1"));
    let mut results = FlightServiceClient::new(channel).do_action(request).await?.into_inner();
    let result = results.message().await?.ok_or_else(|| Status::internal("an answer without a result"))?;
    let result = CancelFlightInfoResult::decode(result.body).map_err(|error| Status::internal(error.to_string()))?;
    Ok(result.status())
}

/// What lists the queries of a coordinator, and what ends one of them. Only coordinators ask so.
pub(super) const LIST: &str = "ListQueries";
pub(super) const KILL: &str = "KillQuery";

/// The largest list of queries that is taken.
const LIST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A query that is to be ended.
#[derive(Serialize, Deserialize)]
pub(super) struct ToKill {
    pub(super) id: String,
    pub(super) message: String,
}

/// The queries of the coordinator at `address`.
pub(crate) async fn queries_at(address: &str) -> Result<Vec<ListedQuery>, Error> {
    ask(address, Request::new(Action::new(LIST, Bytes::new()))).await
}

/// Ends one of these, for a user.
pub(crate) async fn kill_at(address: &str, id: &str, user: &str, message: &str) -> Result<Kill, Error> {
    let to_kill = ToKill { id: id.to_owned(), message: message.to_owned() };
    let body = serde_json::to_vec(&to_kill).map_err(|error| Error::internal("a query that is to be ended cannot be named").with_source(error))?;
    let mut request = Request::new(Action::new(KILL, body));
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:")));
    let basic = MetadataValue::<Ascii>::try_from(basic).map_err(|error| Error::internal("a user cannot be named").with_source(error))?;
    request.metadata_mut().insert("authorization", basic);
    ask(address, request).await
}

/// The one result of an action, which is JSON.
async fn ask<T: DeserializeOwned>(address: &str, request: Request<Action>) -> Result<T, Error> {
    let failed = |why: String| Error::new(nunatak_core::Code::RemoteTaskError, format!("the coordinator at {address} cannot be asked: {why}"));
    let channel = connect(address).await.map_err(|error| failed(error.to_string()))?;
    let mut client = FlightServiceClient::new(channel).max_decoding_message_size(LIST_BYTES_MAX);
    let mut results = client.do_action(request).await.map_err(|status| failed(status.message().to_owned()))?.into_inner();
    let result = results.message().await.map_err(|status| failed(status.message().to_owned()))?;
    let result = result.ok_or_else(|| failed("there is no answer".to_owned()))?;
    serde_json::from_slice(&result.body).map_err(|error| failed(error.to_string()))
}

async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect().await
}
