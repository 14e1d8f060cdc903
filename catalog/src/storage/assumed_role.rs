//! Credentials of a role: STS gives them for a while to somebody whom it knows, by keys or by a token. Each process asks for its own, before those that it has run out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use chrono::DateTime;
use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result, Retry};
use object_store::aws::{AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::{ClientOptions, CredentialProvider};
use parking_lot::RwLock;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::{Url, form_urlencoded};

use super::client::{Properties, fits_header, unusable};
use super::error;

/// What the names of [`PROPERTIES`] begin with.
pub(crate) const PREFIX: &str = "client.assume-role.";
/// The role. Without it there is none.
pub(crate) const ARN: &str = "client.assume-role.arn";
/// Which role is assumed, of whom, and as whom: Iceberg's names (Java: `AwsProperties.CLIENT_ASSUME_ROLE_*`), and two of our own, `endpoint` and
/// `web-identity-token-file`.
pub(super) const PROPERTIES: [&str; 7] = [
    ARN,
    "client.assume-role.endpoint",
    "client.assume-role.external-id",
    "client.assume-role.region",
    "client.assume-role.session-name",
    "client.assume-role.timeout-sec",
    "client.assume-role.web-identity-token-file",
];

/// What the sessions are called in the server's logs, if nobody says otherwise.
const SESSION_NAME: &str = "nunatak";
/// How long credentials last if nobody says otherwise; Java has the same.
const LASTS_SECONDS: u32 = 3_600;
/// They are renewed this long before they run out, or when half of their time is over if it is less. Up to half as much is added, by chance: processes that have begun
/// together do not ask together.
const RENEWED_BEFORE: Duration = Duration::from_secs(5 * 60);
/// After a failure nobody asks again for so long, as long as the old ones are good.
const PAUSE: Duration = Duration::from_secs(5);
const RETRY_WAIT_MIN: Duration = Duration::from_millis(100);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);
/// How much is shown of an answer that is not STS's.
const SHOWN_CHARS_MAX: usize = 200;

/// What the properties say of a role.
pub(super) struct Role<'a> {
    arn: &'a str,
    /// Where STS signs, and where the buckets are too if nobody says otherwise.
    pub(super) region: Option<&'a str>,
    endpoint: Option<&'a str>,
    token_file: Option<&'a str>,
    /// The request, without what tells who we are.
    form: String,
}

impl<'a> Role<'a> {
    /// The role in the properties; `None` if they say nothing of one.
    ///
    /// Errors: `CONFIGURATION_INVALID`.
    pub(super) fn of(values: &'a BTreeMap<String, String>) -> Result<Option<Self>> {
        let properties = Properties::new(values, "client.assume-role");
        let Some(arn) = properties.text("arn") else {
            return match values.keys().find(|name| name.starts_with(PREFIX)) {
                Some(name) => {
                    Err(Error::new(Code::ConfigurationInvalid, format!("there is '{name}', and {ARN}, the role that it is for, is missing")))
                }
                None => Ok(None),
            };
        };
        let lasts = match properties.text("timeout-sec") {
            Some(value) => value.trim().parse::<u32>().map_err(|_| properties.invalid("timeout-sec", value, "a number of seconds"))?,
            None => LASTS_SECONDS,
        };
        let token_file = properties.text("web-identity-token-file");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", if token_file.is_some() { "AssumeRoleWithWebIdentity" } else { "AssumeRole" })
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", arn)
            .append_pair("RoleSessionName", properties.text("session-name").unwrap_or(SESSION_NAME))
            .append_pair("DurationSeconds", &lasts.to_string());
        match (properties.text("external-id"), token_file) {
            (Some(id), None) => {
                form.append_pair("ExternalId", id);
            }
            (Some(_), Some(_)) => {
                let what = format!("{PREFIX}external-id and {PREFIX}web-identity-token-file do not go together: an external id is for keys");
                return Err(Error::new(Code::ConfigurationInvalid, what));
            }
            (None, _) => {}
        }
        let (region, endpoint) = (properties.text("region"), properties.text("endpoint"));
        Ok(Some(Self { arn, region, endpoint, token_file, form: form.finish() }))
    }

