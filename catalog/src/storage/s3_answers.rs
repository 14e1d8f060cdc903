//! What object_store does not look at in the answers of a server of S3: whether it is one, which region a bucket is in that is somewhere else, and how long a server that has too
//! much to do asks to be left alone.
//!
//! A page of a proxy or a console with status 200 would be a folder with nothing in it, or a file that was deleted, and a redirection has lost its reason when it comes out.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use memchr::memmem;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService};
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode};
use url::form_urlencoded;

use crate::retry_after::retry_after;

/// By which a server tells where a bucket is.
const REGION: &str = "x-amz-bucket-region";
/// How much of an answer that makes no sense is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 100;
/// The type of a page.
const PAGE: &[u8] = b"text/html";

/// An answer that no server of S3 gives.
#[derive(Debug)]
pub(super) struct NotOfS3 {
    begins: String,
}

impl fmt::Display for NotOfS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what answers is not a server of S3: its answer begins with '{}'", self.begins)
    }
}

impl std::error::Error for NotOfS3 {}

/// Makes clients that look at the answers of those of another connector.
#[derive(Debug)]
pub(super) struct CheckingConnector<C> {
    pub(super) inner: C,
    /// How long a request is sent again. A server that asks for more is not waited for.
    pub(super) retry_timeout: Duration,
}

impl<C: HttpConnector> HttpConnector for CheckingConnector<C> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(CheckingService { inner: self.inner.connect(options)?, retry_timeout: self.retry_timeout }))
    }
}

#[derive(Debug)]
struct CheckingService {
    inner: HttpClient,
    retry_timeout: Duration,
}

#[async_trait]
impl HttpService for CheckingService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let expected = expected(request.method(), &query);
        let response = self.inner.execute(request).await?;
        let status = response.status();
        if let Some(asked) = pause(status, response.headers(), self.retry_timeout) {
            // What comes after this answer is the same request.
            tokio::time::sleep(asked).await;
        }
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED && !response.headers().contains_key(LOCATION) {
            return elsewhere(response).await;
        }
        match expected {
            Some(element) if status.is_success() => checked(response, element, &query).await,
            None if status.is_success() && is_page(status, response.headers()) => Err(not_of_s3(&response.into_body().bytes().await?)),
            _ => Ok(response),
        }
    }
}

/// How long is waited before an answer is passed on upon which the request is sent again: as long as the server asks for, if that is no longer than we would try.
fn pause(status: StatusCode, headers: &HeaderMap, retry_timeout: Duration) -> Option<Duration> {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
        .then(|| retry_after(headers))?
        .filter(|asked| *asked < retry_timeout)
}

/// The element that the answer to a request is, if that is to be looked at: of listings, and of the removal of several objects.
fn expected(method: &Method, query: &str) -> Option<&'static str> {
    let mut names = query.split('&');
    match *method {
        Method::GET if names.any(|pair| pair == "list-type=2") => Some("ListBucketResult"),
        Method::POST if names.any(|pair| pair == "delete" || pair == "delete=") => Some("DeleteResult"),
        _ => None,
    }
}

/// Whether an answer is a page for people to read: one that is an object has a tag, whatever is in it. Google's server and Swift's give that type to the answer without
/// content that something is deleted, too.
fn is_page(status: StatusCode, headers: &HeaderMap) -> bool {
    let is_html = |kind: &[u8]| kind.get(..PAGE.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(PAGE));
    status != StatusCode::NO_CONTENT && !headers.contains_key(ETAG) && headers.get(CONTENT_TYPE).is_some_and(|kind| is_html(kind.as_bytes()))
}

async fn checked(response: HttpResponse, element: &str, query: &str) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let bytes = body.bytes().await?;
    if memmem::find(&bytes, element.as_bytes()).is_none() || leads_back(query, &bytes) {
        return Err(not_of_s3(&bytes));
    }
    Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(bytes)))
}

/// Whether a page of a listing says that the one behind it is itself: it would be asked for ever.
fn leads_back(query: &str, page: &[u8]) -> bool {
    const NEXT: &[u8] = b"<NextContinuationToken>";
    let asked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "continuation-token");
    let (Some((_, asked)), Some(start)) = (asked, memmem::find(page, NEXT)) else { return false };
    page[start + NEXT.len()..].strip_prefix(asked.as_bytes()).is_some_and(|rest| rest.starts_with(b"<"))
}

fn not_of_s3(answer: &[u8]) -> HttpError {
    let begins = String::from_utf8_lossy(&answer[..answer.len().min(SHOWN_BYTES_MAX)]);
    let begins = begins.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    HttpError::new(HttpErrorKind::Decode, NotOfS3 { begins })
}

