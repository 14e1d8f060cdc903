//! `[catalog.NAME]`: the catalogs besides the embedded one, each in a section of its own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use figment::value::{Dict, Tag, Value};

use super::layer::flatten;
use super::{Invalid, Key};
use crate::{Code, Error, Retry};

/// The section whose sections are catalogs.
pub(super) const SECTION: &str = "catalog";

/// Names that no catalog has: they are schemas of all of them.
pub(super) const RESERVED: [&str; 2] = ["information_schema", "system"];

/// The keys that catalogs have besides properties of storage (`s3.endpoint` and others by Iceberg's names, `dfs.nameservices` and others by Hadoop's).
pub(super) const KEYS: &[Key] = &[
    Key { name: "type", description: "What kind of catalog it is: sql, hadoop, hive or rest." },
    Key {
        name: "uri",
        description: "Where it is: of a sql catalog its database, sqlite:///path or postgresql://user@host/database, of a hive catalog thrift://host:9083 of its metastore, of a rest catalog the address of its server.",
    },
    Key {
        name: "warehouse",
        description: "Where its tables lie: a folder such as file:///data/lake, s3://bucket/lake or hdfs://namenode:8020/lake; of a rest catalog as its server has it.",
    },
    Key { name: "clients", description: "How many connections a sql catalog has to its database at most." },
    // Of rest catalogs, by the names that Iceberg has for them.
    Key { name: "audience", description: "For whom the token is, which a rest catalog asks for." },
    Key { name: "credential", description: "The id and the secret of a client of OAuth2: id:secret." },
    Key { name: "namespace-separator", description: "What stands between the levels of a schema in addresses." },
    Key { name: "oauth2-server-uri", description: "Where tokens are given out." },
    Key { name: "prefix", description: "What stands before all addresses of a rest catalog." },
    Key { name: "resource", description: "What the token is for, which a rest catalog asks for." },
    Key { name: "rest-page-size", description: "How many names a rest catalog lists at a time." },
    Key { name: "scope", description: "What the token is to allow." },
    Key { name: "token", description: "A bearer token." },
    Key { name: "token-exchange-enabled", description: "Whether a token is renewed by exchanging it." },
    Key { name: "token-refresh-enabled", description: "Whether a token is renewed." },
    Key { name: "view-endpoints-supported", description: "Whether a rest catalog that does not say has views." },
];

/// What stands for a secret.
const HIDDEN: &str = "***";

const KINDS: &str = "sql, hadoop, hive, rest";
/// What the keys begin with that say what clients of our REST server may do with a catalog.
const SERVED: &str = "rest-server.";

/// A catalog.
#[derive(Clone, PartialEq, Eq)]
pub struct Catalog {
    /// Its name in SQL.
    pub name: String,
    /// What kind it is.
    pub kind: CatalogKind,
    /// Where it is.
    pub uri: Option<String>,
    /// Where its tables lie.
    pub warehouse: Option<String>,
    /// What clients of our REST server may do with it.
    pub served: Served,
    /// Properties of its storage and, of a hive, rest or sql catalog, of itself, by Iceberg's names. They are not checked here.
    pub storage: BTreeMap<String, String>,
    /// What is missing of it, if something is: then values are as they were written.
    pub absent: Option<Absent>,
}

/// A value of a catalog's properties that is in a file which cannot be read, maybe yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Absent {
    /// Which one, and why.
    why: String,
    /// All properties as they were written.
    written: BTreeMap<String, String>,
}

/// Why it is not known what a reference stands for.
pub(super) enum Unresolved {
    /// It is none, or it refers to what will not come to be while the process runs.
    Wrong(String),
    /// It refers to a file that cannot be read.
    Absent(String),
}

impl From<Unresolved> for String {
    fn from(unresolved: Unresolved) -> Self {
        match unresolved {
            Unresolved::Wrong(why) | Unresolved::Absent(why) => why,
        }
    }
}

/// What clients of our REST server may do with a catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// They only read it (`rest-server.read-only`).
    pub read_only: bool,
    /// They get the credentials of its storage if they ask for some (`rest-server.vend-credentials`).
    pub vend_credentials: bool,
    /// Their requests to its storage are signed here, one by one, if they ask for that (`rest-server.sign-requests`).
    pub sign_requests: bool,
}

