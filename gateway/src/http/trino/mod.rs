//! `/v1/statement` and `/v1/query`: the protocol of Trino's clients.
//!
//! A statement is sent, and its results are asked for page by page, each answer naming the address of the next. Nothing is kept of a client but its queries: its
//! session comes with each statement, so that any coordinator takes it. The results of a query are at the coordinator that runs it.
//!
//! This file is the switch: addresses, who may ask, bodies and compression. [`query`] is a query's life, [`pages`] and [`values`] write rows, [`spooling`] has those that
//! clients fetch from elsewhere.

mod answer;
mod door;
mod errors;
mod headers;
mod pages;
mod prepared;
mod queries;
mod query;
mod spooling;
mod stats;
mod types;
mod values;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract;
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, VARY, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use nunatak_coordinator::query::{Coordinator, Kill};
use nunatak_core::panics::caught_async;
use nunatak_core::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::answer::{Answer, Data, Head, Tail, body};
use self::door::TrinoDoor;
use self::errors::QueryError;
use self::headers::Refused;
use self::queries::Queries;
use self::query::{Query, Unanswered};
use self::spooling::{Spooled, Spooling};
use self::stats::{Phase, Stats, Times};
use super::State;
use crate::limits;

/// The longest message for the client of a query that is killed.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What the handlers of the protocol share. Cheap to clone.
#[derive(Clone)]
pub(super) struct Trino {
    coordinator: Coordinator,
    queries: Queries,
    spooling: Option<Spooling>,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked<'a> {
    Statement,
    Results { id: &'a str, slug: &'a str, token: u64 },
    Heartbeat { id: &'a str, slug: &'a str },
    Cancel { id: &'a str, slug: &'a str },
    Download(&'a str),
    Acknowledge(&'a str),
    Queries,
    Query(&'a str),
    Cancelled(&'a str),
    Killed(&'a str),
    NotAllowed(&'static str),
    Nothing,
}

impl Trino {
    /// Queries whose results nobody has asked for in `client_timeout` are cancelled.
    pub(super) fn start(coordinator: Coordinator, client_timeout: Duration, shutdown: CancellationToken) -> Self {
        let queries = Queries::start(coordinator.id(), client_timeout, shutdown);
        coordinator.open(Arc::new(TrinoDoor(queries.clone())));
        let spooling = Spooling::of(&coordinator);
        Self { coordinator, queries, spooling }
    }
}

/// The handler of all addresses of the protocol.
pub(super) async fn serve(extract::State(state): extract::State<State>, request: extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let asked = asked(&parts.method, parts.uri.path());
    // A defect ends one request, and no connection.
    match caught_async(answer(&state.trino, &asked, &parts.uri, &parts.headers, body)).await.unwrap_or_else(Err) {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(?error, "a request of a Trino client failed");
            plain(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
    }
}

/// `GET /v1/info/state`.
pub(super) async fn state(extract::State(state): extract::State<State>) -> Response {
    let name = if state.coordinator.is_ready() { "ACTIVE" } else { "STARTING" };
    axum::Json(name).into_response()
}

fn asked<'a>(method: &Method, path: &'a str) -> Asked<'a> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (parts.as_slice(), method.as_str()) {
        (&["v1", "statement"], "POST") => Asked::Statement,
        (&["v1", "statement"], _) => Asked::NotAllowed("POST"),
        (&["v1", "statement", "queued" | "executing", id, slug, token], method) => match (token.parse(), method) {
            (Ok(token), "GET") => Asked::Results { id, slug, token },
            (Ok(_), "HEAD") => Asked::Heartbeat { id, slug },
            (Ok(_), "DELETE") => Asked::Cancel { id, slug },
            (Ok(_), _) => Asked::NotAllowed("GET,HEAD,DELETE"),
            (Err(_), _) => Asked::Nothing,
        },
        (&["v1", "spooled", "download", token], "GET") => Asked::Download(token),
        (&["v1", "spooled", "ack", token], "GET") => Asked::Acknowledge(token),
        (&["v1", "spooled", "download" | "ack", _], _) => Asked::NotAllowed("GET"),
        (&["v1", "query"], "GET") => Asked::Queries,
        (&["v1", "query"], _) => Asked::NotAllowed("GET"),
        (&["v1", "query", id], "GET") => Asked::Query(id),
        (&["v1", "query", id], "DELETE") => Asked::Cancelled(id),
        (&["v1", "query", id, "killed" | "preempted"], "PUT") => Asked::Killed(id),
        (&["v1", "query", _], _) => Asked::NotAllowed("GET,DELETE"),
        _ => Asked::Nothing,
    }
}

async fn answer(trino: &Trino, asked: &Asked<'_>, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Response> {
    match asked {
        Asked::Statement => statement(trino, headers, body).await,
        Asked::Results { id, slug, token } => results(trino, (*id, *slug, *token), uri, headers).await,
        // Clients that fetch segments say so that they are still there.
        Asked::Heartbeat { id, slug } => Ok(match trino.queries.get(id).filter(|query| query.has_slug(slug)) {
            Some(query) => {
                query.touch();
                StatusCode::OK.into_response()
            }
            None => not_here(trino, id, uri),
        }),
        Asked::Download(token) | Asked::Acknowledge(token) => Ok(segment(trino, asked, token).await),
        Asked::Cancel { id, slug } => Ok(match trino.queries.get(id).filter(|query| query.has_slug(slug)) {
            Some(query) => {
                query.cancel("its client wanted it");
                StatusCode::NO_CONTENT.into_response()
            }
            None => not_here(trino, id, uri),
        }),
        Asked::Queries => of_user(headers, |_| json_response(&trino.queries.all().iter().map(|query| info(query)).collect::<Vec<_>>(), headers)),
        Asked::Query(id) => of_user(headers, |_| match trino.queries.get(id) {
            Some(query) => json_response(&info(&query), headers),
            None => Ok(plain(StatusCode::GONE, "Error 410 Gone: HTTP 410 Gone")),
        }),
        Asked::Killed(id) => killed(trino, id, headers, body).await,
        Asked::Cancelled(id) => of_user(headers, |user| {
            Ok(match trino.queries.get(id) {
                // There are no administrators yet: who has sent it may end it.
                Some(query) if query.sent.user != user => plain(StatusCode::FORBIDDEN, "Error 403 Forbidden: it is another user's query"),
                Some(query) if query.phase().is_over() => plain(StatusCode::CONFLICT, "Error 409 Conflict: it has ended"),
                Some(query) => {
                    query.cancel("its user killed it");
                    StatusCode::NO_CONTENT.into_response()
                }
                None => plain(StatusCode::GONE, "Error 410 Gone: HTTP 410 Gone"),
            })
        }),
        Asked::NotAllowed(allowed) => Ok((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, *allowed)]).into_response()),
        Asked::Nothing => Ok(plain(StatusCode::NOT_FOUND, "Error 404 Not Found: HTTP 404 Not Found")),
    }
}

/// Ends a query of any client of this coordinator. The body is the message for its client.
async fn killed(trino: &Trino, id: &str, headers: &HeaderMap, body: Body) -> Result<Response> {
    let message = match to_bytes(body, MESSAGE_BYTES_MAX).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "Error 413 Content Too Large: the message is too long")),
    };
    of_user(headers, |user| {
        Ok(match trino.coordinator.kill_here(id, &user, &message) {
            Kill::Done => StatusCode::NO_CONTENT.into_response(),
            Kill::NotRunning => plain(StatusCode::CONFLICT, "Error 409 Conflict: it has ended"),
            Kill::Unknown => plain(StatusCode::GONE, "Error 410 Gone: HTTP 410 Gone"),
        })
    })
}

