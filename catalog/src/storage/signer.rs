//! Signs requests to S3 for others, who have no keys: each request is looked at, and signed only if all that it touches lies below one location.
//!
//! What is signed is not the address as it was written but as it was understood, and that one is given back: two ways of reading it cannot mean two objects.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use nunatak_core::{Code, Error, Result};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use super::Location;
use crate::messages::{SignRequest, SignedRequest};

/// What S3 writes encoded in the address that is signed: all but what is sure to mean itself.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_PATH: &AsciiSet = &ENCODED.remove(b'/');
/// The parameters of requests for one object that are signed; others, such as `acl`, are other operations.
const OF_OBJECTS: [&str; 7] = ["encoding-type", "max-parts", "part-number-marker", "partNumber", "uploadId", "uploads", "x-id"];
/// The same for requests for many.
const OF_BUCKETS: [&str; 9] =
    ["continuation-token", "delimiter", "encoding-type", "fetch-owner", "list-type", "max-keys", "prefix", "start-after", "x-id"];
/// Headers that are the connection's or the client's own: whoever carries a request on may change them.
const UNSIGNED: [&str; 8] = ["accept-encoding", "authorization", "connection", "content-length", "expect", "host", "user-agent", "x-amzn-trace-id"];
/// What names of headers begin with that would give rights to somebody, or take them from others.
const REFUSED: [&str; 5] = ["x-amz-acl", "x-amz-bypass-", "x-amz-grant-", "x-amz-object-lock-", "x-amz-website-"];
const COPY_SOURCE: &str = "x-amz-copy-source";
const CONTENT_HASH: &str = "x-amz-content-sha256";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const HASH_BYTES: usize = 32;

/// What signs requests to one bucket.
pub(crate) struct S3Signer {
    keys: AwsCredentialProvider,
    region: String,
    bucket: String,
    /// The server, if it is not AWS.
    endpoint: Option<Url>,
}

/// A request as it is understood.
#[derive(Debug, PartialEq, Eq)]
struct Understood {
    /// The address to sign, and to use.
    uri: String,
    /// The objects that it is about, by name.
    objects: Vec<String>,
    /// What it lists the objects by, if it does that.
    prefix: Option<String>,
    writes: bool,
    /// Whether it names what it is about only in what it sends.
    is_delete: bool,
}

/// What is sent to delete many objects.
#[derive(Deserialize)]
struct Delete {
    #[serde(default, rename = "Object")]
    objects: Vec<DeletedObject>,
}

#[derive(Deserialize)]
struct DeletedObject {
    #[serde(rename = "Key")]
    key: String,
}

impl fmt::Debug for S3Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Signer").field("bucket", &self.bucket).field("region", &self.region).finish_non_exhaustive()
    }
}

impl S3Signer {
    /// Signs requests to a bucket at `endpoint`, or at AWS, with keys.
    pub(super) fn new(keys: AwsCredentialProvider, region: String, bucket: &str, endpoint: Option<Url>) -> Self {
        Self { keys, region, bucket: bucket.to_owned(), endpoint }
    }

