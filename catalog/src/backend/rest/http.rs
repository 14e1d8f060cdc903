//! Requests to one server: limits, time, what is sent again, and how failures become our error. Knows nothing of who asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nunatak_core::{Code, Error, Result, Retry};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::redirection::{is_same_server, next, without_secrets};
use crate::retry_after::retry_after;
use crate::storage::error::root;

/// How often a request is sent on.
const REDIRECTIONS_MAX: usize = 5;
/// How long is waited for a connection, by the property `rest.client.connection-timeout-ms`.
const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// How long is waited for an answer, by the property `rest.client.socket-timeout-ms`.
const REQUEST_TIMEOUT_MS: u64 = 60_000;
/// How long something that only reads may take with all that is sent again, since somebody waits for it; longer only where the time for one answer is set to more.
const READ_TIME_MS: u64 = 30_000;
/// How often a request is sent again, by the property `rest.client.max-retries`.
const RETRIES_MAX: u64 = 5;
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);
/// How many requests may be sent again at a time when many queries meet a server that is down: each takes one, each answer gives one back.
const RETRY_BUDGET: u32 = 64;
/// How many requests are on their way at once.
const REQUESTS_MAX: usize = 64;
/// An answer that is longer than this is none that we asked for.
const ANSWER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// How much of a text that makes no sense is shown.
const SHOWN_CHARS_MAX: usize = 200;
/// What some servers say instead of 401 when a token has run out.
const TOKEN_EXPIRED: u16 = 419;

/// A server, as requests reach it.
pub(crate) struct Http {
    client: Client,
    catalog: String,
    /// For messages, without user and password.
    server: String,
    retries_max: u32,
    read_time: Duration,
    budget: AtomicU32,
    permits: Semaphore,
}

/// A request.
#[derive(Clone)]
pub(crate) struct Request {
    /// How.
    pub(crate) method: Method,
    /// Where.
    pub(crate) url: Url,
    /// Its own headers.
    pub(crate) headers: HeaderMap,
    /// What is sent.
    pub(crate) body: Option<Bytes>,
    /// What it is for, as in "cannot load table 'a.b'".
    pub(crate) operation: String,
    /// Whether it may be sent again when nobody knows whether it was carried out.
    pub(crate) repeatable: bool,
    /// Whether there are secrets in what is sent: no other server gets it.
    pub(crate) secret: bool,
}

/// An answer of the server, whatever it says.
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
    /// Whether the same request was sent before and may have been carried out then: a refusal is no sign that it was not.
    pub(crate) uncertain: bool,
}

/// Why there is no answer, or none that means success.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The request was not carried out.
    Refused(Error),
    /// It may or may not have been carried out.
    Lost(Error),
}

impl Fault {
    /// The error inside, for callers that do not care which it is.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::Lost(error) => error,
        }
    }
}

/// The error model of the REST spec.
#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorModel,
}

#[derive(Deserialize)]
struct ErrorModel {
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("catalog", &self.catalog).field("server", &self.server).finish_non_exhaustive()
    }
}