/// Does something for whoever says who it is.
fn of_user(headers: &HeaderMap, act: impl FnOnce(String) -> Result<Response>) -> Result<Response> {
    match headers::user(headers) {
        Ok(user) => act(user),
        Err(why) => Ok(refusal(&why)),
    }
}

/// Takes a statement.
async fn statement(trino: &Trino, headers: &HeaderMap, sent_body: Body) -> Result<Response> {
    let sent = match headers::read(headers) {
        Ok(sent) => sent,
        Err(why) => return Ok(refusal(&why)),
    };
    let Some(base) = headers::base_uri(headers) else {
        return Ok(plain(StatusCode::BAD_REQUEST, "Error 400 Bad Request: the header Host is missing or malformed"));
    };
    let Ok(bytes) = to_bytes(sent_body, limits::BODY_BYTES_MAX).await else {
        let text = format!("Error 413 Content Too Large: the statement is larger than {} bytes", limits::BODY_BYTES_MAX);
        return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, &text));
    };
    let Ok(sql) = String::from_utf8(bytes.into()) else {
        return Ok(plain(StatusCode::BAD_REQUEST, "Error 400 Bad Request: the statement is no UTF-8"));
    };
    if sql.trim().is_empty() {
        return Ok(plain(StatusCode::BAD_REQUEST, "Error 400 Bad Request: SQL statement is empty"));
    }
    let user = sent.user.clone();
    let receipt = match trino.queries.create(&trino.coordinator, trino.spooling.as_ref(), sql, sent) {
        Ok(query) => query.receipt(&base)?,
        Err(error) => {
            errors::log(&error, &user, None);
            refused_statement(&trino.queries, &base, &error)?
        }
    };
    response(receipt, headers)
}

