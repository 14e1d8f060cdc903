//! `/iceberg`: the catalogs of the server by the Iceberg REST protocol, for Spark, PyIceberg, Trino and others.
//!
//! Owns addresses, headers, bodies and who may ask; what a request does is [`nunatak_coordinator::query::rest_server`]'s.

mod route;

use std::collections::BTreeMap;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract;
use axum::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use nunatak_coordinator::query::Coordinator;
use nunatak_coordinator::query::rest_server::{Answer, Failure, Load, Page, RestServer};
use nunatak_core::Error;
use nunatak_core::panics::caught_async;
use serde::Serialize;

use self::route::{Meaningless, Operation, Parameters, Route};
use super::State;
use crate::limits;

/// By which clients ask for a way to storage.
const DELEGATION: &str = "x-iceberg-access-delegation";
const VENDED: &str = "vended-credentials";
const SIGNED: &str = "remote-signing";

/// The error of the protocol.
#[derive(Serialize)]
struct ErrorAnswer<'a> {
    error: ErrorModel<'a>,
}

#[derive(Serialize)]
struct ErrorModel<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    code: u16,
}

/// The error of OAuth2, which has a form of its own.
#[derive(Serialize)]
struct TokenRefused {
    error: &'static str,
    error_description: &'static str,
}

/// What a client is told of a catalog.
#[derive(Serialize)]
struct Config {
    defaults: BTreeMap<&'static str, String>,
    overrides: BTreeMap<&'static str, String>,
    endpoints: Vec<String>,
}

/// What a request says besides its address.
struct Asked {
    parameters: Parameters,
    load: Load,
    body: Bytes,
}

/// The handler. A defect ends one request, and no connection.
pub(super) async fn serve(extract::State(state): extract::State<State>, request: extract::Request) -> Response {
    caught_async(answered(state, request)).await.unwrap_or_else(|panic| refusal(&Failure::from(panic)))
}

async fn answered(state: State, request: extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let route = match route::find(parts.method.as_str(), parts.uri.path()) {
        Ok(route) => route,
        Err(Meaningless { failure, allow }) => {
            let mut response = refusal(&failure);
            if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
                response.headers_mut().insert(ALLOW, allow);
            }
            return response;
        }
    };
    if route.operation == Operation::Token {
        return no_tokens();
    }
    if let Err(failure) = check_sender(&parts.headers, &state.rest_tokens) {
        return refusal(&failure);
    }
    let asked = match read(parts.uri.query(), &parts.headers, body).await {
        Ok(asked) => asked,
        Err(failure) => return refusal(&failure),
    };
    if route.operation == Operation::Config {
        return config(&state.coordinator, asked.parameters.get("warehouse")).await.unwrap_or_else(|failure| refusal(&failure));
    }
    let outcome = match state.coordinator.rest_server(&route.catalog) {
        Ok(server) => carry_out(server, route, asked).await,
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(answer) => response(answer),
        Err(failure) => refusal(&failure),
    }
}

/// Lets in those who have one of the tokens, and no web page: without tokens, one that somebody on this machine looks at could change tables here.
fn check_sender(headers: &HeaderMap, tokens: &[String]) -> Result<(), Failure> {
    if headers.contains_key(ORIGIN) {
        return Err(Failure::forbidden("requests of web pages are not taken"));
    }
    if tokens.is_empty() {
        return Ok(());
    }
    let said = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, given) = said.and_then(|said| said.split_once(' ')).unwrap_or_default();
    let given = if scheme.eq_ignore_ascii_case("bearer") { given.trim() } else { "" };
    // All of them: how long it takes tells nothing of any.
    match tokens.iter().fold(false, |found, token| found | is_same(token, given)) {
        true => Ok(()),
        false => Err(Failure::unauthorized("a bearer token of this server's configuration is needed (rest_server.tokens)")),
    }
}

/// Compares two texts in a time that depends on their lengths alone.
fn is_same(token: &str, given: &str) -> bool {
    let differences = token.bytes().zip(given.bytes()).fold(0, |differences, (one, other)| differences | (one ^ other));
    token.len() == given.len() && differences == 0
}

async fn read(query: Option<&str>, headers: &HeaderMap, body: Body) -> Result<Asked, Failure> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let parameters = Parameters::read(query)?;
    let refs_only = match parameters.get("snapshots") {
        None | Some("all" | "") => false,
        Some("refs") => true,
        Some(other) => return Err(Failure::bad_request(format!("snapshots is '{other}', which is not all or refs"))),
    };
    let wanted = headers.get_all(DELEGATION).iter().filter_map(text).collect::<Vec<_>>().join(",");
    let wants = |way: &str| wanted.split(',').any(|wanted| wanted.trim().eq_ignore_ascii_case(way));
    let load = Load { refs_only, credentials: wants(VENDED), signing: wants(SIGNED), unless: headers.get(IF_NONE_MATCH).and_then(text) };
    let length = headers.get(CONTENT_LENGTH).and_then(text).and_then(|length| length.parse::<u64>().ok());
    let too_large = || Failure::new(413, "PayloadTooLargeException", format!("the request is larger than {} bytes", limits::BODY_BYTES_MAX));
    if length.is_some_and(|length| length > limits::BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    // It fails for a body without a length that goes beyond the limit, too, and otherwise only if nobody is there any more to be told.
    let body = to_bytes(body, limits::BODY_BYTES_MAX).await.map_err(|_| too_large())?;
    Ok(Asked { parameters, load, body })
}

