//! The Flight SQL door.
//!
//! This file is the switch: it reads who calls and which command, hands over to the file of the concern, and answers. It implements Flight's service
//! itself and not arrow-flight's `FlightSqlService`: that one has no GetSchema, and a pair of methods for each metadata command where here one
//! schema and one batch do.

mod actions;
mod carried;
mod encode;
mod executions;
mod handshake;
mod headers;
mod metadata;
mod parameters;
mod peers;
mod prepared;
mod seal;
mod session_options;
mod sessions;
mod sql_info;
mod statements;
mod status;
mod update;

use std::sync::Arc;

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo,
    PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::stream::BoxStream;
use nunatak_coordinator::query::Coordinator;
use nunatak_core::panics::caught_async;
use nunatak_core::{Error, Result as NunatakResult};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use self::actions::ResultStream;
use self::encode::DataStream;
use self::executions::Executions;
use self::headers::Headers;
use self::metadata::Metadata;
pub(crate) use self::peers::{kill_at, queries_at};
use self::prepared::PreparedStatements;
use self::seal::Seal;
use self::sessions::{Caller, Sessions};
use crate::limits;

/// Bytes that a client may send ahead on one stream, and on one connection: enough to keep a fast network busy with uploads.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Answers on `listener` until `shutdown`, and then until the calls under way have ended.
pub(crate) async fn serve(listener: TcpListener, coordinator: Coordinator, shutdown: CancellationToken) -> NunatakResult<()> {
    let service = FlightServiceServer::new(Service::new(coordinator)?).max_decoding_message_size(limits::REQUEST_BYTES_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(limits::KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(limits::KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(service)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), shutdown.cancelled_owned())
        .await
        .map_err(|error| Error::internal("the Flight SQL server failed").with_source(error))
}

/// The service: what the concerns share.
struct Service {
    coordinator: Coordinator,
    sessions: Sessions,
    executions: Executions,
    prepared: PreparedStatements,
    seal: Seal,
    metadata: Metadata,
}

impl Service {
    fn new(coordinator: Coordinator) -> NunatakResult<Self> {
        let metadata = Metadata::new().map_err(|error| Error::internal("cannot build the metadata of Flight SQL").with_source(error))?;
        let store = coordinator.sessions();
        let sessions = Sessions::new(Arc::clone(store));
        let executions = Executions::new(Arc::clone(coordinator.flight()), Arc::clone(store));
        let seal = Seal::new(Arc::clone(store));
        Ok(Self { sessions, executions, prepared: PreparedStatements::new(seal.clone()), seal, metadata, coordinator })
    }

    /// Who calls, in which session.
    async fn caller(&self, metadata: &MetadataMap) -> Result<Caller, Status> {
        let headers = Headers::read(metadata)?;
        for (name, value) in &headers.properties {
            self.coordinator.check_session_property(name, value).map_err(|error| status::of(&error, None))?;
        }
        self.sessions.resolve(&headers, |user| self.coordinator.default_session(user)).await
    }

    /// The schema of what a command gives.
    async fn schema(&self, caller: &Caller, command: Command) -> Result<Bytes, Status> {
        match command {
            Command::CommandStatementQuery(query) => self.statement_schema(caller, &query).await,
            Command::CommandPreparedStatementQuery(query) => self.prepared_schema(caller, &query.prepared_statement_handle).await,
            other => encode::schema_bytes(self.metadata.schema(other)?.as_ref()),
        }
    }
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = DataStream;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = ResultStream;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = DataStream;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        self.shake_hands(request).await
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        guarded(async move {
            let caller = self.caller(request.metadata()).await?;
            let descriptor = request.into_inner();
            let (schema, endpoint) = match command(&descriptor.cmd)? {
                Command::CommandStatementQuery(query) => self.statement_info(&caller, query).await?,
                Command::CommandPreparedStatementQuery(query) => self.prepared_info(&caller, &query.prepared_statement_handle).await?,
                other => {
                    let schema = encode::schema_bytes(self.metadata.schema(other.clone())?.as_ref())?;
                    (schema, FlightEndpoint::new().with_ticket(Ticket::new(other.into_any().encode_to_vec())))
                }
            };
            let info = FlightInfo { schema, ..FlightInfo::new() };
            Ok(caller.answer(info.with_endpoint(endpoint).with_descriptor(descriptor)))
        })
        .await
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        guarded(async move {
            let caller = self.caller(request.metadata()).await?;
            let schema = self.schema(&caller, command(&request.get_ref().cmd)?).await?;
            Ok(caller.answer(SchemaResult { schema }))
        })
        .await
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        guarded(async move {
            let caller = self.caller(request.metadata()).await?;
            match command(&request.get_ref().ticket)? {
                Command::TicketStatementQuery(ticket) => self.statement_rows(&caller, &ticket).await,
                Command::CommandPreparedStatementQuery(query) => self.prepared_rows(&caller, &query.prepared_statement_handle).await,
                other => Ok(caller.answer(encode::batch(self.metadata.rows(&self.coordinator, &caller.owner.user, other).await?))),
            }
        })
        .await
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        guarded(async move {
            let caller = self.caller(request.metadata()).await?;
            self.put(&caller, request.into_inner()).await
        })
        .await
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        guarded(async move {
            let (metadata, _, action) = request.into_parts();
            let caller = self.caller(&metadata).await?;
            self.act(&caller, action, &metadata).await
        })
        .await
    }

    async fn list_actions(&self, _request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(actions::list()))
    }

    async fn list_flights(&self, _request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(status::unsupported("ListFlights is not supported: this is a Flight SQL server, ask it for its tables"))
    }

    async fn poll_flight_info(&self, _request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(status::unsupported("PollFlightInfo is not supported: use GetFlightInfo"))
    }

    async fn do_exchange(&self, _request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(status::unsupported("DoExchange is not supported: use DoGet or DoPut"))
    }
}

/// What a call gives. A defect ends one call, and not the connection with all others that a client makes on it.
async fn guarded<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    caught_async(call).await.unwrap_or_else(|panic| Err(status::failed(&panic, "", None)))
}

/// The command in a descriptor or ticket.
fn command(bytes: &Bytes) -> Result<Command, Status> {
    let any = Any::decode(bytes.clone()).map_err(|error| status::malformed(format!("the command is not one of Flight SQL: {error}")))?;
    Command::try_from(any).map_err(|error| status::malformed(format!("the command of Flight SQL cannot be read: {error}")))
}

/// The refusal of a command that this door does not have.
fn unsupported_command(command: &Command) -> Status {
    let name = command.type_url().rsplit('.').next().unwrap_or_default();
    match command {
        _ if name.is_empty() => status::malformed("the request holds no command of Flight SQL"),
        Command::CommandStatementSubstraitPlan(_) => status::unsupported("Substrait plans are not supported: send SQL"),
        Command::CommandStatementIngest(_) => status::unsupported("bulk ingestion is not supported yet: use INSERT"),
        _ => status::unsupported(format!("the command '{name}' is not supported here")),
    }
}