    /// Signs a request, if all that it touches lies below `place`.
    ///
    /// Errors: `PERMISSION_DENIED` for one that touches something else, or writes where it may not; `INVALID_ARGUMENTS`, `NOT_SUPPORTED`.
    pub(crate) async fn sign(&self, place: &Location, request: &SignRequest, may_write: bool) -> Result<SignedRequest> {
        let mut headers = headers(&request.headers)?;
        let mut understood = self.understood(&request.method, &request.uri)?;
        if let Some(source) = headers.get(COPY_SOURCE) {
            understood.objects.push(self.copied(source)?);
        }
        let mut hash = content_hash(&headers)?;
        if understood.is_delete {
            // What it deletes must be what was looked at.
            let body =
                request.body.as_deref().ok_or_else(|| refused("what is to be deleted is not told; the body of such a request is needed here"))?;
            let Delete { objects } =
                quick_xml::de::from_str(body).map_err(|error| invalid(format!("what is to be deleted cannot be read: {error}")))?;
            understood.objects.extend(objects.into_iter().map(|object| object.key));
            hash = Some(Sha256::digest(body.as_bytes()).to_vec());
        }
        if understood.writes && !may_write {
            return Err(refused("it writes, and the catalog may only be read"));
        }
        self.check(place, &understood)?;
        headers.remove(CONTENT_HASH);
        let uri = understood.uri.parse().map_err(|_| invalid(format!("'{}' is not an address", request.uri)))?;
        let mut signed = HttpRequest::new(HttpRequestBody::empty());
        *signed.method_mut() = method(&request.method)?;
        *signed.uri_mut() = uri;
        *signed.headers_mut() = headers;
        let keys = self.keys.get_credential().await.map_err(|error| super::error::from_object_store(error, &place.to_string()))?;
        AwsAuthorizer::new(&keys, "s3", &self.region).with_sign_payload(hash.is_some()).authorize(&mut signed, hash.as_deref());
        let mut headers: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in signed.headers() {
            let value = value.to_str().map_err(|error| Error::internal(format!("header '{name}' cannot be written: {error}")))?;
            headers.entry(name.as_str().to_owned()).or_default().push(value.to_owned());
        }
        Ok(SignedRequest { uri: understood.uri, headers })
    }