/// A statement that is not taken is a query that has failed.
fn refused_statement(queries: &Queries, base: &str, error: &Error) -> Result<Answer> {
    let id = queries.id(chrono::Utc::now());
    let head = Head { id: &id, info_uri: format!("{base}/v1/query/{id}"), next_uri: None, columns: None };
    let stats = Stats::new(Phase::Failed, &Times::default(), None, 0);
    let tail = Tail { stats, error: Some(QueryError::new(error)), warnings: [], update_type: None, update_count: None };
    Ok(Answer { body: body(&head, Data::None, &tail)?, headers: Vec::new() })
}

/// Gives results. Who has the address of a query's results may have them: it has a secret in it.
async fn results(trino: &Trino, (id, slug, token): (&str, &str, u64), uri: &Uri, headers: &HeaderMap) -> Result<Response> {
    let Some(query) = trino.queries.get(id).filter(|query| query.has_slug(slug)) else { return Ok(not_here(trino, id, uri)) };
    let Some(base) = headers::base_uri(headers) else {
        return Ok(plain(StatusCode::BAD_REQUEST, "Error 400 Bad Request: the header Host is missing or malformed"));
    };
    let wait_max = parameter(uri.query(), "maxWait").and_then(duration).unwrap_or(limits::RESULTS_WAIT_MAX).min(limits::RESULTS_WAIT_MAX);
    match query.answer(&trino.coordinator, token, wait_max, &base).await? {
        Ok(answer) => response(answer, headers),
        Err(Unanswered::Gone) => Ok(plain(StatusCode::GONE, "Error 410 Gone: HTTP 410 Gone")),
        Err(Unanswered::Unknown) => Ok(not_found()),
    }
}

/// Gives a segment out, or deletes it. Its query may be one of another coordinator.
async fn segment(trino: &Trino, asked: &Asked<'_>, token: &str) -> Response {
    let Some(spooling) = &trino.spooling else {
        return plain(StatusCode::NOT_FOUND, "Error 404 Not Found: results are not spooled here");
    };
    let Some(name) = spooling.open(token) else {
        return plain(StatusCode::FORBIDDEN, "Error 403 Forbidden: the segment was not given out by this cluster");
    };
    if let Some(query) = trino.queries.get(name.query()) {
        query.touch();
    }
    match asked {
        Asked::Acknowledge(_) => spooling.acknowledge(&name).await,
        _ => spooling.download(&name).await,
    }
}

fn parameter<'a>(parameters: Option<&'a str>, name: &str) -> Option<&'a str> {
    let mut pairs = parameters?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// A time such as `1s` or `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic())?);
    let seconds = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

/// What is told of a query.
fn info(query: &Query) -> Value {
    let sent = &query.sent;
    let created: chrono::DateTime<chrono::Utc> = query.created_at.into();
    json!({
        "queryId": query.id,
        "nunatakQueryId": query.query_id().map(|id| id.as_str().to_owned()),
        "session": {
            "user": sent.user,
            "source": sent.source,
            "clientInfo": sent.client_info,
            "catalog": sent.catalog,
            "schema": sent.schema,
            "systemProperties": sent.properties,
        },
        "state": query.phase().name(),
        "self": format!("/v1/query/{}", query.id),
        "query": query.shown(),
        "updateType": query.update_type(),
        "createTime": created.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "queryStats": query.stats(),
        "spooledEncoding": query.spooled.as_ref().map(Spooled::encoding),
        "spooledSegments": query.spooled.as_ref().map(Spooled::written),
        "failureInfo": query.failure(),
    })
}