impl Http {
    /// What reaches the server of a catalog at `uri`.
    ///
    /// Errors: `CONFIGURATION_INVALID` for a property that has no meaning.
    pub(crate) fn new(catalog: &str, uri: &Url, properties: &BTreeMap<String, String>) -> Result<Self> {
        let millis = |name: &str, default: u64| number(properties, name, default).map(Duration::from_millis);
        let mut builder = Client::builder()
            .connect_timeout(millis("rest.client.connection-timeout-ms", CONNECT_TIMEOUT_MS)?)
            .timeout(millis("rest.client.socket-timeout-ms", REQUEST_TIMEOUT_MS)?)
            // Requests are sent on here: the library does not know which headers are secret.
            .redirect(Policy::none())
            .user_agent(concat!("nunatak/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = properties.get("rest.ca-certificate") {
            for certificate in certificates(path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build();
        let client = client.map_err(|error| invalid(format!("the server of catalog '{catalog}' cannot be reached: {error}")))?;
        let retries_max = number(properties, "rest.client.max-retries", RETRIES_MAX)?;
        Ok(Self {
            client,
            catalog: catalog.to_owned(),
            server: shown(uri),
            retries_max: u32::try_from(retries_max).unwrap_or(u32::MAX),
            read_time: millis("rest.client.socket-timeout-ms", READ_TIME_MS)?.max(Duration::from_millis(READ_TIME_MS)),
            budget: AtomicU32::new(RETRY_BUDGET),
            permits: Semaphore::new(REQUESTS_MAX),
        })
    }

    /// The catalog's name in SQL.
    pub(crate) fn catalog(&self) -> &str {
        &self.catalog
    }

    /// Sends a request, again where that is safe and can help. Any answer is one, whatever its status.
    ///
    /// Errors: `CATALOG_UNAVAILABLE`.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, Fault> {
        let (mut retries, mut uncertain, mut waited) = (0, false, Duration::ZERO);
        let deadline = request.repeatable.then(|| Instant::now() + self.read_time);
        loop {
            let outcome = match self.send_until(request, deadline).await {
                Ok(answer) => Ok(Answer { uncertain, ..answer }),
                Err(Fault::Refused(error)) if uncertain => Err(Fault::Lost(error)),
                Err(fault) => Err(fault),
            };
            let again = match &outcome {
                Ok(answer) => answer.is_retried(request.repeatable).then(|| retry_after(&answer.headers)),
                Err(Fault::Refused(error)) => (error.retry() != Retry::Never).then_some(None),
                Err(Fault::Lost(error)) => (request.repeatable && error.retry() != Retry::Never).then_some(None),
            };
            let Some(asked) = again else {
                self.give_back();
                return outcome;
            };
            let pause = wait(retries, asked, rand::random());
            // Longer than that nobody waits, whatever the server asks for: it would refuse what is sent sooner.
            let is_late = deadline.map_or(waited + pause > self.read_time, |deadline| Instant::now() + pause >= deadline);
            if retries >= self.retries_max || is_late || !self.take() {
                return outcome;
            }
            // Who says that a server has too much to do may be a proxy in front of it, which has passed the request on.
            uncertain |= outcome.is_ok() && !request.repeatable;
            tokio::time::sleep(pause).await;
            waited += pause;
            retries += 1;
        }
    }

    async fn send_until(&self, request: &Request, deadline: Option<Instant>) -> Result<Answer, Fault> {
        let Some(deadline) = deadline else { return self.send_once(request).await };
        let late = |_| Err(Fault::Lost(self.unavailable(request, "does not answer in time")));
        timeout_at(deadline, self.send_once(request)).await.unwrap_or_else(late)
    }

    async fn send_once(&self, request: &Request) -> Result<Answer, Fault> {
        let Ok(_permit) = self.permits.acquire().await else { return Err(Fault::Refused(Error::internal("nobody may send requests any more"))) };
        let (mut url, mut headers) = (request.url.clone(), request.headers.clone());
        // The answer that sent it to another server, which learns no secrets.
        let mut sent_away = None;
        for _ in 0..REDIRECTIONS_MAX {
            let answer = self.exchange(request, &url, &headers).await?;
            let Some(next) = next(&url, answer.status.as_u16(), &answer.headers) else { return Ok(answer.or_from(sent_away)) };
            if !is_same_server(&url, &next) {
                if request.secret {
                    return Ok(answer);
                }
                headers = without_secrets(&headers);
                sent_away.get_or_insert(answer);
            }
            url = next;
        }
        Ok(self.exchange(request, &url, &headers).await?.or_from(sent_away))
    }

    async fn exchange(&self, request: &Request, url: &Url, headers: &HeaderMap) -> Result<Answer, Fault> {
        let mut sent = self.client.request(request.method.clone(), url.clone()).headers(headers.clone());
        if let Some(body) = &request.body {
            sent = sent.body(body.clone());
        }
        let mut response = sent.send().await.map_err(|error| self.fault(request, error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.fault(request, error))? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(Fault::Lost(self.nonsense(request, "it is longer than 512 MiB")));
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, headers, body: body.into(), uncertain: false })
    }

    /// The failure of a request that got no answer.
    fn fault(&self, request: &Request, error: reqwest::Error) -> Fault {
        let (unsent, late) = (error.is_connect() || error.is_builder(), error.is_timeout());
        // Without the URL, which can tell secrets; the operation says what was asked for.
        let error = error.without_url();
        let what = match (unsent, late) {
            (true, _) => format!("cannot be reached: {}", root(&error)),
            (false, true) => String::from("does not answer in time"),
            (false, false) => format!("broke off the connection: {}", root(&error)),
        };
        let error = self.unavailable(request, &what).with_source(error);
        if unsent { Fault::Refused(error) } else { Fault::Lost(error) }
    }

    fn unavailable(&self, request: &Request, what: &str) -> Error {
        self.error(Code::CatalogUnavailable, request, what)
            .with_hint("see that it is up, and that the catalog's uri is right; run the statement again")
            .with_retry(Retry::Query)
    }

    /// `cannot load table 'a.b': the server 'http://...' of catalog 'prod' ...`.
    fn error(&self, code: Code, request: &Request, what: &str) -> Error {
        Error::new(code, format!("cannot {}: the server '{}' of catalog '{}' {what}", request.operation, self.server, self.catalog))
    }

    /// The error for an answer that is not what the protocol has.
    pub(crate) fn nonsense(&self, request: &Request, why: &str) -> Error {
        self.error(Code::IcebergCatalogError, request, &format!("gave an answer that is not of the Iceberg REST protocol: {why}"))
            .with_hint("see that the catalog's uri is that of an Iceberg REST catalog, and not of something before it")
    }

    fn elsewhere(&self, request: &Request, status: u16, answer: &Answer) -> Error {
        let to = answer.headers.get(LOCATION).and_then(|to| Url::parse(to.to_str().ok()?).ok());
        let to = to.map(|to| format!(" to '{}'", shown(&to))).unwrap_or_default();
        self.error(Code::IcebergCatalogError, request, &format!("sends its clients elsewhere{to} (status {status})"))
            .with_hint("set the catalog's uri to the address that it is at")
    }

    /// What an answer says.
    ///
    /// Errors: `ICEBERG_CATALOG_ERROR` for one that is no JSON of that kind.
    pub(crate) fn parsed<T: DeserializeOwned>(&self, request: &Request, answer: &Answer) -> Result<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let why = match answer.body.first() {
                None => String::from("it is empty"),
                // What is JSON can have secrets in it.
                Some(b'{') => error.to_string(),
                Some(_) => format!("'{}'", answer.excerpt()),
            };
            self.nonsense(request, &why)
        })
    }

    /// Our error for an answer that is no success and that has no meaning of its own where it was asked for.
    pub(crate) fn failure(&self, request: &Request, answer: &Answer) -> Fault {
        let said = answer.said();
        let why = said.as_deref().map(|said| format!(": {said}")).unwrap_or_default();
        let error = match answer.status.as_u16() {
            401 | TOKEN_EXPIRED => self
                .error(Code::CatalogAccessDenied, request, &format!("refused the credentials{why}"))
                .with_hint("check the catalog's credential or token in the configuration"),
            403 => self
                .error(Code::CatalogAccessDenied, request, &format!("does not allow it{why}"))
                .with_hint("ask who runs that catalog for the right to do it"),
            429 => self.unavailable(request, &format!("has too much to do{why}")),
            406 | 501 => self.error(Code::NotSupported, request, &format!("does not support it{why}")),
            status @ 300..=399 => self.elsewhere(request, status, answer),
            status @ 500..=599 => self.unavailable(request, &format!("failed with status {status}{why}")),
            400 | 404 | 405 | 409 | 422 if said.is_some() => self.error(Code::IcebergCatalogError, request, &format!("refused it{why}")),
            status => self.nonsense(request, &format!("status {status} with '{}'", answer.excerpt())),
        };
        let error = match retry_after(&answer.headers).filter(|_| matches!(answer.status.as_u16(), 429 | 503)) {
            Some(asked) => error.with_hint(format!("it asks to be left alone for {} s; run the statement again after that", asked.as_secs())),
            None => error,
        };
        // The spec: after these nobody knows. By it 429 and 503 come from a server that has not begun, but what is in front of a server says them too when one
        // does not answer in time.
        match answer.status.as_u16() {
            _ if answer.uncertain => Fault::Lost(error),
            501 => Fault::Refused(error),
            429 | 500..=599 => Fault::Lost(error),
            _ => Fault::Refused(error),
        }
    }

    /// Takes leave to send a request again.
    fn take(&self) -> bool {
        self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give_back(&self) {
        let _ = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| (left < RETRY_BUDGET).then_some(left + 1));
    }
}

