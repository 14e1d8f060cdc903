//! Parts of URIs by RFC 2396, with what Java's `java.net.URI` takes besides: characters that are not of ASCII, hosts in brackets, and authorities that name no host.

/// The parts of a URI, as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Uri<'a> {
    pub(super) scheme: Option<&'a str>,
    pub(super) host: Option<&'a str>,
    pub(super) port: Option<i32>,
    /// `None` behind a scheme without a slash.
    pub(super) path: Option<&'a str>,
    pub(super) query: Option<&'a str>,
    pub(super) fragment: Option<&'a str>,
}

const MARKS: &str = "-_.!~*'()";

fn is_unreserved(character: char) -> bool {
    character.is_ascii_alphanumeric() || MARKS.contains(character)
}

fn in_query(character: char) -> bool {
    is_unreserved(character) || ";/?:@&=+$,[]".contains(character)
}

fn in_path(character: char) -> bool {
    is_unreserved(character) || ":@&=+$,;/".contains(character)
}

fn in_registry(character: char) -> bool {
    is_unreserved(character) || "$,;:@&=+".contains(character)
}

fn in_user(character: char) -> bool {
    is_unreserved(character) || ";:&=+$,".contains(character)
}

fn in_server(character: char) -> bool {
    in_user(character) || ".:@[]".contains(character)
}

/// Whether all characters are of a kind, or are written as `%` and two digits, or are visible and not of ASCII.
fn consists_of(text: &str, is_taken: fn(char) -> bool) -> bool {
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let is_taken = match character {
            '%' => rest.next().is_some_and(|digit| digit.is_ascii_hexdigit()) && rest.next().is_some_and(|digit| digit.is_ascii_hexdigit()),
            other if other.is_ascii() => is_taken(other),
            other => !other.is_control() && !is_space(other),
        };
        if !is_taken {
            return false;
        }
    }
    true
}

fn is_space(character: char) -> bool {
    matches!(character, '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{2028}' | '\u{2029}' | '\u{202F}' | '\u{205F}' | '\u{3000}')
}

/// Takes the text before the first of some characters.
fn until<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

impl<'a> Uri<'a> {
    /// The parts of a URI; `None` if it is none.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut uri = Self::default();
        let (scheme, behind) = until(text, &[':', '/', '?', '#']);
        let mut rest = text;
        if let Some(behind) = behind.strip_prefix(':') {
            if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                || !scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
            {
                return None;
            }
            uri.scheme = Some(scheme);
            rest = behind;
        }
        if uri.scheme.is_some() && !rest.starts_with('/') {
            let (opaque, behind) = until(rest, &['#']);
            if opaque.is_empty() || !consists_of(opaque, in_query) {
                return None;
            }
            rest = behind;
        } else {
            rest = uri.hierarchical(rest)?;
        }
        if let Some(fragment) = rest.strip_prefix('#') {
            uri.fragment = Some(fragment).filter(|fragment| consists_of(fragment, in_query));
            return uri.fragment.map(|_| uri);
        }
        rest.is_empty().then_some(uri)
    }

    /// Reads the authority, the path and the query, and returns what is behind them.
    fn hierarchical(&mut self, text: &'a str) -> Option<&'a str> {
        let mut rest = text;
        if let Some(behind) = text.strip_prefix("//") {
            let (authority, behind) = until(behind, &['/', '?', '#']);
            if authority.is_empty() {
                // Only before something else.
                if behind.is_empty() {
                    return None;
                }
            } else {
                self.authority(authority)?;
            }
            rest = behind;
        }
        let (path, behind) = until(rest, &['?', '#']);
        self.path = Some(path).filter(|path| consists_of(path, in_path));
        self.path?;
        let Some(behind) = behind.strip_prefix('?') else { return Some(behind) };
        let (query, behind) = until(behind, &['#']);
        self.query = Some(query).filter(|query| consists_of(query, in_query));
        self.query.map(|_| behind)
    }

    /// Reads a host and a port, if the authority has that form.
    fn authority(&mut self, text: &'a str) -> Option<()> {
        let of_server = match text.contains(']') {
            // Within brackets a percent sign begins the name of an interface.
            true => consists_of(&text.replace('%', ""), in_server),
            false => consists_of(text, in_server),
        };
        if let Some((host, port)) = Some(text).filter(|_| of_server).and_then(server) {
            (self.host, self.port) = (Some(host), port);
            return Some(());
        }
        consists_of(text, in_registry).then_some(())
    }
}

/// `user@host:port`, where all but the host may be missing.
fn server(text: &str) -> Option<(&str, Option<i32>)> {
    let rest = match text.split_once('@') {
        Some((user, rest)) if consists_of(user, in_user) => rest,
        Some(_) => return None,
        None => text,
    };
    let (host, behind) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (address, _) = inner.split_once(']')?;
            let (bare, interface) = address.split_once('%').unwrap_or((address, "0"));
            let is_named = !interface.is_empty() && interface.chars().all(|character| character.is_ascii_alphanumeric() || "_.".contains(character));
            bare.parse::<std::net::Ipv6Addr>().ok().filter(|_| is_named)?;
            rest.split_at_checked(address.len() + 2)?
        }
        None => {
            let (host, behind) = until(rest, &[':']);
            if !is_address(host) && !is_name(host) {
                return None;
            }
            (host, behind)
        }
    };
    let port = match behind.strip_prefix(':') {
        None if behind.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
        _ => return None,
    };
    Some((host, port))
}

/// Whether a host is four numbers of a byte each.
fn is_address(host: &str) -> bool {
    let is_byte = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit()) && part.parse::<u8>().is_ok();
    host.split('.').count() == 4 && host.split('.').all(is_byte)
}

/// Whether a host is a name: labels with points between them and maybe one behind, of which the last of several begins with a letter.
fn is_name(host: &str) -> bool {
    let labels = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last_is_word = match labels.rsplit_once('.') {
        Some((_, last)) => last.starts_with(|first: char| first.is_ascii_alphabetic()),
        None => true,
    };
    last_is_word && labels.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let parts = |text: &'static str| Uri::parse(text).map(|uri| (uri.host, uri.port));
        assert_eq!(parts("http://u:p@example.com:80/"), Some((Some("example.com"), Some(80))));
        assert_eq!(parts("//[fe80::1%eth0]"), Some((Some("[fe80::1%eth0]"), None)));
        assert_eq!(parts("http://127.0.0.1:x/"), Some((None, None)));
        assert_eq!(parts("http://a.1/"), Some((None, None)));
        assert_eq!(parts("http://[zz]/"), None);
        assert_eq!(parts("//"), None);
    }
}
