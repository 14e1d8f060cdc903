//! Who we are to the server: nobody, a user with a password, the bearer of a token, or a client of OAuth2, whose token is asked for and renewed here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::Serializer;

use super::http::{Fault, Http, Request, flag, invalid};
use crate::shared_failure::SharedFailure;

/// The properties that say who we are (Java: `AuthProperties`, `OAuth2Properties`); headers are beside them.
pub(crate) const PROPERTIES: [&str; 11] = [
    "audience",
    "credential",
    "oauth2-server-uri",
    "resource",
    "rest.auth.basic.password",
    "rest.auth.basic.username",
    "rest.auth.type",
    "scope",
    "token",
    "token-exchange-enabled",
    "token-refresh-enabled",
];

/// What is asked for if nothing is said.
const SCOPE: &str = "catalog";
/// A token is renewed this long before it runs out, or when half of its time is over if it has less.
const RENEWED_BEFORE: Duration = Duration::from_secs(60);
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Who we are.
pub(crate) enum Auth {
    /// Nobody, or whoever the headers of the configuration say.
    None,
    /// What every request says.
    Fixed(HeaderValue),
    /// The bearer of a token that runs out.
    OAuth2(Box<OAuth2>),
}

/// A client of OAuth2.
pub(crate) struct OAuth2 {
    server: Url,
    /// Its id, which may be missing, and its secret; `None` if there is only a token.
    credential: Option<(Option<String>, String)>,
    /// What is asked for: `scope`, `audience`, `resource`.
    wanted: Vec<(&'static str, String)>,
    exchanges: bool,
    token: Mutex<Option<Token>>,
    /// Why there is no other one.
    failure: SharedFailure,
}

#[derive(Clone)]
struct Token {
    value: String,
    renewed_at: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// The errors of RFC 6749, 5.2.
#[derive(Deserialize)]
struct TokenError {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Fixed(_) => "Fixed(***)",
            Self::OAuth2(_) => "OAuth2(***)",
        })
    }
}

impl Auth {
    /// Who the properties say we are. `uri` is the catalog's.
    ///
    /// Errors: `CONFIGURATION_INVALID`, `NOT_SUPPORTED` for ways that are not known here.
    pub(crate) fn new(uri: &Url, properties: &BTreeMap<String, String>) -> Result<Self> {
        let text = |name: &str| properties.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let has_oauth2 = text("credential").is_some() || text("token").is_some();
        match text("rest.auth.type").map(str::to_ascii_lowercase).as_deref() {
            Some("none") => Ok(Self::None),
            Some("basic") => match (text("rest.auth.basic.username"), text("rest.auth.basic.password")) {
                (Some(user), Some(password)) => {
                    Ok(Self::Fixed(secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))), "rest.auth.basic.password")?))
                }
                _ => Err(invalid("rest.auth.type is 'basic', and rest.auth.basic.username or rest.auth.basic.password, which it needs, is missing")),
            },
            Some("oauth2") if !has_oauth2 => Err(invalid("rest.auth.type is 'oauth2', and one of credential and token, which it needs, is missing")),
            None if !has_oauth2 => Ok(Self::None),
            None | Some("oauth2") => Self::oauth2(uri, properties),
            Some(other) => Err(Error::not_supported(format!("rest.auth.type '{other}' is not supported")).with_hint("there are none, basic, oauth2")),
        }
    }

    fn oauth2(uri: &Url, properties: &BTreeMap<String, String>) -> Result<Self> {
        let text = |name: &str| properties.get(name).filter(|value| !value.is_empty());
        let renews = flag(properties, "token-refresh-enabled", true)?;
        let credential = text("credential").map(|credential| match credential.split_once(':') {
            Some((id, secret)) => (Some(id.to_owned()), secret.to_owned()),
            None => (None, credential.clone()),
        });
        let token = text("token").map(|value| Token { value: value.clone(), renewed_at: expiry(value).and_then(renewed_at).filter(|_| renews) });
        if let (None, Some(Token { value, renewed_at: None })) = (&credential, &token) {
            return Ok(Self::Fixed(secret(&format!("Bearer {value}"), "token")?));
        }
        let mut wanted = vec![("scope", text("scope").cloned().unwrap_or_else(|| SCOPE.to_owned()))];
        wanted.extend(["audience", "resource"].into_iter().filter_map(|name| Some((name, text(name)?.clone()))));
        Ok(Self::OAuth2(Box::new(OAuth2 {
            server: token_server(uri, properties)?,
            credential,
            wanted,
            exchanges: renews && flag(properties, "token-exchange-enabled", true)?,
            token: Mutex::new(token),
            failure: SharedFailure::default(),
        })))
    }

    /// What a request says of us; `refused` is what the server did not take just now.
    ///
    /// Errors: `CATALOG_ACCESS_DENIED` if no token is given out, `CATALOG_UNAVAILABLE`.
    pub(crate) async fn authorization(&self, http: &Http, refused: Option<&HeaderValue>) -> Result<Option<HeaderValue>> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(value) => Ok(Some(value.clone())),
            Self::OAuth2(client) => client.authorization(http, refused).await.map(Some),
        }
    }

    /// Whether something else can be said when the server has not taken what was said.
    pub(crate) fn can_renew(&self) -> bool {
        matches!(self, Self::OAuth2(client) if client.credential.is_some())
    }
}