impl Answer {
    /// This answer, or the one that has sent the request to the server that gave this: that one does not know us, which is not the fault of our credentials.
    fn or_from(self, sent_away: Option<Self>) -> Self {
        match (self.status.as_u16(), sent_away) {
            (401 | 403 | TOKEN_EXPIRED, Some(sent_away)) => sent_away,
            _ => self,
        }
    }

    /// Whether the token of the request is not, or no longer, a good one.
    pub(crate) fn wants_token(&self) -> bool {
        matches!(self.status.as_u16(), 401 | TOKEN_EXPIRED)
    }

    /// Whether it is an error of that kind, by the name that Java's server gives it.
    pub(crate) fn is_kind(&self, kind: &str) -> bool {
        self.error_model().is_some_and(|model| model.kind.as_deref() == Some(kind))
    }

    /// Whether it says that there is no such thing; a 404 that is not of the protocol says only that the address is wrong.
    pub(crate) fn is_missing(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.error_model().is_some()
    }

    /// What an error says.
    fn said(&self) -> Option<String> {
        let model = self.error_model()?;
        let text = model.message.filter(|message| !message.is_empty()).or(model.kind)?;
        Some(text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned())
    }

    fn error_model(&self) -> Option<ErrorModel> {
        serde_json::from_slice::<ErrorAnswer>(&self.body).ok().map(|answer| answer.error)
    }