/// Kinds of catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogKind {
    /// Tables of a database, as Java's `JdbcCatalog` has them.
    Sql,
    /// Folders of a file system, as Java's `HadoopCatalog` has them.
    Hadoop,
    /// A Hive Metastore, as Java's `HiveCatalog` has it.
    Hive,
    /// A server that speaks the Iceberg REST protocol.
    Rest,
}

impl CatalogKind {
    /// As the property `type` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Hadoop => "hadoop",
            Self::Hive => "hive",
            Self::Rest => "rest",
        }
    }
}

impl Catalog {
    /// A catalog that has no section, with its properties as they were written, its type among them.
    ///
    /// Errors: `CONFIGURATION_INVALID` for what is wrong in a section too.
    pub fn from_properties(name: &str, written: &BTreeMap<String, String>) -> crate::Result<Self> {
        if let Some(unknown) = written.keys().find(|property| !is_key(property)) {
            let hint = format!("did you mean '{}'?", nearest_key(unknown));
            return Err(Error::new(Code::ConfigurationInvalid, format!("catalogs have no property '{unknown}'")).with_hint(hint));
        }
        let checked = check_one(name, written.clone());
        checked.map_err(|invalid| Error::new(Code::ConfigurationInvalid, format!("{}: {}", invalid.key, invalid.why)))?.whole()
    }

    /// The catalog with all of its values. Files that could not be read are looked at again.
    ///
    /// Errors: `CONFIGURATION_INVALID`, worth another try if a file cannot be read still.
    pub fn resolved(&self) -> crate::Result<Self> {
        match &self.absent {
            Some(absent) => Self::from_properties(&self.name, &absent.written),
            None => Ok(self.clone()),
        }
    }

    /// It, if nothing of it is missing.
    fn whole(self) -> crate::Result<Self> {
        match self.absent {
            Some(absent) => Err(Error::new(Code::ConfigurationInvalid, absent.why).with_retry(Retry::Query)),
            None => Ok(self),
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let storage: BTreeMap<&str, Cow<'_, str>> = self.storage.iter().map(|(name, value)| (name.as_str(), shown(name, value))).collect();
        f.debug_struct("Catalog")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("uri", &self.uri.as_deref().map(|uri| shown("uri", uri)))
            .field("warehouse", &self.warehouse.as_deref().map(without_password))
            .field("served", &self.served)
            .field("storage", &storage)
            .field("absent", &self.absent.as_ref().map(|absent| &absent.why))
            .finish()
    }
}

/// What may be seen of a property's value: nothing if its name tells that it is a secret, and of an address all but the password in it.
pub fn shown<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    let is_secret = ["secret", "token", "password", "key", "credential", "header."].iter().any(|word| name.contains(word));
    if is_secret { Cow::Borrowed(HIDDEN) } else { without_password(value) }
}

/// An address without the passwords in it: `scheme://user:password@host?password=...`. What is none, because it was mistyped, may have some all the same: all that stands
/// before an `@` goes if there is a `:` in it, and all that comes after `password=`.
pub fn without_password(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return without_password_in_text(text) };
    let (place, query) = match rest.split_once('?') {
        // A password with a `?` that was not encoded.
        Some((place, query)) if !query.contains('@') || place.contains('@') => (place, Some(query)),
        _ => (rest, None),
    };
    let mut shown = match place.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((user, _)), host)) => format!("{scheme}://{user}:{HIDDEN}@{host}"),
        _ => format!("{scheme}://{place}"),
    };
    for (number, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if number == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("password") => shown.extend([name, "=", HIDDEN]),
            _ => shown.push_str(pair),
        }
    }
    Cow::Owned(shown)
}

fn without_password_in_text(text: &str) -> Cow<'_, str> {
    let shown = match text.rsplit_once('@') {
        Some((before, host)) if before.contains(':') => Cow::Owned(format!("{HIDDEN}@{host}")),
        _ => Cow::Borrowed(text),
    };
    // What is in it may have blanks, so nothing tells where it ends.
    let lower = shown.to_ascii_lowercase();
    let named = ["password=", "password ="].iter().filter_map(|name| Some(lower.find(name)? + name.len())).min();
    match named {
        Some(end) => Cow::Owned(format!("{}{HIDDEN}", &shown[..end])),
        None => shown,
    }
}