/// A query that this coordinator does not have: if it is one of another, its client is sent there.
fn not_here(trino: &Trino, id: &str, uri: &Uri) -> Response {
    let peer = trino.queries.coordinator_of(id).and_then(|coordinator| trino.coordinator.http_of_peer(coordinator));
    let rest = uri.path_and_query().map(|rest| rest.as_str()).unwrap_or_default();
    match peer {
        Some(peer) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, format!("http://{peer}{rest}"))]).into_response(),
        None => not_found(),
    }
}

fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "Error 404 Not Found: Query not found")
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain")], text.to_owned()).into_response()
}

fn refusal(why: &Refused) -> Response {
    match why {
        Refused::NoUser => {
            let text = "Basic authentication or X-Trino-Original-User or X-Trino-User must be sent";
            (StatusCode::UNAUTHORIZED, [(CONTENT_TYPE, "text/plain"), (WWW_AUTHENTICATE, "Basic realm=\"Trino\"")], text).into_response()
        }
        Refused::WebPage => plain(StatusCode::FORBIDDEN, "Error 403 Forbidden: requests of web pages are not taken"),
        Refused::Role(text) => plain(StatusCode::FORBIDDEN, &format!("Error 403 Forbidden: {text}")),
        Refused::Malformed(text) => plain(StatusCode::BAD_REQUEST, &format!("Error 400 Bad Request: {text}")),
    }
}

fn json_response(value: &impl Serialize, headers: &HeaderMap) -> Result<Response> {
    let body = serde_json::to_vec(value).map_err(|error| Error::internal("an answer cannot be written as JSON").with_source(error))?;
    response(Answer { body: body.into(), headers: Vec::new() }, headers)
}

/// An answer in JSON, compressed if its client takes that.
fn response(answer: Answer, asked_with: &HeaderMap) -> Result<Response> {
    let Answer { body, headers } = answer;
    let is_compressed = body.len() >= limits::COMPRESSED_BYTES_MIN && headers::takes_gzip(asked_with);
    let body = if is_compressed { compressed(&body)? } else { body };
    let mut response = Response::new(Body::from(body));
    let all = response.headers_mut();
    for (name, value) in headers {
        all.append(name, value);
    }
    all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    all.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    all.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if is_compressed {
        all.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn compressed(body: &[u8]) -> Result<Bytes> {
    let unwritable = |error: std::io::Error| Error::internal("an answer cannot be compressed").with_source(error);
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).map_err(unwritable)?;
    Ok(encoder.finish().map_err(unwritable)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_trinos() {
        let of = |method: Method, path: &'static str| asked(&method, path);
        assert_eq!(of(Method::POST, "/v1/statement"), Asked::Statement);
        assert_eq!(of(Method::GET, "/v1/statement/queued/q/s/1"), Asked::Results { id: "q", slug: "s", token: 1 });
        assert_eq!(of(Method::DELETE, "/v1/statement/executing/q/s/7"), Asked::Cancel { id: "q", slug: "s" });
        assert_eq!(of(Method::HEAD, "/v1/statement/executing/q/s/7"), Asked::Heartbeat { id: "q", slug: "s" });
        assert_eq!(of(Method::GET, "/v1/spooled/download/t"), Asked::Download("t"));
        assert_eq!(of(Method::GET, "/v1/spooled/ack/t"), Asked::Acknowledge("t"));
        assert_eq!(of(Method::DELETE, "/v1/spooled/ack/t"), Asked::NotAllowed("GET"));
        assert_eq!(of(Method::GET, "/v1/statement"), Asked::NotAllowed("POST"));
        for path in ["/v1/statement/executing/q/s/-1", "/v1/statement/executing/q/s", "/v1/statement/other/q/s/1"] {
            assert_eq!(of(Method::GET, path), Asked::Nothing);
        }
        assert_eq!(of(Method::DELETE, "/v1/query/q"), Asked::Cancelled("q"));
        assert_eq!(of(Method::PUT, "/v1/query/q/killed"), Asked::Killed("q"));
    }

    #[test]
    fn waiting_has_units() {
        assert_eq!(parameter(Some("targetResultSize=1MB&maxWait=500ms"), "maxWait").and_then(duration), Some(Duration::from_millis(500)));
        assert_eq!([duration("1.5s"), duration("1"), duration("-1s"), duration("xs")], [Some(Duration::from_millis(1_500)), None, None, None]);
    }
}