    /// Whether the server itself, and nothing in front of it, says that it fails or has too much to do.
    pub(crate) fn is_failure_of_server(&self) -> bool {
        matches!(self.status.as_u16(), 429 | 500..=599) && self.error_model().is_some()
    }

    fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(4 * SHOWN_CHARS_MAX)]);
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(SHOWN_CHARS_MAX).collect()
    }

    fn is_retried(&self, repeatable: bool) -> bool {
        match self.status.as_u16() {
            429 | 503 => true,
            502 | 504 => repeatable,
            _ => false,
        }
    }
}

/// How long to wait before a request is sent again after `retries` times; `asked` is what the server wants. `chance` is between 0 and 1.
fn wait(retries: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let longest = RETRY_WAIT_MIN.saturating_mul(1u32.checked_shl(retries).unwrap_or(u32::MAX)).min(RETRY_WAIT_MAX);
    asked.unwrap_or_default().max(longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0))
}

/// An address without user and password.
fn shown(uri: &Url) -> String {
    let mut uri = uri.clone();
    let _ = uri.set_username("");
    let _ = uri.set_password(None);
    uri.set_query(None);
    uri.as_str().trim_end_matches('/').to_owned()
}

fn certificates(path: &str) -> Result<Vec<Certificate>> {
    let unusable = |why: String| invalid(format!("rest.ca-certificate: '{path}' cannot be used: {why}")).with_retry(Retry::Query);
    let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable(String::from("there is no certificate in it")));
    }
    Ok(certificates)
}

/// A property that is a whole number, or its default.
pub(super) fn number(properties: &BTreeMap<String, String>, name: &str, default: u64) -> Result<u64> {
    match properties.get(name) {
        Some(value) => value.trim().parse().map_err(|_| invalid(format!("property '{name}' is '{value}', which is not a whole number from 0 on"))),
        None => Ok(default),
    }
}

/// A property that is true or false, or its default.
pub(super) fn flag(properties: &BTreeMap<String, String>, name: &str, default: bool) -> Result<bool> {
    match properties.get(name) {
        Some(value) => {
            let parsed = value.trim().to_ascii_lowercase().parse();
            parsed.map_err(|_| invalid(format!("property '{name}' is '{value}', which is not true or false")))
        }
        None => Ok(default),
    }
}