/// What may be seen of a value as it was written: a reference says only where a secret comes from.
pub(super) fn shown_as_written<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if value.starts_with("${") { Cow::Borrowed(value) } else { shown(name, value) }
}

/// Whether a catalog can have a key: one of its own, or a property of storage.
pub(super) fn is_key(name: &str) -> bool {
    name.contains('.') || KEYS.iter().any(|key| key.name == name)
}

/// The key of catalogs' own that looks most like `name`.
pub(super) fn nearest_key(name: &str) -> &'static str {
    KEYS.iter().map(|key| key.name).min_by_key(|known| strsim::damerau_levenshtein(known, name)).unwrap_or_default()
}

/// The values of a section by key: `s3.endpoint`.
pub(super) fn flat(section: &Dict) -> BTreeMap<String, String> {
    tagged(section).into_iter().map(|(key, (text, _))| (key, text)).collect()
}

/// The same with what tells where each value comes from.
pub(super) fn tagged(section: &Dict) -> BTreeMap<String, (String, Tag)> {
    let mut values = Vec::new();
    flatten(section, "", &mut values);
    let text = |value: &Value| match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => Some(number.to_i128().map_or_else(String::new, |number| number.to_string())),
        _ => None,
    };
    values.into_iter().filter_map(|(key, value)| Some((key, (text(value)?, value.tag())))).collect()
}

/// The catalogs that the sections describe.
pub(super) fn check(sections: &BTreeMap<String, Dict>) -> Result<Vec<Catalog>, Invalid> {
    sections.iter().map(|(name, section)| check_one(name, flat(section))).collect()
}

fn check_one(name: &str, written: BTreeMap<String, String>) -> Result<Catalog, Invalid> {
    let key = |key: &str| format!("{SECTION}.{name}.{key}");
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_') {
        return Err(Invalid::new(format!("{SECTION}.{name}"), format!("'{name}' is not a name of lower-case letters, digits and '_'")));
    }
    if RESERVED.contains(&name) {
        return Err(Invalid::new(format!("{SECTION}.{name}"), format!("no catalog can be called '{name}': every catalog has a schema of that name")));
    }
    let (mut values, mut absent) = (BTreeMap::new(), None);
    for (property, value) in &written {
        let value = match resolve(value) {
            Ok(resolved) => resolved,
            Err(Unresolved::Wrong(why)) => return Err(Invalid::new(key(property), why)),
            Err(Unresolved::Absent(why)) => {
                absent.get_or_insert_with(|| format!("{}: {why}", key(property)));
                value.clone()
            }
        };
        values.insert(property.clone(), value);
    }
    let absent = absent.map(|why| Absent { why, written });
    let kind = match values.remove("type").as_deref() {
        Some("sql") => CatalogKind::Sql,
        Some("hadoop") => CatalogKind::Hadoop,
        Some("hive") => CatalogKind::Hive,
        Some("rest") => CatalogKind::Rest,
        Some(other) => return Err(Invalid::new(key("type"), format!("'{other}' is not one of {KINDS}"))),
        None => return Err(Invalid::new(key("type"), format!("it is missing; it is one of {KINDS}"))),
    };
    let (uri, warehouse) = (values.remove("uri"), values.remove("warehouse"));
    if warehouse.is_none() && kind != CatalogKind::Rest {
        return Err(Invalid::new(
            key("warehouse"),
            "it is missing; a folder such as file:///data/lake, s3://bucket/lake or hdfs://namenode:8020/lake",
        ));
    }
    match (kind, &uri) {
        (CatalogKind::Rest, None) => return Err(Invalid::new(key("uri"), "it is missing; the address of a server such as http://127.0.0.1:8181")),
        (CatalogKind::Hive, None) => {
            return Err(Invalid::new(key("uri"), "it is missing; the address of a metastore such as thrift://127.0.0.1:9083"));
        }
        (CatalogKind::Hadoop, Some(_)) => return Err(Invalid::new(key("uri"), "a hadoop catalog has none: it is its warehouse")),
        (CatalogKind::Sql, Some(uri)) if absent.is_none() && !is_database(uri) => {
            let why = "is not the address of a database such as sqlite:///data/catalog.sqlite or postgresql://user@host:5432/database";
            return Err(Invalid::new(key("uri"), format!("'{}' {why}", shown("uri", uri))));
        }
        _ => {}
    }
    let served = served(&mut values).map_err(|(name, why)| Invalid::new(key(&name), why))?;
    let is_in_bucket = |place: &str| ["s3://", "s3a://", "s3n://"].iter().any(|scheme| place.starts_with(scheme));
    if served.sign_requests && absent.is_none() && !warehouse.as_deref().is_some_and(is_in_bucket) {
        let why = "requests to S3 are signed, and the warehouse is not in a bucket such as s3://bucket/lake";
        return Err(Invalid::new(key(&format!("{SERVED}sign-requests")), why));
    }
    Ok(Catalog { name: name.to_owned(), kind, uri, warehouse, served, storage: values, absent })
}