impl OAuth2 {
    async fn authorization(&self, http: &Http, refused: Option<&HeaderValue>) -> Result<HeaderValue> {
        // One asks for all.
        let wanted = Instant::now();
        let mut token = self.token.lock().await;
        if let Some(known) = token.as_ref() {
            let value = secret(&format!("Bearer {}", known.value), "token")?;
            if known.renewed_at.is_none_or(|at| Instant::now() < at) && refused != Some(&value) {
                return Ok(value);
            }
        }
        let renewed = match (&self.credential, token.as_ref()) {
            (None, Some(known)) if self.exchanges && refused.is_none() => self.exchanged(http, known).await,
            (None, Some(known)) => Ok(Token { renewed_at: None, ..known.clone() }),
            _ => self.failure.share(wanted, self.asked_for(http)).await,
        }?;
        let value = secret(&format!("Bearer {}", renewed.value), "token")?;
        *token = Some(renewed);
        Ok(value)
    }

    /// A token for the client's secret.
    async fn asked_for(&self, http: &Http) -> Result<Token> {
        let mut form = vec![("grant_type", "client_credentials")];
        if let Some((id, secret)) = &self.credential {
            form.extend(id.as_deref().map(|id| ("client_id", id)));
            form.push(("client_secret", secret.as_str()));
        }
        self.token(http, form, None).await
    }

    /// A token for the one that we have. If it is not to be had, the old one serves as long as it does.
    async fn exchanged(&self, http: &Http, known: &Token) -> Result<Token> {
        let form = vec![("grant_type", TOKEN_EXCHANGE), ("subject_token", known.value.as_str()), ("subject_token_type", ACCESS_TOKEN)];
        let exchanged = self.token(http, form, Some(secret(&format!("Bearer {}", known.value), "token")?)).await;
        Ok(exchanged.unwrap_or_else(|error| {
            tracing::warn!(%error, catalog = http.catalog(), "the catalog's token was not renewed");
            Token { renewed_at: None, ..known.clone() }
        }))
    }

    async fn token<'a>(&'a self, http: &Http, mut form: Vec<(&'a str, &'a str)>, authorization: Option<HeaderValue>) -> Result<Token> {
        form.extend(self.wanted.iter().map(|(name, value)| (*name, value.as_str())));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        let request = Request {
            method: Method::POST,
            url: self.server.clone(),
            headers,
            body: Some(Serializer::new(String::new()).extend_pairs(form).finish().into()),
            operation: String::from("get a token"),
            repeatable: true,
            secret: true,
        };
        let answer = http.send(&request).await.map_err(Fault::into_error)?;
        if answer.status.is_success() {
            let TokenAnswer { access_token, expires_in } = http.parsed(&request, &answer)?;
            let left = expires_in.map(Duration::from_secs).or_else(|| expiry(&access_token));
            return Ok(Token { value: access_token, renewed_at: left.and_then(renewed_at) });
        }
        if answer.status.is_client_error()
            && let Ok(TokenError { error, error_description }) = serde_json::from_slice(&answer.body)
        {
            let what = error_description.map(|text| format!("{error}: {text}")).unwrap_or(error);
            let what = self.without_secrets(what);
            return Err(Error::new(Code::CatalogAccessDenied, format!("catalog '{}' gets no token from '{}': {what}", http.catalog(), self.host()))
                .with_hint("check the catalog's credential, scope and oauth2-server-uri in the configuration"));
        }
        Err(http.failure(&request, &answer).into_error())
    }

    /// A text of the server, which may say again what it was sent.
    fn without_secrets(&self, text: String) -> String {
        match &self.credential {
            Some((_, secret)) if !secret.is_empty() => text.replace(secret.as_str(), "***"),
            _ => text,
        }
    }

    fn host(&self) -> &str {
        self.server.host_str().unwrap_or_default()
    }
}

/// What makes a client of the same server in another process: the address of the server of tokens is whole.
pub(crate) fn portable(uri: &Url, properties: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let is_needed = |name: &str| PROPERTIES.contains(&name) || name.starts_with("header.") || name.starts_with("rest.");
    let needed = properties.iter().filter(|(name, _)| is_needed(name));
    let mut portable: BTreeMap<_, _> = needed.map(|(name, value)| (name.clone(), value.clone())).collect();
    if portable.contains_key("credential") || portable.contains_key("token") {
        portable.insert("oauth2-server-uri".to_owned(), token_server(uri, properties)?.into());
    }
    Ok(portable)
}