/// A redirection without an address as a refusal, whose text is kept; the region that is only in a header is put into it.
async fn elsewhere(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let region = parts.headers.get(REGION).and_then(|region| region.to_str().ok());
    let said = String::from_utf8_lossy(&body.bytes().await?).into_owned();
    let mut response = HttpResponse::new(HttpResponseBody::from(with_region(said, region)));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    Ok(response)
}

fn with_region(said: String, region: Option<&str>) -> String {
    const END: &str = "</Error>";
    let region = region.filter(|region| region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
    let region = region.map(|region| format!("<Region>{region}</Region>")).unwrap_or_default();
    match said.rsplit_once(END) {
        Some((before, _)) => format!("{before}{region}{END}"),
        None => format!("<Error><Code>PermanentRedirect</Code><Message>the bucket is somewhere else</Message>{region}{END}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: StatusCode, body: &str) -> HttpResponse {
        let mut response = HttpResponse::new(HttpResponseBody::from(body.to_owned()));
        *response.status_mut() = status;
        response
    }

    #[tokio::test]
    async fn a_page_is_no_listing() {
        assert_eq!(expected(&Method::GET, "delimiter=%2F&list-type=2"), Some("ListBucketResult"));
        assert_eq!((expected(&Method::POST, "delete"), expected(&Method::GET, "")), (Some("DeleteResult"), None));
        let listing = r#"<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></ListBucketResult>"#;
        let kept = checked(response(StatusCode::OK, listing), "ListBucketResult", "list-type=2").await.unwrap();
        assert_eq!(kept.into_body().bytes().await.unwrap(), listing.as_bytes());
        let error = checked(response(StatusCode::OK, "<html>\nlog in"), "ListBucketResult", "").await.unwrap_err();
        let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<NotOfS3>());
        assert!(cause.is_some_and(|cause| cause.to_string().ends_with("'<html> log in'")), "{error}");
    }

    #[test]
    fn a_page_that_leads_back() {
        let page = b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a/b</NextContinuationToken></ListBucketResult>";
        assert!(leads_back("continuation-token=a%2Fb&list-type=2", page));
        assert!(!leads_back("list-type=2", page) && !leads_back("continuation-token=a&list-type=2", page));
        assert!(!leads_back("continuation-token=a&list-type=2", b"<ListBucketResult></ListBucketResult>"));
    }

    #[test]
    fn a_page_is_no_object() {
        let headers = |pairs: &[(reqwest::header::HeaderName, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.clone(), reqwest::header::HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        let html = || headers(&[(CONTENT_TYPE, "text/HTML; charset=utf-8")]);
        assert!(is_page(StatusCode::OK, &html()) && !is_page(StatusCode::NO_CONTENT, &html()));
        // That of a catalog of pages, and what a server of credentials answers.
        assert!(!is_page(StatusCode::OK, &headers(&[(CONTENT_TYPE, "text/html"), (ETAG, "\"1\"")])));
        assert!(!is_page(StatusCode::OK, &headers(&[(CONTENT_TYPE, "text/plain")])) && !is_page(StatusCode::OK, &HeaderMap::new()));
    }

    #[test]
    fn a_server_that_has_too_much_to_do_is_left_alone() {
        let headers: HeaderMap = [(reqwest::header::RETRY_AFTER, reqwest::header::HeaderValue::from_static("5"))].into_iter().collect();
        let asked = |status: u16, seconds: u64| pause(StatusCode::from_u16(status).unwrap(), &headers, Duration::from_secs(seconds));
        assert_eq!([asked(503, 30), asked(429, 30)], [Some(Duration::from_secs(5)); 2]);
        assert_eq!([asked(503, 5), asked(500, 30), asked(200, 30)], [None; 3]);
        assert_eq!(pause(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), Duration::from_secs(30)), None);
    }

    #[tokio::test]
    async fn a_redirection_keeps_what_it_says() {
        let text = "<Error><Code>PermanentRedirect</Code><Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint></Error>";
        let mut redirection = response(StatusCode::MOVED_PERMANENTLY, text);
        redirection.headers_mut().insert(REGION, reqwest::header::HeaderValue::from_static("eu-west-1"));
        let refusal = elsewhere(redirection).await.unwrap();
        assert_eq!(refusal.status(), StatusCode::BAD_REQUEST);
        let body = refusal.into_body().bytes().await.unwrap();
        assert!(body.ends_with(b"amazonaws.com</Endpoint><Region>eu-west-1</Region></Error>"), "{body:?}");
        assert!(with_region(String::new(), Some("<x>")).ends_with("somewhere else</Message></Error>"));
    }
}
