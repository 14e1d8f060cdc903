//! The headers of Trino's clients, who keep their session: what it is comes with each statement, and what a statement changes in it goes back.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use axum::http::header::{ACCEPT_ENCODING, AUTHORIZATION, FORWARDED, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nunatak_coordinator::query::{InTransaction, SessionChange};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use uuid::Uuid;

use super::prepared;
use crate::limits;

/// What form encoding, as Java has it, leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b' ');

/// The catalog by which roles of the whole server are named.
const SYSTEM: &str = "system";

/// Clients that know times with any number of digits.
const PARAMETRIC_DATETIME: &str = "PARAMETRIC_DATETIME";

/// Clients that keep the path of their session.
const PATH: &str = "PATH";

/// What a client says with a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) user: String,
    /// Who has logged in to act for the user, if it is somebody else.
    pub(super) acting_user: Option<String>,
    pub(super) source: Option<String>,
    pub(super) client_info: Option<String>,
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
    /// The time zone of a session whose properties say none.
    pub(super) time_zone: Option<String>,
    /// Session properties, by lower-case name.
    pub(super) properties: BTreeMap<String, String>,
    /// The texts of prepared statements.
    pub(super) prepared: BTreeMap<String, String>,
    /// The transaction that it believes to be in, if it knows any.
    pub(super) transaction: InTransaction,
    /// What `SET PATH` has said, if it keeps that.
    pub(super) path: Option<String>,
    /// The encodings in which it takes spooled results, the best one first.
    pub(super) encodings: Vec<String>,
    capabilities: BTreeSet<String>,
}

/// Why a request is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It does not say who it is from.
    NoUser,
    /// It is from a web page.
    WebPage,
    /// It is for a role that there is not.
    Role(String),
    /// A header cannot be read.
    Malformed(String),
}

impl Sent {
    /// Whether it takes times with any number of digits.
    pub(super) fn is_parametric(&self) -> bool {
        self.capabilities.contains(PARAMETRIC_DATETIME)
    }
}

/// Who a request is from. Passwords are not checked yet.
pub(super) fn user(headers: &HeaderMap) -> Result<String, Refused> {
    // Somebody's browser must not run what a page that it shows wants.
    if headers.contains_key(ORIGIN) {
        return Err(Refused::WebPage);
    }
    let named = text(headers, "x-trino-user").or_else(|| text(headers, "x-trino-original-user"));
    named.map(Cow::into_owned).or_else(|| basic_user(headers)).ok_or(Refused::NoUser)
}

/// Reads what a client says with a statement.
pub(super) fn read(headers: &HeaderMap) -> Result<Sent, Refused> {
    let transaction = match text(headers, "x-trino-transaction-id") {
        None => InTransaction::Never,
        Some(none) if none.eq_ignore_ascii_case("none") => InTransaction::No,
        Some(id) => InTransaction::Yes(Uuid::try_parse(&id).map_err(|_| Refused::Malformed(format!("Invalid UUID string: {id}")))?),
    };
    let properties = pairs(headers, "X-Trino-Session")?.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
    check_roles(headers)?;
    let owned = |name| text(headers, name).map(Cow::into_owned);
    let user = user(headers)?;
    let capabilities: BTreeSet<String> = listed(headers, "x-trino-client-capabilities").map(str::to_owned).collect();
    Ok(Sent {
        acting_user: owned("x-trino-original-user").filter(|original| *original != user),
        user,
        source: owned("x-trino-source"),
        client_info: owned("x-trino-client-info"),
        catalog: owned("x-trino-catalog").map(|name| decoded(&name)),
        schema: owned("x-trino-schema").map(|name| decoded(&name)),
        time_zone: owned("x-trino-time-zone"),
        properties,
        prepared: prepared_statements(headers)?,
        transaction,
        path: owned("x-trino-path").or_else(|| capabilities.contains(PATH).then(String::new)),
        encodings: listed(headers, "x-trino-query-data-encoding").map(str::to_lowercase).collect(),
        capabilities,
    })
}