    /// Where STS is: where `client.assume-role.endpoint` says, or else `elsewhere`. A server that is not AWS's has it at the address of its buckets; AWS has one for each
    /// region.
    ///
    /// Errors: `CONFIGURATION_INVALID`.
    pub(super) fn sts(&self, elsewhere: Option<String>, s3_endpoint: Option<&str>, region: &str) -> Result<Url> {
        let of_store = s3_endpoint.filter(|endpoint| !is_of_aws(endpoint)).map(str::to_owned);
        let address = self.endpoint.map(str::to_owned).or(elsewhere).or(of_store).unwrap_or_else(|| {
            let country = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://sts.{region}.amazonaws.com{country}")
        });
        let parsed = Url::parse(&address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        parsed.ok_or_else(|| {
            Error::new(Code::ConfigurationInvalid, format!("{PREFIX}endpoint: '{}' is not an address of STS", without_password(&address)))
                .with_hint("an address is one such as https://sts.eu-west-1.amazonaws.com")
        })
    }
}

/// Whether an address is one of AWS's own.
fn is_of_aws(endpoint: &str) -> bool {
    let host = Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// Who asks for the role.
enum Identity {
    Keys(AwsCredentialProvider),
    /// A file that somebody else writes anew before the token in it runs out.
    TokenFile(String),
}

/// Credentials of a role that has been assumed.
pub(super) struct AssumedRole {
    arn: String,
    sts: Url,
    region: String,
    form: String,
    identity: Identity,
    http: HttpClient,
    retry_timeout: Duration,
    session: RwLock<Option<Session>>,
    /// Held by the one who asks for all; why nobody got any the last time.
    asking: Mutex<Option<(Instant, Error)>>,
}

/// Credentials for a while.
#[derive(Clone)]
struct Session {
    credential: Arc<AwsCredential>,
    expires_at: SystemTime,
    renewed_at: SystemTime,
}

impl fmt::Debug for AssumedRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumedRole").field("arn", &self.arn).field("sts", &self.sts.as_str()).finish_non_exhaustive()
    }
}

impl AssumedRole {
    /// The credentials of `role` at `sts`. Those of `keys` tell who we are, unless a token does.
    ///
    /// Errors: `CONFIGURATION_INVALID`.
    pub(super) fn new(
        role: &Role<'_>,
        sts: Url,
        region: String,
        keys: AwsCredentialProvider,
        client: &ClientOptions,
        retry_timeout: Duration,
    ) -> Result<Arc<Self>> {
        let options = client.clone().with_allow_http(sts.scheme() == "http");
        let http = ReqwestConnector::default().connect(&options).map_err(|error| unusable("STS", error))?;
        let identity = match role.token_file {
            Some(path) => Identity::TokenFile(path.to_owned()),
            None => Identity::Keys(keys),
        };
        let (arn, form) = (role.arn.to_owned(), role.form.clone());
        Ok(Arc::new(Self { arn, sts, region, form, identity, http, retry_timeout, session: RwLock::default(), asking: Mutex::default() }))
    }

    /// Those that we have, as long as they are good.
    fn known(&self) -> Option<Session> {
        self.session.read().clone().filter(|session| SystemTime::now() < session.expires_at)
    }

