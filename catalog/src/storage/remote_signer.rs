//! Requests to S3 that a catalog's server signs, one by one, because it gives its keys to nobody. Each process asks it itself.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use nunatak_core::{Error, Result, Retry};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use reqwest::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::backend::rest::client::{Call, Client, Reply, parse_uri};
use crate::messages::{SignRequest, SignedRequest};

/// The address of the signer.
pub(super) const ENDPOINT: &str = "client.sign-endpoint";
const CATALOG: &str = "client.sign-catalog";
/// The properties of whoever asks the signer begin with it.
const CLIENT: &str = "client.sign.";
const REGION: &str = "us-east-1";
/// A signature that its client may keep is used for so long (Java: `S3V4RestSignerClient`); S3 takes it for 15 minutes.
const KEPT: Duration = Duration::from_secs(30);
const KEPT_MAX: u64 = 1_000;
/// What is not signed: it may be another one each time, or is the connection's.
const UNSIGNED: [&str; 4] = ["authorization", "content-length", "range", "user-agent"];

/// The properties by which requests are signed at `endpoint`, by a client of the catalog's server with these properties.
pub(crate) fn remote(catalog: &str, endpoint: &str, client: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut properties: BTreeMap<_, _> = client.into_iter().map(|(name, value)| (format!("{CLIENT}{name}"), value)).collect();
    properties.extend([(ENDPOINT, endpoint), (CATALOG, catalog)].map(|(name, value)| (name.to_owned(), value.to_owned())));
    properties
}

/// A signer that is asked.
pub(super) struct RemoteSigner {
    client: Client,
    endpoint: Url,
    region: String,
    /// By method and address, where nothing else is signed.
    kept: Cache<String, Arc<SignedRequest>>,
}

/// Why a request has no signature.
enum Unsigned {
    /// The signer does not allow it, in its words.
    Refused(Vec<u8>),
    Failed(Error),
}

impl fmt::Debug for RemoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSigner").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

impl From<Error> for Unsigned {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl RemoteSigner {
    /// That of a storage; `None` if its requests are signed here.
    pub(super) fn new(properties: &BTreeMap<String, String>) -> Result<Option<Arc<Self>>> {
        let Some(endpoint) = properties.get(ENDPOINT) else { return Ok(None) };
        let endpoint = parse_uri(endpoint)?;
        let of_client = properties.iter().filter_map(|(name, value)| Some((name.strip_prefix(CLIENT)?.to_owned(), value.clone())));
        let catalog = properties.get(CATALOG).map(String::as_str).unwrap_or_default();
        let client = Client::new(catalog, &endpoint, &of_client.collect(), false)?;
        let region = ["s3.region", "client.region"].iter().find_map(|name| properties.get(*name));
        let region = region.cloned().unwrap_or_else(|| REGION.to_owned());
        let kept = Cache::builder().max_capacity(KEPT_MAX).time_to_live(KEPT).build();
        Ok(Some(Arc::new(Self { client, endpoint, region, kept })))
    }

    /// Gives a request its signature.
    async fn sign(&self, request: &mut HttpRequest) -> Result<(), Unsigned> {
        let asked = self.asked(request)?;
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let key = (is_read && asked.headers.is_empty()).then(|| format!("{} {}", asked.method, asked.uri));
        if let Some(key) = &key
            && let Some(kept) = self.kept.get(key).await
        {
            return Ok(apply(request, &kept)?);
        }
        let json = serde_json::to_string(&asked).map_err(|error| Error::internal("a request cannot be written").with_source(error))?;
        let operation = format!("have {} of '{}' signed", asked.method, asked.uri.split('?').next().unwrap_or_default());
        let call = Call::post_again(self.endpoint.clone(), operation, json);
        let reply = self.client.call(call).await.map_err(|fault| Unsigned::Failed(fault.into_error()))?;
        let signed: Arc<SignedRequest> = match reply.answer.status {
            status if status.is_success() => Arc::new(reply.parsed()?),
            StatusCode::FORBIDDEN => return Err(Unsigned::Refused(reply.answer.body.to_vec())),
            _ => return Err(Unsigned::Failed(reply.failure().into_error())),
        };
        if let Some(key) = key.filter(|_| may_keep(&reply)) {
            self.kept.insert(key, Arc::clone(&signed)).await;
        }
        Ok(apply(request, &signed)?)
    }

    /// A request as the signer is told of it.
    fn asked(&self, request: &HttpRequest) -> Result<SignRequest> {
        let mut headers: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in request.headers().iter().filter(|(name, _)| !UNSIGNED.contains(&name.as_str())) {
            let value = value.to_str().map_err(|error| Error::internal(format!("header '{name}' cannot be signed: {error}")))?;
            headers.entry(name.as_str().to_owned()).or_default().push(value.to_owned());
        }
        // Names of objects to delete are only in what is sent.
        let deletes =
            *request.method() == Method::POST && request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("delete")));
        let body = request.body().as_bytes().filter(|_| deletes).map(|body| String::from_utf8_lossy(body).into_owned());
        let (method, uri) = (request.method().as_str().to_owned(), request.uri().to_string());
        Ok(SignRequest { region: Some(self.region.clone()), method, uri, headers, body })
    }
}

