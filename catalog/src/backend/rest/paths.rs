//! Where things are on the server: `{uri}/v1/{prefix}/namespaces/a%1Fb/tables/t`.

use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::super::names::check_part;
use super::http::invalid;
use crate::messages::levels;
use crate::table::TableName;

/// All that is not sure to mean itself.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What stands between the levels of a namespace, encoded; servers may announce another one.
const SEPARATOR: &str = "%1F";

/// The addresses of one catalog.
pub(super) struct Paths {
    /// Ends with `/v1/` or `/v1/{prefix}/`.
    base: String,
    separator: String,
}

impl Paths {
    /// Those of the catalog at `uri`. `prefix` and `separator` are as its configuration has them.
    pub(super) fn new(uri: &Url, prefix: Option<&str>, separator: Option<&str>) -> Self {
        let mut base = format!("{}/v1/", without_query(uri));
        if let Some(prefix) = prefix.map(|prefix| prefix.trim_matches('/')).filter(|prefix| !prefix.is_empty()) {
            base.push_str(prefix);
            base.push('/');
        }
        Self { base, separator: separator.unwrap_or(SEPARATOR).to_owned() }
    }

    /// The address of something that has no namespace, such as `namespaces` or `tables/rename`.
    pub(super) fn of(&self, what: &str) -> Result<Url> {
        parse(&format!("{}{what}", self.base))
    }

    /// The address of a namespace, or of something of it such as `tables`.
    pub(super) fn of_namespace(&self, namespace: &str, what: &str) -> Result<Url> {
        let namespace = self.namespace(namespace)?;
        self.of(&format!("namespaces/{namespace}{}{what}", if what.is_empty() { "" } else { "/" }))
    }

    /// The address of a table.
    pub(super) fn of_table(&self, name: &TableName) -> Result<Url> {
        check_part(&name.table, "table")?;
        self.of_namespace(&name.namespace, &format!("tables/{}", part(&name.table)?))
    }

    /// The address of a table's credentials.
    pub(super) fn of_credentials(&self, name: &TableName) -> Result<Url> {
        self.of_namespace(&name.namespace, &format!("tables/{}/credentials", part(&name.table)?))
    }

    /// The address of a view.
    pub(super) fn of_view(&self, name: &TableName) -> Result<Url> {
        check_part(&name.table, "view")?;
        self.of_namespace(&name.namespace, &format!("views/{}", part(&name.table)?))
    }

    /// A namespace as one part of an address.
    pub(super) fn namespace(&self, namespace: &str) -> Result<String> {
        let parts = levels(namespace).into_iter().map(|level| {
            check_part(level, "schema")?;
            part(level)
        });
        Ok(parts.collect::<Result<Vec<_>>>()?.join(&self.separator))
    }
}

/// The address of the catalog's configuration.
pub(super) fn config(uri: &Url, warehouse: Option<&str>) -> Result<Url> {
    let mut url = parse(&format!("{}/v1/config", without_query(uri)))?;
    if let Some(warehouse) = warehouse {
        url.query_pairs_mut().append_pair("warehouse", warehouse);
    }
    Ok(url)
}

/// An address that the server has named, whole or below the catalog's own.
pub(super) fn resolve(uri: &Url, named: &str) -> Result<Url> {
    let whole = if named.contains("://") { named.to_owned() } else { format!("{}/{}", without_query(uri), named.trim_start_matches('/')) };
    parse(&whole)
}

/// Refuses what would mean another place: no encoding keeps these two from meaning the folder itself and the one above.
fn part(name: &str) -> Result<String> {
    match name {
        "." | ".." => Err(Error::new(Code::InvalidArguments, format!("'{name}' cannot be the name of a table, view or schema of a REST catalog"))),
        _ => Ok(utf8_percent_encode(name, ENCODED).to_string()),
    }
}

fn without_query(uri: &Url) -> String {
    let mut uri = uri.clone();
    uri.set_query(None);
    uri.set_fragment(None);
    uri.as_str().trim_end_matches('/').to_owned()
}

fn parse(url: &str) -> Result<Url> {
    Url::parse(url).map_err(|error| invalid(format!("'{}' is not an address: {error}", without_password(url))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(prefix: Option<&str>) -> Paths {
        Paths::new(&Url::parse("http://h:1/c/").unwrap(), prefix, None)
    }

    #[test]
    fn names_are_encoded_and_levels_joined() {
        let table = |namespace: &str, table: &str| paths(None).of_table(&TableName::new(namespace, table)).map(String::from);
        assert_eq!(table("a.b", "t").unwrap(), "http://h:1/c/v1/namespaces/a%1Fb/tables/t");
        assert_eq!(table("n", "ü %20/#+?").unwrap(), "http://h:1/c/v1/namespaces/n/tables/%C3%BC%20%2520%2F%23%2B%3F");
        for (namespace, name) in [("n", ".."), ("..", "t"), (".", "t"), ("a..b", "t"), ("n", "")] {
            assert_eq!(table(namespace, name).unwrap_err().code(), Code::InvalidArguments, "{namespace} {name}");
        }
    }

    #[test]
    fn prefixes_are_as_the_server_has_them() {
        assert_eq!(paths(Some("main%7Cx")).of("namespaces").unwrap().as_str(), "http://h:1/c/v1/main%7Cx/namespaces");
        assert_eq!(paths(Some("")).of_namespace("a", "").unwrap().as_str(), "http://h:1/c/v1/namespaces/a");
        let uri = Url::parse("http://h:1/c").unwrap();
        assert_eq!(config(&uri, Some("s3://a b")).unwrap().as_str(), "http://h:1/c/v1/config?warehouse=s3%3A%2F%2Fa+b");
        assert_eq!(resolve(&uri, "/v1/x").unwrap().as_str(), "http://h:1/c/v1/x");
    }
}