/// The error for properties that have no meaning.
pub(super) fn invalid(what: impl Into<String>) -> Error {
    Error::new(Code::ConfigurationInvalid, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), headers: HeaderMap::new(), body: body.to_owned().into(), uncertain: false }
    }

    fn failure(status: u16, body: &str) -> Fault {
        failure_of(&answer(status, body))
    }

    fn failure_of(answer: &Answer) -> Fault {
        let http = Http::new("prod", &Url::parse("http://user:pw@h:1/x").unwrap(), &BTreeMap::new()).unwrap();
        let request = Request {
            method: Method::GET,
            url: Url::parse("http://h:1/x/v1").unwrap(),
            headers: HeaderMap::new(),
            body: None,
            operation: String::from("load table 'a.b'"),
            repeatable: true,
            secret: false,
        };
        http.failure(&request, answer)
    }

    #[test]
    fn failures_have_codes_and_say_where() {
        let model = r#"{"error": {"message": "no such luck.\nat x", "type": "BadLuckException", "code": 0}}"#;
        for (status, body, code) in [
            (401, model, Code::CatalogAccessDenied),
            (419, model, Code::CatalogAccessDenied),
            (403, "", Code::CatalogAccessDenied),
            (404, "<html>", Code::IcebergCatalogError),
            (400, model, Code::IcebergCatalogError),
            (406, model, Code::NotSupported),
            (200, "<html>", Code::IcebergCatalogError),
            (503, model, Code::CatalogUnavailable),
            (500, "oops", Code::CatalogUnavailable),
        ] {
            let error = failure(status, body).into_error();
            assert_eq!(error.code(), code, "{status}");
            let text = error.message();
            assert!(text.starts_with("cannot load table 'a.b': the server 'http://h:1/x' of catalog 'prod' ") && !text.contains("pw"), "{text}");
            assert_eq!(body == model, text.contains(": no such luck") && !text.contains("at x"), "{text}");
        }
    }

    #[test]
    fn what_nobody_knows_is_told_from_what_did_not_happen() {
        for (status, lost) in [(400, false), (409, false), (429, true), (500, true), (501, false), (502, true), (503, true), (504, true)] {
            assert_eq!(matches!(failure(status, ""), Fault::Lost(_)), lost, "{status}");
        }
        for status in [400, 404, 409, 501] {
            let second = Answer { uncertain: true, ..answer(status, "") };
            assert!(matches!(failure_of(&second), Fault::Lost(_)), "{status}");
        }
        assert!(answer(503, "").is_retried(false) && answer(502, "").is_retried(true) && !answer(502, "").is_retried(false));
        let model = r#"{"error": {"message": "no such luck"}}"#;
        assert!(answer(500, model).is_failure_of_server() && answer(503, model).is_failure_of_server() && !answer(404, model).is_failure_of_server());
        assert!(!answer(500, "oops").is_failure_of_server() && !answer(502, "").is_failure_of_server());
        assert!(!answer(404, "<html>").is_missing() && answer(404, r#"{"error": {}}"#).is_missing());
    }

    #[tokio::test]
    async fn what_is_read_takes_no_longer_than_somebody_waits() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let with = |properties: &[(&str, &str)]| {
            Http::new("prod", &url, &properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()).unwrap()
        };
        assert_eq!(with(&[]).read_time.as_millis(), u128::from(READ_TIME_MS));
        assert_eq!(with(&[("rest.client.socket-timeout-ms", "300")]).read_time.as_millis(), u128::from(READ_TIME_MS));
        assert_eq!(with(&[("rest.client.socket-timeout-ms", "90000")]).read_time.as_millis(), 90_000);
        // Its server accepts and says nothing; of each of the attempts somebody would wait for half a second.
        let http = Http { read_time: Duration::from_millis(700), ..with(&[("rest.client.socket-timeout-ms", "500")]) };
        let request = Request {
            method: Method::GET,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: None,
            operation: String::from("list schemas"),
            repeatable: true,
            secret: false,
        };
        let begun = Instant::now();
        let fault = http.send(&request).await.err().unwrap();
        assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
        assert!(fault.into_error().message().ends_with("does not answer in time"));
    }

    #[test]
    fn who_wants_to_be_left_alone_says_for_how_long() {
        let mut busy = answer(503, "");
        busy.headers.insert(reqwest::header::RETRY_AFTER, reqwest::header::HeaderValue::from_static("120"));
        let Fault::Lost(error) = failure_of(&busy) else { panic!("it is not known whether it was carried out") };
        assert_eq!(error.hint(), Some("it asks to be left alone for 120 s; run the statement again after that"));
    }

    #[test]
    fn waits_grow_and_are_what_the_server_asks_for() {
        let millis = |retries, asked: Option<u64>| wait(retries, asked.map(Duration::from_millis), 1.0).as_millis();
        assert_eq!([0, 1, 4, 5, 40].map(|retries| millis(retries, None)), [100, 200, 1_600, 2_000, 2_000]);
        assert_eq!((millis(0, Some(700)), millis(0, Some(90_000))), (700, 90_000));
    }
}