    /// Asks STS, again where that can help.
    ///
    /// Errors: `STORAGE_ACCESS_DENIED`, `STORAGE_UNAVAILABLE`.
    async fn assume(&self) -> Result<Session> {
        let (started, mut wait) = (Instant::now(), RETRY_WAIT_MIN);
        loop {
            let error = match self.ask().await {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if error.retry() == Retry::Never || started.elapsed() + wait > self.retry_timeout {
                return Err(error);
            }
            tokio::time::sleep(wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
            wait = (wait * 2).min(RETRY_WAIT_MAX);
        }
    }

    async fn ask(&self) -> Result<Session> {
        let mut form = self.form.clone();
        let request = match &self.identity {
            Identity::Keys(keys) => {
                let keys = keys.get_credential().await.map_err(|error| {
                    let described = error::describe(&error, &self.arn);
                    Error::new(described.code(), format!("role '{}' cannot be assumed: there are no keys to do it with: {error}", self.arn))
                        .with_retry(described.retry())
                        .with_source(error)
                })?;
                let mut request = self.request(form)?;
                AwsAuthorizer::new(&keys, "sts", &self.region).authorize(&mut request, None);
                request
            }
            Identity::TokenFile(path) => {
                let token = tokio::fs::read_to_string(path).await.map_err(|error| {
                    let what = format!("role '{}' cannot be assumed: its token '{path}' cannot be read: {error}", self.arn);
                    Error::new(Code::StorageAccessDenied, what).with_hint("it has to be on the coordinator and on all executors").with_source(error)
                })?;
                form.push_str("&WebIdentityToken=");
                form.extend(form_urlencoded::byte_serialize(token.trim().as_bytes()));
                self.request(form)?
            }
        };
        let response = self.http.execute(request).await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(|error| self.unreachable(error))?;
        if status.is_success() { self.given(&body) } else { Err(self.refused(status, &body)) }
    }

    fn request(&self, form: String) -> Result<HttpRequest> {
        let uri = self.sts.as_str().parse();
        let mut request = HttpRequest::new(HttpRequestBody::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.map_err(|_| Error::internal(format!("no request can be sent to '{}'", self.sts)))?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        Ok(request)
    }

    fn given(&self, body: &[u8]) -> Result<Session> {
        let session = quick_xml::de::from_reader::<_, Answer>(body).ok().and_then(|answer| Session::new(answer.result.credentials));
        session.ok_or_else(|| self.nonsense(body))
    }

    /// The error for an answer that gives nothing.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Error {
        let said = quick_xml::de::from_reader::<_, ErrorAnswer>(body).ok().map(|answer| answer.error);
        let why = said.map(|said| format!("{}: {}", said.code, said.message.unwrap_or_default().trim_end_matches('.')));
        if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
            let why = why.unwrap_or_else(|| shown(body));
            return self.unavailable(&format!("failed with status {}: {why}", status.as_u16()));
        }
        match why {
            Some(why) => self
                .error(Code::StorageAccessDenied, &format!("refuses it: {why}"))
                .with_hint("check the role, who may assume it, and the keys or the token that say who we are"),
            None => self.nonsense(body),
        }
    }

    fn nonsense(&self, body: &[u8]) -> Error {
        self.error(Code::StorageAccessDenied, &format!("gave an answer that is not of STS: '{}'", shown(body)))
            .with_hint(format!("see that {PREFIX}endpoint is the address of STS"))
    }

    fn unreachable(&self, error: HttpError) -> Error {
        let what = match error.kind() {
            HttpErrorKind::Connect => "cannot be reached",
            HttpErrorKind::Timeout => "does not answer in time",
            _ => "broke off the connection",
        };
        self.unavailable(what).with_source(error)
    }

    fn unavailable(&self, what: &str) -> Error {
        self.error(Code::StorageUnavailable, what)
            .with_hint(format!("see that it is up, and that {PREFIX}endpoint is its address"))
            .with_retry(Retry::Task)
    }

    fn error(&self, code: Code, what: &str) -> Error {
        Error::new(code, format!("role '{}' cannot be assumed: STS at '{}' {what}", self.arn, self.sts.as_str().trim_end_matches('/')))
    }

    fn unauthenticated(&self, error: Error) -> object_store::Error {
        object_store::Error::Unauthenticated { path: self.arn.clone(), source: error.into() }
    }
}

#[async_trait]
impl CredentialProvider for AssumedRole {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let wanted = Instant::now();
        let mut asking = match self.known() {
            Some(session) if SystemTime::now() < session.renewed_at => return Ok(session.credential),
            // While one renews them the others go on with those that are there.
            Some(session) => match self.asking.try_lock() {
                Ok(asking) => asking,
                Err(_) => return Ok(session.credential),
            },
            None => self.asking.lock().await,
        };
        let known = self.known();
        if let Some(session) = &known
            && SystemTime::now() < session.renewed_at
        {
            return Ok(Arc::clone(&session.credential));
        }
        if let Some((failed_at, error)) = &*asking
            && *failed_at >= wanted
        {
            // It was asked for us too.
            return Err(self.unauthenticated(error.clone_without_source()));
        }
        match (self.assume().await, known) {
            (Ok(session), _) => {
                let credential = Arc::clone(&session.credential);
                *self.session.write() = Some(session);
                *asking = None;
                Ok(credential)
            }
            (Err(error), Some(old)) if SystemTime::now() < old.expires_at => {
                tracing::warn!(%error, "credentials of a role were not renewed");
                let credential = Arc::clone(&old.credential);
                *self.session.write() = Some(Session { renewed_at: SystemTime::now() + PAUSE, ..old });
                Ok(credential)
            }
            (Err(error), _) => {
                *asking = Some((Instant::now(), error.clone_without_source()));
                Err(self.unauthenticated(error))
            }
        }
    }
}

