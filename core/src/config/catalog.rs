//! `[catalog.NAME]`: the catalogs besides the embedded one, each in a section of its own.

use std::collections::BTreeMap;
use std::fmt;

use figment::value::{Dict, Value};

use super::layer::flatten;
use super::{Invalid, Key};

/// The section whose sections are catalogs.
pub(super) const SECTION: &str = "catalog";

/// The keys that catalogs have besides properties of storage (`s3.endpoint` and others, by Iceberg's names).
pub(super) const KEYS: &[Key] = &[
    Key { name: "type", description: "What kind of catalog it is: sql, hadoop or rest." },
    Key { name: "uri", description: "Where it is: of a sql catalog sqlite:///path of its database, of a rest catalog the address of its server." },
    Key {
        name: "warehouse",
        description: "Where its tables lie: a folder such as file:///data/lake, or s3://bucket/lake; of a rest catalog as its server has it.",
    },
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

const KINDS: &str = "sql, hadoop, rest";

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
    /// Properties of its storage and, of a rest catalog, of itself, by Iceberg's names. They are not checked here.
    pub storage: BTreeMap<String, String>,
}

/// Kinds of catalogs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatalogKind {
    /// Tables of a database, as Java's `JdbcCatalog` has them.
    Sql,
    /// Folders of a file system, as Java's `HadoopCatalog` has them.
    Hadoop,
    /// A server that speaks the Iceberg REST protocol.
    Rest,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let storage: BTreeMap<&str, &str> = self.storage.iter().map(|(name, value)| (name.as_str(), shown(name, value))).collect();
        f.debug_struct("Catalog")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("uri", &self.uri)
            .field("warehouse", &self.warehouse)
            .field("storage", &storage)
            .finish()
    }
}

/// What may be seen of a property's value: nothing if its name tells that it is a secret.
pub fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    let is_secret = ["secret", "token", "password", "key", "credential", "header."].iter().any(|word| name.contains(word));
    if is_secret { "***" } else { value }
}

/// What may be seen of a value as it was written: a reference says only where a secret comes from.
pub(super) fn shown_as_written<'a>(name: &str, value: &'a str) -> &'a str {
    if value.starts_with("${") { value } else { shown(name, value) }
}

/// Whether a catalog can have a key: one of its own, or a property of storage.
pub(super) fn is_key(name: &str) -> bool {
    name.contains('.') || KEYS.iter().any(|key| key.name == name)
}

/// The values of a section by key: `s3.endpoint`.
pub(super) fn flat(section: &Dict) -> BTreeMap<String, String> {
    let mut values = Vec::new();
    flatten(section, "", &mut values);
    let text = |value: &Value| match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => Some(number.to_i128().map_or_else(String::new, |number| number.to_string())),
        _ => None,
    };
    values.into_iter().filter_map(|(key, value)| Some((key, text(value)?))).collect()
}

/// The catalogs that the sections describe.
pub(super) fn check(sections: &BTreeMap<String, Dict>) -> Result<Vec<Catalog>, Invalid> {
    sections.iter().map(|(name, section)| check_one(name, section)).collect()
}

fn check_one(name: &str, section: &Dict) -> Result<Catalog, Invalid> {
    let key = |key: &str| format!("{SECTION}.{name}.{key}");
    if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_') {
        return Err(Invalid::new(format!("{SECTION}.{name}"), format!("'{name}' is not a name of lower-case letters, digits and '_'")));
    }
    let mut values = BTreeMap::new();
    for (property, value) in flat(section) {
        let resolved = resolve(&value).map_err(|why| Invalid::new(key(&property), why))?;
        values.insert(property, resolved);
    }
    let kind = match values.remove("type").as_deref() {
        Some("sql") => CatalogKind::Sql,
        Some("hadoop") => CatalogKind::Hadoop,
        Some("rest") => CatalogKind::Rest,
        Some(other) => return Err(Invalid::new(key("type"), format!("'{other}' is not one of {KINDS}"))),
        None => return Err(Invalid::new(key("type"), format!("it is missing; it is one of {KINDS}"))),
    };
    let (uri, warehouse) = (values.remove("uri"), values.remove("warehouse"));
    if warehouse.is_none() && kind != CatalogKind::Rest {
        return Err(Invalid::new(key("warehouse"), "it is missing; a folder such as file:///data/lake, or s3://bucket/lake"));
    }
    match (kind, &uri) {
        (CatalogKind::Rest, None) => return Err(Invalid::new(key("uri"), "it is missing; the address of a server such as http://127.0.0.1:8181")),
        (CatalogKind::Hadoop, Some(_)) => return Err(Invalid::new(key("uri"), "a hadoop catalog has none: it is its warehouse")),
        (CatalogKind::Sql, Some(uri)) if !uri.starts_with("sqlite:") => {
            return Err(Invalid::new(key("uri"), format!("'{uri}' is not the address of a database such as sqlite:///data/catalog.sqlite")));
        }
        _ => {}
    }
    Ok(Catalog { name: name.to_owned(), kind, uri, warehouse, storage: values })
}

/// A value, or what it refers to: `${ENV:NAME}` is a variable of the environment, `${FILE:/path}` the text of a file.
fn resolve(value: &str) -> Result<String, String> {
    let Some(reference) = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else { return Ok(value.to_owned()) };
    match reference.split_once(':') {
        Some(("ENV", name)) => std::env::var(name).map_err(|_| format!("there is no environment variable {name}")),
        Some(("FILE", path)) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(format!("file '{path}' cannot be read: {error}")),
        },
        _ => Err(format!("'{value}' is no reference such as ${{ENV:NAME}} or ${{FILE:/path}}")),
    }
}
