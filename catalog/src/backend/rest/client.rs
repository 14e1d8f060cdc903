//! Calls of one server by somebody: each says who we are, and says it anew if the server does not take it.

use std::collections::BTreeMap;

use bytes::Bytes;
use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result, Retry};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::auth::{Auth, secret};
use super::http::{Answer, Fault, Http, Request, invalid};

/// What names of properties begin with that are headers of every request.
const HEADER: &str = "header.";
/// Asks the server for a way to storage.
const DELEGATION: &str = "x-iceberg-access-delegation";
/// Credentials cost fewer requests.
const WAYS: &str = "vended-credentials,remote-signing";

/// A server and who we are to it.
#[derive(Debug)]
pub(crate) struct Client {
    http: Http,
    auth: Auth,
    headers: HeaderMap,
}

/// A call.
pub(crate) struct Call {
    method: Method,
    url: Url,
    operation: String,
    body: Option<Result<Vec<u8>>>,
    headers: HeaderMap,
    repeatable: bool,
}

impl Call {
    /// A call that only reads.
    pub(crate) fn get(url: Url, operation: impl Into<String>) -> Self {
        Self { method: Method::GET, url, operation: operation.into(), body: None, headers: HeaderMap::new(), repeatable: true }
    }

    /// A call that changes something: it is not sent again when its answer is lost. It is when the server says that it has too much to do: an answer to a later one that
    /// refuses it is [uncertain](Answer::uncertain) then, and whoever calls looks what has become of it.
    pub(crate) fn post(url: Url, operation: impl Into<String>, body: &impl Serialize) -> Self {
        let json = serde_json::to_vec(body).map_err(|error| Error::internal("a request cannot be written").with_source(error));
        Self { method: Method::POST, body: Some(json), repeatable: false, ..Self::get(url, operation) }
    }

    /// A call that sends JSON and changes nothing.
    pub(crate) fn post_again(url: Url, operation: impl Into<String>, json: String) -> Self {
        Self { method: Method::POST, body: Some(Ok(json.into_bytes())), ..Self::get(url, operation) }
    }

    /// A call that removes something: it is not sent again either.
    pub(crate) fn delete(url: Url, operation: impl Into<String>) -> Self {
        Self { method: Method::DELETE, repeatable: false, ..Self::get(url, operation) }
    }

    /// One that may be sent again all the same.
    pub(crate) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    /// One that is to be answered with nothing if what it asks for is still what has this tag.
    pub(crate) fn unless(mut self, tag: Option<HeaderValue>) -> Self {
        if let Some(tag) = tag {
            self.headers.insert(IF_NONE_MATCH, tag);
        }
        self
    }
}

/// An answer to a call, with what it takes to speak of it.
pub(crate) struct Reply<'a> {
    http: &'a Http,
    request: Request,
    /// The answer.
    pub(crate) answer: Answer,
}

impl Client {
    /// A client of the server at `uri`. It asks for credentials of storage if `wants_credentials`, unless the configuration has something else in that header.
    ///
    /// Errors: `CONFIGURATION_INVALID`, `NOT_SUPPORTED`.
    pub(crate) fn new(catalog: &str, uri: &Url, properties: &BTreeMap<String, String>, wants_credentials: bool) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if wants_credentials {
            headers.insert(HeaderName::from_static(DELEGATION), HeaderValue::from_static(WAYS));
        }
        for (property, value) in properties {
            let Some(name) = property.strip_prefix(HEADER) else { continue };
            let header = HeaderName::try_from(name).map_err(|_| invalid(format!("property '{property}': '{name}' is no name of a header")))?;
            match value.is_empty() {
                true => headers.remove(header),
                false => headers.insert(header, secret(value, property)?),
            };
        }
        Ok(Self { http: Http::new(catalog, uri, properties)?, auth: Auth::new(uri, properties)?, headers })
    }

    /// Makes a call. Any answer is one.
    ///
    /// Errors: `CATALOG_UNAVAILABLE`, `CATALOG_ACCESS_DENIED` if there is no token.
    pub(crate) async fn call(&self, call: Call) -> Result<Reply<'_>, Fault> {
        let Call { method, url, operation, body, headers: own, repeatable } = call;
        let mut headers = self.headers.clone();
        headers.extend(own);
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = body.transpose().map_err(Fault::Refused)?.map(Bytes::from);
        let mut request = Request { method, url, headers, body, operation, repeatable, secret: false };
        let said = self.auth.authorization(&self.http, None).await.map_err(Fault::Refused)?;
        if let Some(said) = &said {
            request.headers.insert(AUTHORIZATION, said.clone());
        }
        let mut answer = self.http.send(&request).await?;
        if answer.wants_token() && self.auth.can_renew() {
            let uncertain = answer.uncertain;
            let refused = |error| if uncertain { Fault::Lost(error) } else { Fault::Refused(error) };
            let renewed = self.auth.authorization(&self.http, said.as_ref()).await.map_err(refused)?;
            if let Some(renewed) = renewed {
                request.headers.insert(AUTHORIZATION, renewed);
            }
            answer = self.http.send(&request).await.map_err(|fault| if uncertain { Fault::Lost(fault.into_error()) } else { fault })?;
            answer.uncertain |= uncertain;
        }
        Ok(Reply { http: &self.http, request, answer })
    }

    /// Makes a call that is an error unless it succeeds.
    pub(crate) async fn succeed(&self, call: Call) -> Result<Reply<'_>> {
        let reply = self.call(call).await.map_err(Fault::into_error)?;
        if reply.answer.status.is_success() { Ok(reply) } else { Err(reply.failure().into_error()) }
    }
}

impl Reply<'_> {
    /// What it says. Errors: `ICEBERG_CATALOG_ERROR`.
    pub(crate) fn parsed<T: DeserializeOwned>(&self) -> Result<T> {
        self.http.parsed(&self.request, &self.answer)
    }

    /// The error that it is.
    pub(crate) fn failure(&self) -> Fault {
        self.http.failure(&self.request, &self.answer)
    }

    /// The error that it is of one table or view. A server that speaks the protocol, and says that it fails there, is up: nothing follows for the others.
    pub(crate) fn failure_of_one(&self) -> Error {
        let error = self.failure().into_error();
        if !self.answer.is_failure_of_server() || error.code() != Code::CatalogUnavailable {
            return error;
        }
        Error::new(Code::IcebergCatalogError, error.message())
            .with_hint("the log of that server may tell more; run the statement again")
            .with_retry(Retry::Query)
    }

    /// The error that it is if it makes no sense.
    pub(crate) fn nonsense(&self, why: &str) -> Error {
        self.http.nonsense(&self.request, why)
    }

    /// `missing`, if it says that there is no such thing, else the error that it is.
    pub(crate) fn failure_or(&self, missing: impl FnOnce() -> Error) -> Error {
        if self.answer.is_missing() { missing() } else { self.failure().into_error() }
    }

    /// What tells this state of the thing from others.
    pub(crate) fn tag(&self) -> Option<HeaderValue> {
        self.answer.headers.get(ETAG).cloned()
    }
}

/// The address of a catalog.
///
/// Errors: `CONFIGURATION_INVALID`.
pub(crate) fn parse_uri(uri: &str) -> Result<Url> {
    let wrong = |why: String| {
        Error::new(Code::ConfigurationInvalid, format!("uri '{}' is not the address of a REST catalog: {why}", without_password(uri)))
            .with_hint("an address is one such as http://127.0.0.1:8181")
    };
    let parsed = Url::parse(uri).map_err(|error| wrong(error.to_string()))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(wrong(format!("'{other}' is neither http nor https"))),
    }
}