impl Session {
    /// `None` if what was given cannot be used.
    fn new(given: GivenCredentials) -> Option<Self> {
        if !fits_header(&given.access_key_id) || !fits_header(&given.session_token) {
            return None;
        }
        let expires_at = SystemTime::from(DateTime::parse_from_rfc3339(given.expiration.trim()).ok()?);
        let left = expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        let before = RENEWED_BEFORE.min(left / 2).mul_f64(1.0 + rand::random::<f64>() / 2.0);
        let credential = AwsCredential { key_id: given.access_key_id, secret_key: given.secret_access_key, token: Some(given.session_token) };
        Some(Self { credential: Arc::new(credential), expires_at, renewed_at: expires_at.checked_sub(before).unwrap_or(expires_at) })
    }
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN_CHARS_MAX)]);
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(SHOWN_CHARS_MAX).collect()
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
    result: Given,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    credentials: GivenCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GivenCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorAnswer {
    error: Said,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    code: String,
    message: Option<String>,
}

#[cfg(test)]
mod tests {
    use object_store::StaticCredentialProvider;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned())).collect()
    }

    fn role(pairs: &[(&str, &str)]) -> Arc<AssumedRole> {
        let values = values(pairs);
        let role = Role::of(&values).unwrap().unwrap();
        let sts = role.sts(None, None, "eu-1").unwrap();
        let keys = AwsCredential { key_id: "k".into(), secret_key: "s".into(), token: None };
        let client = ClientOptions::new().with_connect_timeout(Duration::from_millis(300));
        AssumedRole::new(&role, sts, "eu-1".into(), Arc::new(StaticCredentialProvider::new(keys)), &client, Duration::from_millis(300)).unwrap()
    }

    #[test]
    fn properties_are_checked() {
        assert!(Role::of(&values(&[])).unwrap().is_none());
        for wrong in [
            [("session-name", "me")].as_slice(),
            &[("arn", "r"), ("timeout-sec", "soon")],
            &[("arn", "r"), ("external-id", "x"), ("web-identity-token-file", "/t")],
        ] {
            assert_eq!(Role::of(&values(wrong)).map(|_| ()).unwrap_err().code(), Code::ConfigurationInvalid, "{wrong:?}");
        }
        let known = values(&[("arn", "a:b/c d"), ("external-id", "x&y"), ("timeout-sec", "900")]);
        let form = Role::of(&known).unwrap().unwrap().form;
        assert_eq!(form, "Action=AssumeRole&Version=2011-06-15&RoleArn=a%3Ab%2Fc+d&RoleSessionName=nunatak&DurationSeconds=900&ExternalId=x%26y");
    }

    #[test]
    fn sts_is_where_the_properties_say_or_where_the_buckets_are() {
        let at = |endpoint: Option<&str>, elsewhere: Option<&str>, s3: Option<&str>, region| {
            let values = values(&[("arn", "r"), ("endpoint", endpoint.unwrap_or_default())][..1 + usize::from(endpoint.is_some())]);
            let sts = Role::of(&values).unwrap().unwrap().sts(elsewhere.map(str::to_owned), s3, region);
            sts.map(|url| url.to_string()).map_err(|error| error.code())
        };
        let minio = Some("http://127.0.0.1:9000");
        assert_eq!(at(Some("https://sts.here"), Some("https://sts.env"), minio, "r").unwrap(), "https://sts.here/");
        assert_eq!(at(None, Some("https://sts.env"), minio, "r").unwrap(), "https://sts.env/");
        assert_eq!(at(None, None, minio, "r").unwrap(), "http://127.0.0.1:9000/");
        assert_eq!(at(None, None, Some("https://s3.eu-1.amazonaws.com"), "eu-1").unwrap(), "https://sts.eu-1.amazonaws.com/");
        assert_eq!(at(None, None, None, "cn-1").unwrap(), "https://sts.cn-1.amazonaws.com.cn/");
        assert_eq!(at(Some("sts.here"), None, None, "r"), Err(Code::ConfigurationInvalid));
    }

    #[test]
    fn answers_are_read() {
        let role = role(&[("arn", "r")]);
        let answer = |action: &str, token: &str, until: &str| {
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
                 <AssumedRoleUser><Arn></Arn></AssumedRoleUser><Credentials><AccessKeyId>K</AccessKeyId><SecretAccessKey>S/+=</SecretAccessKey>\
                 <SessionToken>{token}</SessionToken><Expiration>{until}</Expiration></Credentials></{action}Result></{action}Response>"
            )
        };
        for action in ["AssumeRole", "AssumeRoleWithWebIdentity"] {
            let session = role.given(answer(action, "T&amp;", "2999-01-01T00:00:00Z").as_bytes()).unwrap();
            let given = &session.credential;
            assert_eq!((given.key_id.as_str(), given.secret_key.as_str(), given.token.as_deref()), ("K", "S/+=", Some("T&")));
            let early = session.expires_at.duration_since(session.renewed_at).unwrap();
            assert!(RENEWED_BEFORE <= early && early <= RENEWED_BEFORE * 3 / 2, "{early:?}");
        }
        for nonsense in ["", "<html>", "<a/>", &answer("AssumeRole", "T", "soon"), &answer("AssumeRole", "T&#10;x", "2999-01-01T00:00:00Z")] {
            let error = role.given(nonsense.as_bytes()).map(|_| ()).unwrap_err();
            assert!(error.code() == Code::StorageAccessDenied && error.message().contains("sts.eu-1.amazonaws.com"), "{error:?}");
        }
        let text = "<ErrorResponse><Error><Type></Type><Code>AccessDenied</Code><Message>No.</Message></Error></ErrorResponse>";
        let refused = role.refused(StatusCode::FORBIDDEN, text.as_bytes());
        assert_eq!(refused.message(), "role 'r' cannot be assumed: STS at 'https://sts.eu-1.amazonaws.com' refuses it: AccessDenied: No");
        assert_eq!(role.refused(StatusCode::SERVICE_UNAVAILABLE, b"").code(), Code::StorageUnavailable);
    }

    #[tokio::test]
    async fn of_a_server_that_is_not_there_nobody_gets_any() {
        let role = role(&[("arn", "r"), ("endpoint", "http://127.0.0.1:9")]);
        let (one, other) = tokio::join!(role.get_credential(), role.get_credential());
        for error in [one.unwrap_err(), other.unwrap_err()] {
            let described = error::describe(&error, "s3://b/k");
            assert_eq!((described.code(), described.retry()), (Code::StorageUnavailable, Retry::Task));
            assert!(described.message().contains("s3://b/k") && described.message().contains("http://127.0.0.1:9"), "{described:?}");
        }
        let lost = self::role(&[("arn", "r"), ("web-identity-token-file", "/no/such/token"), ("endpoint", "http://127.0.0.1:9")]);
        assert_eq!(error::describe(&lost.get_credential().await.unwrap_err(), "s3://b/k").code(), Code::StorageAccessDenied);
    }
}
