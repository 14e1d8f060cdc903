//! Locations as Iceberg writes them: raw strings, in several spellings for the same place.

use std::fmt;

use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result};
use object_store::path::Path;

/// The key of the store of local files.
pub(super) const FILE_STORE: &str = "file://";

/// A location taken apart, in one spelling: `/x`, `file:/x` and `file:///x` are one place, as are `s3`, `s3a` and `s3n`, or `abfs` and `abfss`. Two locations name the
/// same file when they are equal. Only for looking up and comparing: what is written into metadata is the string as the user or the table has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    scheme: String,
    authority: String,
    /// Begins with `/`; nothing in it is percent-encoded or decoded.
    path: String,
}

impl Location {
    /// Takes a location apart. Errors: one that is not absolute.
    pub fn parse(raw: &str) -> Result<Self> {
        let (scheme, authority, path) = split(raw).ok_or_else(|| invalid(raw, "it is not absolute"))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "s3a" | "s3n" => String::from("s3"),
            // With and without TLS: the endpoint says it.
            "abfss" | "wasb" | "wasbs" => String::from("abfs"),
            other => other.to_owned(),
        };
        let local = scheme == "file";
        if local && !matches!(authority, "" | "localhost") {
            return Err(invalid(raw, "it names a host"));
        }
        let authority = if local { "" } else { authority };
        // Of Azure it is the container that stands before the account.
        if scheme != "abfs" && authority.contains('@') {
            return Err(invalid(raw, "it has a user in it: who we are is a property of the catalog"));
        }
        // A key and a secret with a slash in it.
        if matches!(scheme.as_str(), "s3" | "gs") && authority.contains(':') {
            return Err(invalid(raw, "no bucket has a ':' in its name"));
        }
        // File systems take `a//b` as `a/b`; in an object store they are two names, and `object_path` refuses the first.
        let path = if local || scheme == "hdfs" { single_slashes(path) } else { path.to_owned() };
        Ok(Self { scheme, authority: authority.to_owned(), path })
    }

    /// The location of a path in the store that [`super::Storage::store_url`] gave this URL.
    pub fn in_store(url: &str, path: &Path) -> Self {
        let (scheme, authority) = url.split_once("://").unwrap_or(("", url));
        // What stands behind it tells the store of one catalog from that of another.
        let scheme = scheme.split_once('+').map_or(scheme, |(scheme, _)| scheme);
        Self { scheme: scheme.to_owned(), authority: authority.trim_end_matches('/').to_owned(), path: format!("/{path}") }
    }

    /// Scheme and authority: the key of its store.
    pub fn store(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// How files are reached: `file`, `s3`, `gs`, `abfs`, `hdfs`.
    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The bucket or the server; empty for local files.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Its path within its store, beginning with `/`.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether the store of `other`, under another name, may be the one of this location: a file system is called after its service, after a server of it, or not at
    /// all. A bucket has one name.
    pub(crate) fn may_share_store(&self, other: &Self) -> bool {
        let is_bucket = |location: &Self| matches!(location.scheme.as_str(), "s3" | "gs");
        !is_bucket(self) && !is_bucket(other) && (&self.scheme, &self.authority) != (&other.scheme, &other.authority)
    }

    /// Whether it is a file of this machine.
    pub fn is_local(&self) -> bool {
        self.scheme == "file"
    }

    /// Its path within its store.
    pub fn object_path(&self) -> Result<Path> {
        Path::parse(&self.path).map_err(|error| invalid(&self.to_string(), "storage cannot hold such a path").with_source(error))
    }

    /// Whether `other` is this location or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.below(self).is_some()
    }

    /// Its path below a folder, beginning with `/` unless it is the folder itself; `None` if it does not lie there.
    pub fn below(&self, folder: &Self) -> Option<&str> {
        let path = self.path.strip_prefix(folder.path.trim_end_matches('/'))?;
        let inside = path.is_empty() || path.starts_with('/');
        (inside && self.scheme == folder.scheme && self.authority == folder.authority).then_some(path)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

/// Scheme, authority and path of a location; `None` when it has no absolute path.
fn split(raw: &str) -> Option<(&str, &str, &str)> {
    if raw.starts_with('/') {
        return Some(("file", "", raw));
    }
    let (scheme, rest) = raw.split_once(':')?;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
    if !scheme.starts_with(|letter: char| letter.is_ascii_alphabetic()) || !scheme.chars().all(plain) {
        return None;
    }
    match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let has_place = !authority.is_empty() || !path.is_empty();
            has_place.then_some((scheme, authority, if path.is_empty() { "/" } else { path }))
        }
        None => rest.starts_with('/').then_some((scheme, "", rest)),
    }
}