/// Whether a signature may be used again, for a request that differs in nothing that is signed.
fn may_keep(reply: &Reply<'_>) -> bool {
    let said = reply.answer.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    said.is_some_and(|said| said.split(',').any(|word| word.trim().eq_ignore_ascii_case("private")))
}

fn apply(request: &mut HttpRequest, signed: &SignedRequest) -> Result<()> {
    let nonsense = |what: &str| Error::internal(format!("the signer of requests to storage gives {what}"));
    *request.uri_mut() = signed.uri.parse().map_err(|_| nonsense("an address that is none"))?;
    for (name, values) in &signed.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| nonsense("a header whose name is none"))?;
        request.headers_mut().remove(&name);
        for value in values {
            let value = HeaderValue::from_str(value).map_err(|_| nonsense("a header that cannot be sent"))?;
            request.headers_mut().append(&name, value);
        }
    }
    Ok(())
}

/// Makes clients whose requests are signed by the signer before they are sent.
#[derive(Debug)]
pub(super) struct SigningConnector(Arc<RemoteSigner>);

impl SigningConnector {
    pub(super) fn new(signer: Arc<RemoteSigner>) -> Self {
        Self(signer)
    }
}

impl HttpConnector for SigningConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(SigningService { inner, signer: Arc::clone(&self.0) }))
    }
}

#[derive(Debug)]
struct SigningService {
    inner: HttpClient,
    signer: Arc<RemoteSigner>,
}

#[async_trait]
impl HttpService for SigningService {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match self.signer.sign(&mut request).await {
            Ok(()) => self.inner.execute(request).await,
            // As if storage had said it: that is what it would do with a request that nobody has signed.
            Err(Unsigned::Refused(why)) => {
                let mut response = HttpResponse::new(HttpResponseBody::from(why));
                *response.status_mut() = StatusCode::FORBIDDEN;
                Ok(response)
            }
            Err(Unsigned::Failed(error)) => {
                let kind = if error.retry() == Retry::Never { HttpErrorKind::Unknown } else { HttpErrorKind::Request };
                Err(HttpError::new(kind, error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;

    use super::*;

    fn signer() -> Arc<RemoteSigner> {
        let mut properties = remote("prod", "http://127.0.0.1:1/v1/t/sign", BTreeMap::from([("rest.client.max-retries".into(), "0".into())]));
        properties.insert("s3.region".to_owned(), "north".to_owned());
        RemoteSigner::new(&properties).unwrap().unwrap()
    }

    fn request(method: Method, uri: &str, body: &str) -> HttpRequest {
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().unwrap();
        for (name, value) in [("range", "bytes=0-9"), ("x-amz-storage-class", "STANDARD")] {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn the_signer_is_told_what_it_must_see() {
        let asked = signer().asked(&request(Method::POST, "http://s/b?delete", "<Delete/>")).unwrap();
        assert_eq!((asked.region.as_deref(), asked.method.as_str(), asked.body.as_deref()), (Some("north"), "POST", Some("<Delete/>")));
        assert_eq!(asked.headers.keys().collect::<Vec<_>>(), ["x-amz-storage-class"]);
        assert_eq!(signer().asked(&request(Method::PUT, "http://s/b/k", "secret")).unwrap().body, None);
        assert!(RemoteSigner::new(&BTreeMap::new()).unwrap().is_none());
    }

    #[test]
    fn a_request_becomes_what_was_signed() {
        let mut sent = request(Method::GET, "http://s/b/k=1", "");
        let headers =
            HashMap::from([("Authorization".to_owned(), vec!["signed".to_owned()]), ("x-amz-storage-class".to_owned(), vec!["COLD".to_owned()])]);
        apply(&mut sent, &SignedRequest { uri: "http://s/b/k%3D1".to_owned(), headers }).unwrap();
        assert_eq!(
            (sent.uri().path(), &sent.headers()["authorization"], &sent.headers()["range"]),
            ("/b/k%3D1", &HeaderValue::from_static("signed"), &HeaderValue::from_static("bytes=0-9"))
        );
        assert_eq!(sent.headers().get_all("x-amz-storage-class").iter().count(), 1);
    }

    #[tokio::test]
    async fn a_signer_that_is_down_is_told_from_storage_that_is() {
        let service = SigningService { inner: ReqwestConnector::default().connect(&ClientOptions::new()).unwrap(), signer: signer() };
        let error = service.call(request(Method::GET, "http://127.0.0.1:1/b/k", "")).await.unwrap_err();
        assert_eq!(error.kind(), HttpErrorKind::Request);
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<Error>());
        assert_eq!(cause.map(Error::code), Some(nunatak_core::Code::CatalogUnavailable));
    }
}