/// Takes out of the values what is for clients of our REST server. Errors: the key, and what is wrong with it.
fn served(values: &mut BTreeMap<String, String>) -> Result<Served, (String, String)> {
    let mut served = Served::default();
    let keys: Vec<String> = values.keys().filter(|key| key.starts_with(SERVED)).cloned().collect();
    for key in keys {
        let value = values.remove(&key).unwrap_or_default();
        let flag = match &key[SERVED.len()..] {
            "read-only" => &mut served.read_only,
            "vend-credentials" => &mut served.vend_credentials,
            "sign-requests" => &mut served.sign_requests,
            _ => return Err((key, format!("there are {SERVED}read-only, {SERVED}sign-requests and {SERVED}vend-credentials"))),
        };
        *flag = value.parse().map_err(|_| (key, format!("'{value}' is not true or false")))?;
    }
    Ok(served)
}

/// Whether an address is one that sql catalogs have, as others spell it too: `jdbc:postgresql://`, `postgresql+psycopg2://`.
fn is_database(uri: &str) -> bool {
    let uri = uri.strip_prefix("jdbc:").unwrap_or(uri);
    let scheme = uri.split([':', '+']).next().unwrap_or_default();
    ["sqlite", "postgresql", "postgres"].contains(&scheme) && uri.contains(':')
}

/// A value with what it refers to: `${ENV:NAME}` is a variable of the environment, `${FILE:/path}` the text of a file. Within the user and password of an address
/// what they stand for is written as addresses have it.
pub(super) fn resolve(value: &str) -> Result<String, Unresolved> {
    if let Some(reference) = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
        && !reference.contains('}')
    {
        return referred(reference);
    }
    let (mut resolved, mut rest) = (String::new(), value);
    while let Some(start) = ["${ENV:", "${FILE:"].iter().filter_map(|opening| rest.find(*opening)).min() {
        let Some(end) = rest[start..].find('}').map(|length| start + length) else { break };
        resolved.push_str(&rest[..start]);
        let text = referred(&rest[start + 2..end])?;
        rest = &rest[end + 1..];
        if resolved.contains("://") && rest.contains('@') {
            for byte in text.bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => resolved.push(char::from(byte)),
                    _ => {
                        let _ = write!(resolved, "%{byte:02X}");
                    }
                }
            }
        } else {
            resolved.push_str(&text);
        }
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// What `ENV:NAME` or `FILE:/path` stands for.
fn referred(reference: &str) -> Result<String, Unresolved> {
    match reference.split_once(':') {
        Some(("ENV", name)) => std::env::var(name).map_err(|_| Unresolved::Wrong(format!("there is no environment variable {name}"))),
        Some(("FILE", path)) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(Unresolved::Absent(format!("file '{path}' cannot be read: {error}"))),
        },
        _ => Err(Unresolved::Wrong(format!("'${{{reference}}}' is no reference such as ${{ENV:NAME}} or ${{FILE:/path}}"))),
    }
}