fn single_slashes(path: &str) -> String {
    let mut single = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !single.ends_with('/') {
            single.push(letter);
        }
    }
    single
}

fn invalid(raw: &str, why: &str) -> Error {
    Error::new(Code::IcebergFilesystemError, format!("'{}' is not a location: {why}", without_password(raw)))
        .with_hint("a location is an absolute path or a URL, such as file:///data/warehouse")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> String {
        Location::parse(raw).unwrap().object_path().unwrap().to_string()
    }

    #[test]
    fn spellings_of_one_place_are_equal() {
        let plain = Location::parse("/a/b c/%20#?{}").unwrap();
        for other in ["file:/a/b c/%20#?{}", "file:///a/b c/%20#?{}", "file://localhost/a//b c/%20#?{}", "FILE:///a/b c/%20#?{}"] {
            assert_eq!(plain, Location::parse(other).unwrap());
        }
        assert_eq!(Location::parse("s3a://b/k").unwrap(), Location::parse("s3://b/k").unwrap());
        let azure = Location::parse("abfss://c@a.dfs.core.windows.net/k").unwrap();
        assert_eq!(azure, Location::parse("abfs://c@a.dfs.core.windows.net/k").unwrap());
        assert_eq!(azure.authority(), "c@a.dfs.core.windows.net");
    }

    #[test]
    fn nothing_is_encoded_or_decoded() {
        assert_eq!(path("file:///a/x=1%2F2/ü ~*.parquet"), "a/x=1%2F2/ü ~*.parquet");
    }

    #[test]
    fn a_path_in_a_store_is_a_location() {
        for (url, raw) in [
            ("file:///", "file:///a/b"),
            ("s3+0f1d://lake/", "s3://lake/a/b"),
            ("hdfs+0f1d://nn:8020/", "hdfs://nn:8020/a/b"),
            ("abfs+0f1d://c@a.dfs.core.windows.net/", "abfss://c@a.dfs.core.windows.net/a/b"),
        ] {
            assert_eq!(Location::in_store(url, &Path::from("a/b")), Location::parse(raw).unwrap());
        }
    }

    #[test]
    fn what_is_not_absolute_is_refused() {
        for raw in ["", "a/b", "file:a", "file://host/a", "://x", "file://"] {
            assert!(Location::parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn nobody_is_named_in_a_location() {
        for raw in ["s3://KEY:s3cr3t@lake/x", "s3a://KEY:s3/cr3t@lake/x", "hdfs://ada:s3cr3t@h:8020/x", "hdfs://ada@h/x"] {
            let error = Location::parse(raw).unwrap_err().to_string();
            assert!(!error.contains("cr3t"), "{error}");
        }
        for raw in ["abfss://lake@account.dfs.core.windows.net/x", "hdfs://h:8020/x@y:z", "s3://lake/x@y"] {
            assert!(Location::parse(raw).is_ok(), "{raw}");
        }
    }

    #[test]
    fn a_folder_contains_itself_and_what_lies_below() {
        let folder = Location::parse("/wh/t").unwrap();
        assert!(folder.contains(&Location::parse("file:///wh/t/data/x").unwrap()));
        assert!(folder.contains(&folder));
        assert!(!folder.contains(&Location::parse("/wh/t2").unwrap()));
    }
}