/// The texts of prepared statements. What is compressed to a few hundred bytes can be megabytes, and there may be many.
fn prepared_statements(headers: &HeaderMap) -> Result<BTreeMap<String, String>, Refused> {
    let mut texts = BTreeMap::new();
    let mut bytes = 0;
    for (name, sent) in pairs(headers, "X-Trino-Prepared-Statement")? {
        let text = prepared::restored(sent).ok_or_else(|| Refused::Malformed("Invalid X-Trino-Prepared-Statement header".to_owned()))?;
        bytes += text.len();
        if bytes > limits::PREPARED_BYTES_OF_ALL_MAX {
            return Err(Refused::Malformed("The texts of prepared statements are too long together".to_owned()));
        }
        texts.insert(name, text);
    }
    Ok(texts)
}

/// A role is `ALL`, `NONE` or `ROLE{name}`. There is none of a name; of those of catalogs it is no matter, as in Trino.
fn check_roles(headers: &HeaderMap) -> Result<(), Refused> {
    for (catalog, role) in pairs(headers, "X-Trino-Role")? {
        let named = role.strip_prefix("ROLE{").and_then(|rest| rest.strip_suffix('}'));
        match (role.as_str(), named) {
            ("ALL" | "NONE", _) => {}
            (_, Some(name)) if catalog == SYSTEM => return Err(Refused::Role(format!("Access Denied: Cannot set role {name}"))),
            (_, Some(_)) => {}
            _ => return Err(Refused::Malformed("Invalid X-Trino-Role header".to_owned())),
        }
    }
    Ok(())
}

/// Whether an answer may be compressed.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    listed(headers, ACCEPT_ENCODING.as_str()).any(|way| {
        let (name, quality) = way.split_once(';').unwrap_or((way, ""));
        let refused = quality.trim().strip_prefix("q=").and_then(|quality| quality.parse::<f32>().ok()).is_some_and(|quality| quality <= 0.0);
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// Where the client reaches this server, such as `http://host:8080`; `None` if it does not say. Who stands before the server, and ends TLS, says it in
/// headers of its own.
pub(super) fn base_uri(headers: &HeaderMap) -> Option<String> {
    let forwarded = forwarded(headers);
    let scheme = first(headers, "x-forwarded-proto").or_else(|| forwarded.get("proto").cloned()).unwrap_or_else(|| "http".to_owned()).to_lowercase();
    let host = first(headers, "x-forwarded-host").or_else(|| forwarded.get("host").cloned()).or_else(|| first(headers, HOST.as_str()))?;
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit()));
    let is_default = |port: &str| matches!((scheme.as_str(), port), ("http", "80") | ("https", "443"));
    let port = first(headers, "x-forwarded-port").filter(|port| !has_port && !is_default(port));
    let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    (is_text(&host) && is_text(&port) && ["http", "https"].contains(&scheme.as_str())).then(|| format!("{scheme}://{host}{port}"))
}

/// The first hop in a header `Forwarded` (RFC 7239).
fn forwarded(headers: &HeaderMap) -> BTreeMap<String, String> {
    let hop = first(headers, FORWARDED.as_str()).unwrap_or_default();
    let pairs = hop.split(';').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_lowercase(), value.trim().trim_matches('"').to_owned())).collect()
}

/// What a statement changed, as headers for its client. `catalog` is the one of the session.
pub(super) fn changes(changes: &[SessionChange]) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.push((HeaderName::from_static(name), value));
        }
    };
    for change in changes {
        match change {
            SessionChange::SetProperty { name, value } => add("x-trino-set-session", &format!("{name}={}", encoded(value))),
            SessionChange::ResetProperty { name } => add("x-trino-clear-session", name),
            SessionChange::Use { catalog, schema } => {
                if let Some(catalog) = catalog {
                    add("x-trino-set-catalog", catalog);
                }
                add("x-trino-set-schema", schema);
            }
            SessionChange::Prepare { name, text } => {
                add("x-trino-added-prepare", &format!("{}={}", encoded(name), encoded(&prepared::shortened(text))));
            }
            SessionChange::Deallocate { name } => add("x-trino-deallocated-prepare", &encoded(name)),
            SessionChange::StartTransaction { id } => add("x-trino-started-transaction-id", &id.to_string()),
            SessionChange::EndTransaction => add("x-trino-clear-transaction-id", "true"),
            SessionChange::SetRole { catalog, role } => add("x-trino-set-role", &format!("{catalog}={role}")),
            SessionChange::SetAuthorization { user } => add("x-trino-set-authorization-user", user),
            SessionChange::ResetAuthorization => add("x-trino-reset-authorization-user", "true"),
            SessionChange::SetPath { path } => add("x-trino-set-path", path),
        }
    }
    headers
}

