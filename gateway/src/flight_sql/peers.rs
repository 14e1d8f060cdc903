//! The other coordinators of the cluster: a query that is to be cancelled may run at any of them.

use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo};
use futures::future::join_all;
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
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

async fn connect(address: &str) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect().await
}