/// What a client is told of the catalog that it calls `warehouse`.
async fn config(coordinator: &Coordinator, warehouse: Option<&str>) -> Result<Response, Failure> {
    let catalog = warehouse.filter(|warehouse| !warehouse.is_empty()).unwrap_or_else(|| coordinator.default_catalog());
    let server = coordinator.rest_server(catalog)?;
    let overrides = BTreeMap::from([("prefix", catalog.to_owned())]);
    Ok(Json(Config { defaults: BTreeMap::new(), overrides, endpoints: route::told(&server).await? }).into_response())
}

/// Carries a request out. One that changes something goes on when its client is gone: it would be done by half.
async fn carry_out(server: RestServer, route: Route, asked: Asked) -> Result<Answer, Failure> {
    use Operation as O;
    match route.operation {
        O::ListNamespaces
        | O::LoadNamespace
        | O::NamespaceExists
        | O::ListTables
        | O::LoadTable
        | O::TableExists
        | O::LoadCredentials
        | O::Sign
        | O::ListViews
        | O::LoadView
        | O::ViewExists => answer(&server, &route, &asked).await,
        _ => match tokio::spawn(async move { answer(&server, &route, &asked).await }).await {
            Ok(outcome) => outcome,
            Err(error) => Err(Error::internal("a request of the REST catalog was given up").with_source(error).into()),
        },
    }
}

async fn answer(server: &RestServer, route: &Route, asked: &Asked) -> Result<Answer, Failure> {
    let Route { operation, namespace, name, .. } = route;
    let Asked { parameters, load, body } = asked;
    let page = || Page::parse(parameters.get("pageToken"), parameters.get("pageSize"));
    match operation {
        Operation::Config | Operation::Token => Err(Failure::unsupported("it is of the server, not of a catalog")),
        Operation::ListNamespaces => server.list_namespaces(parameters.get("parent"), &page()?).await,
        Operation::CreateNamespace => server.create_namespace(body).await,
        Operation::LoadNamespace => server.load_namespace(namespace).await,
        Operation::NamespaceExists => server.namespace_exists(namespace).await,
        Operation::DropNamespace => server.drop_namespace(namespace).await,
        Operation::ChangeNamespace => server.change_namespace(namespace, body).await,
        Operation::ListTables => server.list_tables(namespace, &page()?).await,
        Operation::CreateTable => server.create_table(namespace, load, body).await,
        Operation::LoadTable => server.load_table(namespace, name, load).await,
        Operation::TableExists => server.table_exists(namespace, name).await,
        Operation::Commit => server.commit(namespace, name, body).await,
        Operation::DropTable => server.drop_table(namespace, name, parameters.flag("purgeRequested")?).await,
        Operation::LoadCredentials => server.load_credentials(namespace, name).await,
        Operation::Sign => server.sign(namespace, name, parameters.get("location"), body).await,
        Operation::ReportMetrics => server.report(namespace, name, body),
        Operation::RegisterTable => server.register_table(namespace, load, body).await,
        Operation::RenameTable => server.rename_table(body).await,
        Operation::CommitTransaction => server.commit_all(body).await,
        Operation::ListViews => server.list_views(namespace, &page()?).await,
        Operation::CreateView => server.create_view(namespace, body).await,
        Operation::LoadView => server.load_view(namespace, name).await,
        Operation::ViewExists => server.view_exists(namespace, name).await,
        Operation::ReplaceView => server.replace_view(namespace, name, body).await,
        Operation::DropView => server.drop_view(namespace, name).await,
        Operation::RenameView => server.rename_view(body).await,
        Operation::RegisterView => server.register_view(namespace, body).await,
    }
}

fn response(answer: Answer) -> Response {
    let Answer { status, body, tag, may_keep } = answer;
    let is_json = !body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status_code(status);
    if is_json {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if may_keep {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The answer to a request that failed.
fn refusal(failure: &Failure) -> Response {
    let Failure { status, kind, message } = failure;
    (status_code(*status), Json(ErrorAnswer { error: ErrorModel { message, kind, code: *status } })).into_response()
}

/// Tokens are in the configuration, and nobody gives them out.
fn no_tokens() -> Response {
    let error_description = "this server gives out no tokens; use one of its configuration as the property token";
    (StatusCode::BAD_REQUEST, Json(TokenRefused { error: "unsupported_grant_type", error_description })).into_response()
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(said: Option<&'static str>, tokens: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(said) = said {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(said));
        }
        check_sender(&headers, &tokens.iter().map(|token| (*token).to_owned()).collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn those_with_a_token_are_let_in() {
        assert!(allowed(None, &[]) && allowed(Some("Bearer any"), &[]));
        let tokens = ["one", "another"];
        assert!(allowed(Some("Bearer one"), &tokens) && allowed(Some("bearer another"), &tokens));
        for said in [None, Some("Bearer"), Some("Bearer "), Some("Bearer on"), Some("Bearer onee"), Some("Basic one"), Some("one")] {
            assert!(!allowed(said, &tokens), "{said:?}");
        }
    }

    #[test]
    fn web_pages_are_not_let_in() {
        let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://example.org"))]);
        assert_eq!(check_sender(&headers, &[]).unwrap_err().status, 403);
    }

    #[tokio::test]
    async fn errors_have_the_form_of_the_protocol() {
        let response = refusal(&Failure::bad_request("no \"t\""));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(&body[..], br#"{"error":{"message":"no \"t\"","type":"BadRequestException","code":400}}"#);
    }
}