    /// What a request is about.
    fn understood(&self, method: &str, uri: &str) -> Result<Understood> {
        let url = Url::parse(uri).map_err(|error| invalid(format!("'{uri}' is not an address: {error}")))?;
        let (base, path) = self.place(&url).ok_or_else(|| refused(format!("'{uri}' is not in bucket '{}'", self.bucket)))?;
        let key = percent_decode_str(path).decode_utf8().map_err(|_| invalid("the name of an object is not UTF-8"))?.into_owned();
        let mut parameters = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            let known = if key.is_empty() { &OF_BUCKETS[..] } else { &OF_OBJECTS[..] };
            let deletes = key.is_empty() && name == "delete";
            if !deletes && !known.contains(&&*name) {
                return Err(refused(format!("its parameter '{name}' is none of those that are signed")));
            }
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(invalid(format!("a parameter of '{uri}' is there twice")));
            }
        }
        let query: Vec<_> = parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let mut signed = format!("{base}/{}", utf8_percent_encode(&key, ENCODED_PATH));
        if !query.is_empty() {
            signed.push('?');
            signed.push_str(&query.join("&"));
        }
        let understood = Understood { uri: signed, objects: Vec::new(), prefix: None, writes: true, is_delete: false };
        let is_delete = parameters.contains_key("delete");
        match (method, key.is_empty()) {
            ("GET" | "HEAD", false) => Ok(Understood { objects: vec![key], writes: false, ..understood }),
            ("PUT" | "POST" | "DELETE", false) => Ok(Understood { objects: vec![key], ..understood }),
            ("POST", true) if is_delete => Ok(Understood { is_delete, ..understood }),
            ("GET", true) if !is_delete => {
                let prefix = parameters.remove("prefix").ok_or_else(|| refused("it lists the whole bucket"))?;
                Ok(Understood { prefix: Some(prefix), writes: false, ..understood })
            }
            _ => Err(refused(format!("{method} of '{uri}' is none of the operations that are signed"))),
        }
    }

    /// The bucket's address, and what of a request's address comes behind it; `None` if that is another one.
    fn place<'a>(&self, url: &'a Url) -> Option<(String, &'a str)> {
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let host = url.host_str()?;
        let origin = format!("{}://{host}{}", url.scheme(), url.port().map(|port| format!(":{port}")).unwrap_or_default());
        let in_path = |around: &str| {
            let rest = url.path().strip_prefix(around)?.strip_prefix('/')?.strip_prefix(self.bucket.as_str())?;
            let key = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
            Some((format!("{origin}{around}/{}", self.bucket), key))
        };
        match &self.endpoint {
            Some(endpoint) => {
                let same = (url.scheme(), url.host_str(), url.port()) == (endpoint.scheme(), endpoint.host_str(), endpoint.port());
                if same { in_path(endpoint.path().trim_end_matches('/')) } else { None }
            }
            None => {
                let own = ["s3.amazonaws.com".to_owned(), format!("s3.{}.amazonaws.com", self.region)];
                if url.scheme() != "https" || url.port().is_some() {
                    return None;
                }
                if own.iter().any(|own| own == host) {
                    return in_path("");
                }
                let bucket =
                    own.iter().any(|own| host.strip_suffix(own.as_str()).and_then(|before| before.strip_suffix('.')) == Some(self.bucket.as_str()));
                bucket.then(|| (origin.clone(), url.path().trim_start_matches('/')))
            }
        }
    }

    /// The object that is copied: `/bucket/key`.
    fn copied(&self, source: &HeaderValue) -> Result<String> {
        let source = source.to_str().map_err(|_| invalid(format!("{COPY_SOURCE} has letters that cannot be sent")))?;
        let source = percent_decode_str(source).decode_utf8().map_err(|_| invalid(format!("{COPY_SOURCE} is not UTF-8")))?;
        let key = source.trim_start_matches('/').strip_prefix(self.bucket.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let key = key.filter(|key| !key.contains('?'));
        key.map(str::to_owned).ok_or_else(|| refused(format!("'{source}' is not in bucket '{}'", self.bucket)))
    }

    fn check(&self, place: &Location, understood: &Understood) -> Result<()> {
        let Understood { objects, prefix, .. } = understood;
        for (key, is_prefix) in objects.iter().map(|key| (key, false)).chain(prefix.iter().map(|prefix| (prefix, true))) {
            // Servers that keep objects in folders go up by these.
            let mut parts = key.trim_end_matches('/').split('/');
            if key.is_empty() || parts.any(|part| matches!(part, "" | "." | "..")) {
                return Err(refused(format!("'{key}' is not the name of a file of a table")));
            }
            let below = Location::parse(&format!("s3://{}/{key}", self.bucket)).ok();
            let below = below.as_ref().and_then(|object| object.below(place)).filter(|below| !below.is_empty());
            if below.is_none() {
                let what = if is_prefix { "what begins with" } else { "object" };
                return Err(refused(format!("{what} '{key}' of bucket '{}' is not below the table's location", self.bucket)));
            }
        }
        Ok(())
    }
}

/// The headers that are signed.
fn headers(given: &HashMap<String, Vec<String>>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, values) in given {
        let name = HeaderName::try_from(name.as_str()).map_err(|_| invalid(format!("'{name}' is no name of a header")))?;
        if UNSIGNED.contains(&name.as_str()) || name.as_str().starts_with("amz-sdk-") {
            continue;
        }
        if REFUSED.iter().any(|refused| name.as_str().starts_with(refused)) {
            return Err(refused(format!("requests with the header '{name}' are not signed")));
        }
        for value in values {
            let value = HeaderValue::from_str(value).map_err(|_| invalid(format!("header '{name}' has letters that cannot be sent")))?;
            headers.append(&name, value);
        }
    }
    // Signed twice, they would be those of nobody.
    for own in ["x-amz-date", "x-amz-security-token"] {
        headers.remove(own);
    }
    Ok(headers)
}