/// A header's text; an empty one says nothing. What is no UTF-8 is Latin-1, as Python's clients write it.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let bytes = headers.get(name)?.as_bytes();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text.trim()),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect::<String>().trim().to_owned()),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The first of several values.
fn first(headers: &HeaderMap, name: &str) -> Option<String> {
    listed(headers, name).next().map(str::to_owned)
}

/// The values of a header that may be there several times, or have several, separated by commas.
fn listed<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|part| !part.is_empty())
}

fn pairs(headers: &HeaderMap, name: &str) -> Result<Vec<(String, String)>, Refused> {
    let pair = |text: &str| match text.split_once('=') {
        // A value is encoded: a second sign is a mistake.
        Some((key, value)) if !key.trim().is_empty() && !value.contains('=') => Ok((decoded(key.trim()), decoded(value.trim()))),
        _ => Err(Refused::Malformed(format!("Invalid {name} header"))),
    };
    listed(headers, &name.to_lowercase()).map(pair).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string().replace(' ', "+")
}

fn basic_user(headers: &HeaderMap) -> Option<String> {
    let sent = text(headers, AUTHORIZATION.as_str())?;
    let (scheme, credentials) = sent.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
    let (user, _password) = decoded.split_once(':')?;
    (!user.is_empty()).then(|| user.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn sessions_are_read() {
        let sent = read(&headers(&[
            ("x-trino-user", "ada"),
            ("x-trino-catalog", "lake"),
            ("x-trino-session", "Execution_Mode=local,task_concurrency=4"),
            ("x-trino-prepared-statement", "a=SELECT+%3F+%2B+1,b=SELECT+1"),
            ("x-trino-client-capabilities", "PATH,PARAMETRIC_DATETIME"),
            ("x-trino-time-zone", "Europe/Zurich"),
            ("x-trino-transaction-id", "NONE"),
            ("x-trino-role", "system=ALL"),
            ("x-trino-query-data-encoding", "json+zstd, json"),
        ]))
        .unwrap();
        assert_eq!((sent.user.as_str(), sent.catalog.as_deref(), sent.schema.as_deref()), ("ada", Some("lake"), None));
        assert_eq!(sent.properties["execution_mode"], "local");
        assert_eq!(sent.time_zone.as_deref(), Some("Europe/Zurich"));
        assert_eq!(sent.prepared["a"], "SELECT ? + 1");
        assert_eq!(sent.encodings, ["json+zstd", "json"]);
        assert!(sent.is_parametric() && sent.transaction == InTransaction::No && sent.acting_user.is_none());
        let of = |name: &'static str, value: &'static str| read(&headers(&[("x-trino-user", "ada"), (name, value)]));
        assert_eq!(
            of("x-trino-path", "a, lake.b").map(|sent| (sent.path, sent.transaction)),
            Ok((Some("a, lake.b".to_owned()), InTransaction::Never))
        );
        assert_eq!((sent.path, of("x-trino-source", "x").map(|sent| sent.path)), (Some(String::new()), Ok(None)));
        assert_eq!(of("x-trino-original-user", "bob").map(|sent| sent.acting_user), Ok(Some("bob".to_owned())));
        assert_eq!(of("x-trino-original-user", "ada").map(|sent| sent.acting_user), Ok(None));
        assert!(of("x-trino-role", "lake=ROLE{admin},system=NONE").is_ok());
        assert!(matches!(of("x-trino-role", "system=ROLE{admin}"), Err(Refused::Role(_))));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert_eq!(read(&headers(&[])), Err(Refused::NoUser));
        assert_eq!(read(&headers(&[("authorization", "Basic YWRhOng=")])).map(|sent| sent.user), Ok("ada".to_owned()));
        let latin = HeaderMap::from_iter([(HeaderName::from_static("x-trino-user"), HeaderValue::from_bytes(b"Zo\xeb").unwrap())]);
        assert_eq!(user(&latin), Ok("Zoë".to_owned()));
        for (name, value) in [
            ("x-trino-session", "junk"),
            ("x-trino-session", "a=b=c"),
            ("x-trino-transaction-id", "abc"),
            ("x-trino-role", "system=admin"),
            ("x-trino-prepared-statement", "a=%24zstd%3Aabc"),
        ] {
            assert!(matches!(read(&headers(&[("x-trino-user", "ada"), (name, value)])), Err(Refused::Malformed(_))), "{name}: {value}");
        }
        assert_eq!(user(&headers(&[("x-trino-user", "ada"), ("origin", "https://example.org")])), Err(Refused::WebPage));
        let long = encoded(&prepared::shortened(&"x".repeat(limits::PREPARED_BYTES_MAX)));
        let several = |count: usize| {
            let texts: Vec<String> = (0..count).map(|number| format!("p{number}={long}")).collect();
            let mut sent = headers(&[("x-trino-user", "ada")]);
            sent.insert(HeaderName::from_static("x-trino-prepared-statement"), HeaderValue::from_str(&texts.join(",")).unwrap());
            read(&sent).map(|sent| sent.prepared.len())
        };
        assert_eq!(several(8), Ok(8));
        assert!(matches!(several(9), Err(Refused::Malformed(_))));
    }

    #[test]
    fn addresses_are_those_that_the_client_uses() {
        let base = |pairs: &[(&'static str, &'static str)]| base_uri(&headers(pairs)).unwrap_or_default();
        assert_eq!(base(&[("host", "h:8080")]), "http://h:8080");
        assert_eq!(base(&[("host", "h:8080"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "lake.example")]), "https://lake.example");
        assert_eq!(base(&[("host", "h"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")]), "https://h:8443");
        assert_eq!(base(&[("host", "h"), ("forwarded", "for=1.2.3.4;proto=https;host=\"lake.example:1\"")]), "https://lake.example:1");
        assert_eq!(base(&[("host", "[::1]:8080")]), "http://[::1]:8080");
        assert_eq!(base(&[("host", "h:8080"), ("x-forwarded-proto", "HTTPS")]), "https://h:8080");
        assert_eq!(base(&[("host", "h/../x")]), "");
    }

    #[test]
    fn changes_go_back() {
        let text = |changes: &[SessionChange]| {
            let headers = super::changes(changes);
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>().join("; ")
        };
        let prepare = SessionChange::Prepare { name: "a".to_owned(), text: "SELECT (? + 1)\n".to_owned() };
        assert_eq!(text(&[prepare]), "x-trino-added-prepare: a=SELECT+%28%3F+%2B+1%29%0A");
        let used = SessionChange::Use { catalog: Some("lake".to_owned()), schema: "nyc".to_owned() };
        assert_eq!(text(&[used]), "x-trino-set-catalog: lake; x-trino-set-schema: nyc");
        let set = SessionChange::SetProperty { name: "wap_branch".to_owned(), value: "a b".to_owned() };
        assert_eq!(text(&[set]), "x-trino-set-session: wap_branch=a+b");
        let role = SessionChange::SetRole { catalog: "system".to_owned(), role: "ALL" };
        assert_eq!(text(&[role, SessionChange::EndTransaction]), "x-trino-set-role: system=ALL; x-trino-clear-transaction-id: true");
    }

    #[test]
    fn compression_is_asked_for() {
        assert!(takes_gzip(&headers(&[("accept-encoding", "zstd, gzip;q=0.5")])));
        assert!(!takes_gzip(&headers(&[("accept-encoding", "zstd, gzip;q=0")])) && !takes_gzip(&headers(&[])));
    }
}
