//! Where a server sends a request on, and what of it another server may see. What is secret in a request (tokens, and the headers that the configuration has) is for the server
//! that it was made for.

use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

/// Where an answer to a request to `from` sends it on: only where it stays what it is. A change that was sent elsewhere by another status would only be a question there, whose
/// answer looks like that of a change that was made.
pub(super) fn next(from: &Url, status: u16, headers: &HeaderMap) -> Option<Url> {
    if !matches!(status, 307 | 308) {
        return None;
    }
    let mut next = from.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    if !matches!(next.scheme(), "http" | "https") {
        return None;
    }
    // Who we are is in the address, too, for those that have it there.
    if is_same_server(from, &next) && next.username().is_empty() && next.password().is_none() {
        let _ = next.set_username(from.username());
        let _ = next.set_password(from.password());
    }
    Some(next)
}

/// Whether two addresses are of one server. A port of it that is not encrypted is another one.
pub(super) fn is_same_server(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && one.host_str() == other.host_str() && one.port_or_known_default() == other.port_or_known_default()
}

/// The headers that any server may see.
pub(super) fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    headers.iter().filter(|(_, value)| !value.is_sensitive()).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn only_what_stays_as_it_is_is_sent_on() {
        let to = |status, location: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).unwrap())]);
            next(&url("http://me:pw@h:1/a/b?c=d"), status, &headers).map(|next| next.to_string())
        };
        assert_eq!(to(307, "/x?y=z").as_deref(), Some("http://me:pw@h:1/x?y=z"));
        assert_eq!(to(308, "http://h:1/x").as_deref(), Some("http://me:pw@h:1/x"));
        assert_eq!(to(308, "http://o:1/x").as_deref(), Some("http://o:1/x"));
        for (status, location) in [(301, "/x"), (302, "/x"), (303, "/x"), (200, "/x"), (307, "ftp://h/x"), (307, "http://h:port/")] {
            assert_eq!(to(status, location), None, "{status} {location}");
        }
        assert_eq!(next(&url("http://h/"), 307, &HeaderMap::new()), None);
    }

    #[test]
    fn a_server_is_its_name_its_port_and_how_it_is_spoken_to() {
        let is_same = |one: &str, other: &str| is_same_server(&url(one), &url(other));
        assert!(is_same("http://h/a", "http://H:80/b") && is_same("https://h/a", "https://h:443/"));
        for other in ["http://h:81/a", "https://h/a", "https://h:80/a", "http://o/a"] {
            assert!(!is_same("http://h/a", other), "{other}");
        }
    }

    #[test]
    fn secrets_are_left_out() {
        let mut secret = HeaderValue::from_static("s3cr3t");
        secret.set_sensitive(true);
        let plain = HeaderValue::from_static("application/json");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, secret), (ACCEPT, plain.clone())]);
        assert_eq!(without_secrets(&headers), HeaderMap::from_iter([(ACCEPT, plain)]));
    }
}