/// The hash of what is sent, if its client wants it signed.
fn content_hash(headers: &HeaderMap) -> Result<Option<Vec<u8>>> {
    let Some(hash) = headers.get(CONTENT_HASH) else { return Ok(None) };
    let hash = hash.to_str().map_err(|_| invalid(format!("{CONTENT_HASH} has letters that cannot be sent")))?;
    if hash == UNSIGNED_PAYLOAD {
        return Ok(None);
    }
    let byte = |number: usize| hash.get(2 * number..2 * number + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let bytes: Option<Vec<u8>> = (0..HASH_BYTES).map(byte).collect();
    match bytes.filter(|_| hash.len() == 2 * HASH_BYTES) {
        Some(bytes) => Ok(Some(bytes)),
        None => {
            Err(Error::not_supported(format!("requests whose {CONTENT_HASH} is '{hash}' are not signed: that is for parts that are sent one by one")))
        }
    }
}

fn method(name: &str) -> Result<Method> {
    Method::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("'{name}' is no method")))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn refused(why: impl fmt::Display) -> Error {
    Error::new(Code::PermissionDenied, format!("the request to storage is not signed: {why}"))
}

fn invalid(why: impl Into<String>) -> Error {
    Error::new(Code::InvalidArguments, why)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::StaticCredentialProvider;
    use object_store::aws::AwsCredential;

    use super::*;

    fn signer(endpoint: Option<&str>) -> S3Signer {
        let credential = AwsCredential { key_id: "id".to_owned(), secret_key: "secret".to_owned(), token: None };
        let keys: AwsCredentialProvider = Arc::new(StaticCredentialProvider::new(credential));
        S3Signer::new(keys, "north".to_owned(), "b", endpoint.map(|endpoint| Url::parse(endpoint).unwrap()))
    }

    fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: Option<&str>) -> SignRequest {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect();
        SignRequest { region: None, method: method.to_owned(), uri: uri.to_owned(), headers, body: body.map(str::to_owned) }
    }

    async fn outcome(method: &str, uri: &str, headers: &[(&str, &str)], body: Option<&str>) -> Result<SignedRequest> {
        let place = Location::parse("s3a://b/lake/n/t").unwrap();
        signer(Some("http://127.0.0.1:9000")).sign(&place, &request(method, uri, headers, body), true).await
    }

    #[tokio::test]
    async fn what_lies_below_the_table_is_signed() {
        let root = "http://127.0.0.1:9000/b";
        let signed =
            outcome("GET", &format!("{root}/lake/n/t/data/a=%C3%BC/x y.parquet?x-id=GetObject"), &[("User-Agent", "x")], None).await.unwrap();
        assert_eq!(signed.uri, format!("{root}/lake/n/t/data/a%3D%C3%BC/x%20y.parquet?x-id=GetObject"));
        let authorization = &signed.headers["authorization"][0];
        assert!(authorization.contains("Credential=id/") && authorization.contains("/north/s3/aws4_request"), "{authorization}");
        assert_eq!(signed.headers[CONTENT_HASH], [UNSIGNED_PAYLOAD]);
        assert!(!signed.headers.contains_key("user-agent"));
        for (method, rest) in [
            ("HEAD", "/lake/n/t/metadata/v1.metadata.json"),
            ("PUT", "/lake/n/t/data/x?partNumber=1&uploadId=u"),
            ("POST", "/lake/n/t/data/x?uploads"),
            ("DELETE", "/lake/n/t/data/x"),
            ("GET", "?list-type=2&prefix=lake%2Fn%2Ft%2F&continuation-token=a%2Bb"),
        ] {
            assert!(outcome(method, &format!("{root}{rest}"), &[], None).await.is_ok(), "{method} {rest}");
        }
        let keys = "<Delete><Object><Key>lake/n/t/a&amp;b</Key></Object><Object><Key>lake/n/t/c</Key></Object></Delete>";
        let signed = outcome("POST", &format!("{root}?delete"), &[(CONTENT_HASH, UNSIGNED_PAYLOAD)], Some(keys)).await.unwrap();
        let hash: String = Sha256::digest(keys.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((signed.uri.as_str(), &signed.headers[CONTENT_HASH]), ("http://127.0.0.1:9000/b/?delete=", &vec![hash]));
    }

    #[tokio::test]
    async fn what_lies_elsewhere_is_not() {
        let root = "http://127.0.0.1:9000/b";
        let other = "<Delete><Object><Key>lake/n/t/a</Key></Object><Object><Key>lake/n/u/a</Key></Object></Delete>";
        type Case<'a> = (&'a str, String, &'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: [Case<'_>; 22] = [
            ("GET", format!("{root}/lake/n/t2/x"), &[], None),
            ("GET", format!("{root}/lake/n/t"), &[], None),
            ("GET", format!("{root}/lake/n/t/../u/x"), &[], None),
            ("GET", format!("{root}/lake/n/t/%2e%2e/u/x"), &[], None),
            ("GET", format!("{root}/lake/n/t%2F..%2Fu/x"), &[], None),
            ("GET", format!("{root}/lake/n/t//x"), &[], None),
            ("GET", "http://127.0.0.1:9000/other/lake/n/t/x".to_owned(), &[], None),
            ("GET", "http://127.0.0.1:9000/bb/lake/n/t/x".to_owned(), &[], None),
            ("GET", "http://127.0.0.1:9001/b/lake/n/t/x".to_owned(), &[], None),
            ("GET", "http://b.localhost:9000/lake/n/t/x".to_owned(), &[], None),
            ("GET", "http://u:p@127.0.0.1:9000/b/lake/n/t/x".to_owned(), &[], None),
            ("PUT", format!("{root}/lake/n/t/x?acl"), &[], None),
            ("PUT", format!("{root}/lake/n/t/x"), &[("X-Amz-Acl", "public-read")], None),
            ("PUT", format!("{root}/lake/n/t/x"), &[("x-amz-copy-source", "/b/lake/n/u/x")], None),
            ("PUT", format!("{root}/lake/n/t/x"), &[("x-amz-copy-source", "/c/lake/n/t/x")], None),
            ("GET", root.to_owned(), &[], None),
            ("GET", format!("{root}?list-type=2&prefix=lake%2Fn%2Ft"), &[], None),
            ("GET", format!("{root}?list-type=2&prefix=lake%2Fn%2Ft%2F..%2Fu%2F"), &[], None),
            ("GET", format!("{root}?policy&prefix=lake%2Fn%2Ft%2F"), &[], None),
            ("DELETE", root.to_owned(), &[], None),
            ("POST", format!("{root}?delete"), &[], None),
            ("POST", format!("{root}?delete"), &[], Some(other)),
        ];
        for (method, uri, headers, body) in cases {
            let refused = outcome(method, &uri, headers, body).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{method} {uri}: {refused}");
        }
        let place = Location::parse("s3://b/lake/n/t").unwrap();
        let put = request("PUT", &format!("{root}/lake/n/t/x"), &[], None);
        assert_eq!(signer(Some("http://127.0.0.1:9000")).sign(&place, &put, false).await.unwrap_err().code(), Code::PermissionDenied);
        let parts = outcome("PUT", &format!("{root}/lake/n/t/x"), &[(CONTENT_HASH, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")], None).await;
        assert_eq!(parts.unwrap_err().code(), Code::NotSupported);
    }

    #[test]
    fn aws_has_its_own_names() {
        let aws = signer(None);
        for (uri, key) in [
            ("https://b.s3.north.amazonaws.com/k/x", Some("k/x")),
            ("https://b.s3.amazonaws.com/k", Some("k")),
            ("https://s3.north.amazonaws.com/b/k", Some("k")),
            ("http://s3.north.amazonaws.com/b/k", None),
            ("https://c.s3.north.amazonaws.com/k", None),
            ("https://bs3.north.amazonaws.com/k", None),
            ("https://b.s3.south.amazonaws.com/k", None),
        ] {
            let url = Url::parse(uri).unwrap();
            assert_eq!(aws.place(&url).map(|(_, key)| key), key, "{uri}");
        }
    }
}