/// Where tokens are given out: `v1/oauth/tokens` of the catalog unless another place is named.
fn token_server(uri: &Url, properties: &BTreeMap<String, String>) -> Result<Url> {
    let named = properties.get("oauth2-server-uri").map_or("v1/oauth/tokens", String::as_str);
    let absolute =
        if named.contains("://") { named.to_owned() } else { format!("{}/{}", uri.as_str().trim_end_matches('/'), named.trim_start_matches('/')) };
    Url::parse(&absolute).map_err(|error| invalid(format!("oauth2-server-uri: '{}' is not an address: {error}", without_password(named))))
}

/// When what is good for `left` from now is to be renewed.
fn renewed_at(left: Duration) -> Option<Instant> {
    Instant::now().checked_add(left - RENEWED_BEFORE.min(left / 2))
}

/// How long a token is good, if it is one that says so (a JWT).
fn expiry(token: &str) -> Option<Duration> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    let until = UNIX_EPOCH.checked_add(Duration::from_secs(claims.get("exp")?.as_u64()?))?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The value of a header that nobody shows.
pub(super) fn secret(value: &str, property: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(value).map_err(|_| invalid(format!("property '{property}' has letters that cannot be sent")))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(properties: &[(&str, &str)]) -> Result<Auth> {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Auth::new(&Url::parse("http://h/c").unwrap(), &properties)
    }

    #[test]
    fn properties_say_who_we_are() {
        assert!(matches!(auth(&[]).unwrap(), Auth::None));
        assert!(matches!(auth(&[("token", "t")]).unwrap(), Auth::Fixed(_)));
        assert!(matches!(auth(&[("token", "t"), ("rest.auth.type", "none")]).unwrap(), Auth::None));
        assert!(auth(&[("credential", "a:b")]).unwrap().can_renew());
        let basic = auth(&[("rest.auth.type", "basic"), ("rest.auth.basic.username", "u"), ("rest.auth.basic.password", "p")]).unwrap();
        assert!(matches!(&basic, Auth::Fixed(value) if value.as_bytes() == b"Basic dTpw"));
        assert!(!format!("{basic:?}").contains("dTpw"));
        for (wrong, code) in [
            ([("rest.auth.type", "basic")], Code::ConfigurationInvalid),
            ([("rest.auth.type", "oauth2")], Code::ConfigurationInvalid),
            ([("rest.auth.type", "sigv4")], Code::NotSupported),
            ([("token", "a\nb")], Code::ConfigurationInvalid),
        ] {
            assert_eq!(auth(&wrong).unwrap_err().code(), code, "{wrong:?}");
        }
    }

    #[test]
    fn what_a_server_repeats_of_a_secret_is_not_shown() {
        let Auth::OAuth2(client) = auth(&[("credential", "engine:s3cret")]).unwrap() else { panic!("not OAuth2") };
        assert_eq!(client.without_secrets("invalid_client: 's3cret' is not of engine".to_owned()), "invalid_client: '***' is not of engine");
    }

    #[test]
    fn tokens_tell_when_they_run_out() {
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 1_000;
        let token = format!("x.{}.y", URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{until}}}")));
        assert!(expiry(&token).unwrap() > Duration::from_secs(900));
        assert!(matches!(auth(&[("token", token.as_str())]).unwrap(), Auth::OAuth2(_)));
        assert_eq!(expiry("opaque"), None);
        assert!(renewed_at(Duration::from_secs(10)).unwrap() <= Instant::now() + Duration::from_secs(5));
    }

    #[test]
    fn tokens_are_given_out_by_the_catalog_unless_it_says_otherwise() {
        let uri = Url::parse("http://h/c/").unwrap();
        let server = |named: &str| token_server(&uri, &BTreeMap::from([("oauth2-server-uri".to_owned(), named.to_owned())])).unwrap().to_string();
        assert_eq!(token_server(&uri, &BTreeMap::new()).unwrap().as_str(), "http://h/c/v1/oauth/tokens");
        assert_eq!((server("/t").as_str(), server("https://o/t").as_str()), ("http://h/c/t", "https://o/t"));
        let properties = BTreeMap::from([("credential".to_owned(), "a:b".to_owned()), ("s3.region".to_owned(), "x".to_owned())]);
        let portable = portable(&uri, &properties).unwrap();
        assert_eq!(portable.keys().map(String::as_str).collect::<Vec<_>>(), ["credential", "oauth2-server-uri"]);
    }
}
