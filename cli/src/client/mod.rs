//! The Flight SQL connection that `nunatak sql` and `nunatak ingest` share.

mod address;
mod channel;

use std::error::Error as _;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{Action, CancelFlightInfoRequest, FlightInfo, HandshakeRequest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message as _;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::failure::{Failure, plain};
use channel::SessionChannel;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CANCEL_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// HTTP/2's default of 64 KiB makes a result wait for the round trip of every few rows.
const WINDOW_BYTES: u32 = 16 << 20;

/// How to reach a server, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Connection {
    /// The server: http://HOST:PORT, also grpc:// and nunatak://
    #[arg(long, value_name = "URI", env = "NUNATAK_SERVER", default_value = "http://127.0.0.1:32010")]
    server: String,
    /// The user's name [default: that of the operating system]
    #[arg(long, value_name = "NAME", env = "NUNATAK_USER")]
    user: Option<String>,
}

impl Connection {
    fn user(&self) -> String {
        let name = self.user.clone().or_else(|| std::env::var("USER").ok()).filter(|name| !name.is_empty());
        name.unwrap_or_else(|| "anonymous".to_owned())
    }
}

/// A connection with its session. Clones share both.
#[derive(Clone)]
pub(crate) struct Client {
    flight: FlightSqlServiceClient<SessionChannel>,
    channel: SessionChannel,
    server: String,
}

/// A statement that runs. Dropping the rows cancels it.
pub(crate) struct Execution {
    /// What the server planned; names the statement for [`Client::cancel`].
    pub(crate) info: FlightInfo,
    /// The columns.
    pub(crate) schema: SchemaRef,
    /// The rows.
    pub(crate) rows: BoxStream<'static, Result<RecordBatch, FlightError>>,
}

impl Client {
    /// Connects and logs in.
    pub(crate) async fn connect(connection: &Connection) -> Result<Self, Failure> {
        let server = address::parse(&connection.server)?;
        let endpoint = Endpoint::from_shared(server.clone())
            .map_err(|error| Failure::Usage(format!("server '{server}' is not a URI: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let channel = endpoint.connect().await.map_err(|error| unreachable(&server, &error))?;
        let channel = SessionChannel::new(channel);
        let service = FlightServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut client = Self { flight: FlightSqlServiceClient::new_from_inner(service), channel, server };
        client.log_in(&connection.user()).await?;
        Ok(client)
    }

    /// Handshake by Basic; the token that comes back names the session from now on.
    async fn log_in(&mut self, user: &str) -> Result<(), Failure> {
        let mut request = tonic::Request::new(stream::iter([HandshakeRequest::default()]));
        let credentials = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:")));
        let credentials = credentials.parse().map_err(|_| Failure::Usage(format!("user '{user}' cannot be sent as a header")))?;
        request.metadata_mut().insert("authorization", credentials);
        let response = match self.flight.inner_mut().handshake(request).await {
            Ok(response) => response,
            Err(status) if status.code() == Code::Unimplemented => return Ok(()),
            Err(status) => return Err(self.failed(&FlightError::from(status))),
        };
        let token = response.metadata().get("authorization").and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        if let Some(token) = token {
            self.flight.set_token(token.to_owned());
        }
        Ok(())
    }

    /// Sets the catalog that names without one mean. A `USE` statement ends that: see [`Self::after_use`].
    pub(crate) fn set_catalog(&self, catalog: &str) -> Result<(), Failure> {
        self.channel.set_catalog(catalog).map_err(|()| Failure::Usage(format!("catalog '{catalog}' cannot be sent as a header")))
    }

    /// From now on the session's own catalog counts. A header would go before it on every call.
    pub(crate) fn after_use(&self) {
        self.channel.clear_catalog();
    }

    /// Plans a statement and starts it.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<Execution, Failure> {
        let info = self.flight.execute(sql.to_owned(), None).await.map_err(|error| self.failed(&error))?;
        self.fetch(info).await
    }

    async fn fetch(&mut self, info: FlightInfo) -> Result<Execution, Failure> {
        let mut streams = Vec::with_capacity(info.endpoint.len());
        for endpoint in &info.endpoint {
            // The server that answered serves every ticket, whatever other places it names.
            let ticket = endpoint.ticket.clone().unwrap_or_default();
            streams.push(self.flight.do_get(ticket).await.map_err(|error| self.failed(&error))?);
        }
        let planned = if info.schema.is_empty() { None } else { info.clone().try_decode_schema().ok() };
        match planned {
            Some(schema) => Ok(Execution { info, schema: schema.into(), rows: stream::iter(streams).flatten().boxed() }),
            None => self.fetch_with_schema_of_rows(info, streams).await,
        }
    }

    /// The server may leave the schema to the stream: it comes before the first rows.
    async fn fetch_with_schema_of_rows(&self, info: FlightInfo, mut streams: Vec<FlightRecordBatchStream>) -> Result<Execution, Failure> {
        let Some(head) = streams.first_mut() else {
            return Err(Failure::Statement("the server gave neither a schema nor a stream".to_owned()));
        };
        let first = head.try_next().await.map_err(|error| self.failed(&error))?;
        let schema = head.schema().cloned().ok_or_else(|| Failure::Statement("the server's stream has no schema".to_owned()))?;
        let rows = stream::iter(first.map(Ok)).chain(stream::iter(streams).flatten()).boxed();
        Ok(Execution { info, schema, rows })
    }

    /// Asks the server to cancel a statement. The dropped stream has done so already; this also reaches what runs behind a proxy.
    pub(crate) async fn cancel(&mut self, info: FlightInfo) {
        let action = Action::new("CancelFlightInfo", CancelFlightInfoRequest::new(info).encode_to_vec());
        let answer = tokio::time::timeout(CANCEL_TIMEOUT, self.flight.do_action(action)).await;
        if !matches!(answer, Ok(Ok(_))) {
            tracing::debug!("the server did not confirm the cancellation");
        }
    }

    /// Tables whose names are like the patterns, as Flight SQL lists them; with their columns when asked.
    pub(crate) async fn tables(&mut self, schema: Option<&str>, table: Option<&str>, include_schema: bool) -> Result<Vec<RecordBatch>, Failure> {
        let request = CommandGetTables {
            catalog: None,
            db_schema_filter_pattern: schema.map(str::to_owned),
            table_name_filter_pattern: table.map(str::to_owned),
            table_types: Vec::new(),
            include_schema,
        };
        let info = self.flight.get_tables(request).await.map_err(|error| self.failed(&error))?;
        let execution = self.fetch(info).await?;
        execution.rows.try_collect().await.map_err(|error| self.failed(&error))
    }

    /// What an error of a call means for the user.
    pub(crate) fn failed(&self, error: &FlightError) -> Failure {
        match error {
            FlightError::Tonic(status) if is_transport(status) => {
                Failure::Statement(format!("connection to {} lost: {}", self.server, deepest(status.as_ref())))
            }
            FlightError::Tonic(status) if status.message().is_empty() => Failure::Statement(status.code().to_string()),
            FlightError::Tonic(status) => Failure::Statement(status.message().to_owned()),
            other => Failure::Statement(format!("{other}")),
        }
    }
}

/// Whether a status was made on this side because the connection failed; one that the server sent has no source.
fn is_transport(status: &Status) -> bool {
    status.source().is_some()
}

/// The innermost cause, which says what happened in the plainest words.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    plain(innermost)
}

fn unreachable(server: &str, error: &tonic::transport::Error) -> Failure {
    let hint = "is it running? 'nunatak standalone' starts one";
    Failure::Usage(format!("cannot reach server {server}: {} ({hint})", deepest(error)))
}
