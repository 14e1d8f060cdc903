//! What is known of a server once it was asked for its configuration: where its things are, what it can do, and how its tables' files are reached.

use std::collections::{BTreeMap, HashSet};

use nunatak_core::Result;
use url::Url;

use super::auth;
use super::client::{Call, Client, Reply, parse_uri};
use super::http::{Fault, flag, invalid, number};
use super::messages::{ServerConfig, filled};
use super::paths::{self, Paths};
use crate::messages::NameList;
use crate::storage::{StorageProperties, assumed_role};
use crate::table::TableName;

/// Properties of the catalog itself; those of [`auth`], `header.*` and those of storage are beside them.
const PROPERTIES: [&str; 11] = [
    "namespace-separator",
    "prefix",
    "rest-page-size",
    "rest.ca-certificate",
    "rest.client.connection-timeout-ms",
    "rest.client.max-retries",
    "rest.client.socket-timeout-ms",
    "s3.remote-signing-enabled",
    "s3.signer.endpoint",
    "s3.signer.uri",
    "view-endpoints-supported",
];

const VIEWS: &str = "GET /v1/{prefix}/namespaces/{namespace}/views";
const REGISTER_VIEW: &str = "POST /v1/{prefix}/namespaces/{namespace}/register-view";
const CREDENTIALS: &str = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials";

/// A server that was asked.
pub(super) struct Connection {
    /// It, and who we are to it.
    pub(super) client: Client,
    /// Where its things are.
    pub(super) paths: Paths,
    /// Where it is.
    pub(super) uri: Url,
    /// The configuration: ours, over what the server has for who has none, under what it insists on.
    pub(super) properties: BTreeMap<String, String>,
    /// How many names a page has; `None` asks for no pages.
    page: Option<u64>,
    /// What it can do, if it says so.
    endpoints: Option<HashSet<String>>,
}

/// That properties are some that a REST catalog has.
///
/// Errors: `CONFIGURATION_INVALID`.
pub(super) fn check(uri: &str, properties: &BTreeMap<String, String>) -> Result<Url> {
    let is_known = |name: &str| {
        PROPERTIES.contains(&name) || auth::PROPERTIES.contains(&name) || name.starts_with("header.") || StorageProperties::is_known(name)
    };
    if let Some(unknown) = properties.keys().find(|name| !is_known(name)) {
        let known = PROPERTIES.iter().chain(&auth::PROPERTIES).copied().collect::<Vec<_>>().join(", ");
        return Err(
            invalid(format!("a rest catalog has no property '{unknown}'")).with_hint(format!("there are {known}, header.*, and those of storage"))
        );
    }
    let uri = parse_uri(uri)?;
    // What can be seen to be wrong is said at the start, not to the first query.
    Client::new("", &uri, properties, true)?;
    settings(properties)?;
    Ok(uri)
}

impl Connection {
    /// Asks a server for its configuration.
    ///
    /// Errors: `CATALOG_UNAVAILABLE`, `CATALOG_ACCESS_DENIED`, `ICEBERG_CATALOG_ERROR`.
    pub(super) async fn open(catalog: &str, uri: &Url, warehouse: Option<&str>, given: &BTreeMap<String, String>) -> Result<Self> {
        let first = Client::new(catalog, uri, given, !has_credentials(given))?;
        let call = Call::get(paths::config(uri, warehouse)?, "read the configuration");
        let ServerConfig { defaults, overrides, endpoints } = first.succeed(call).await?.parsed()?;
        let mut properties = filled(defaults.unwrap_or_default());
        properties.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
        properties.extend(filled(overrides.unwrap_or_default()));
        let uri = match properties.get("uri") {
            Some(uri) => parse_uri(uri)?,
            None => uri.clone(),
        };
        let text = |name: &str| properties.get(name).map(String::as_str);
        let paths = Paths::new(&uri, text("prefix"), text("namespace-separator"));
        let (page, views) = settings(&properties)?;
        let mut endpoints = endpoints.filter(|endpoints| !endpoints.is_empty()).map(HashSet::from_iter);
        if endpoints.is_none() && views {
            endpoints = Some(HashSet::from([VIEWS.to_owned()]));
        }
        // Also where nothing has changed: the first client had no say of the server's in it.
        let client = Client::new(catalog, &uri, &properties, !has_credentials(&properties))?;
        Ok(Self { client, paths, uri, page, endpoints, properties })
    }

    /// Makes a call. Any reply is one.
    pub(super) async fn reply(&self, call: Call) -> Result<Reply<'_>> {
        self.client.call(call).await.map_err(Fault::into_error)
    }

    /// Whether there are views; a server that does not say has none.
    pub(super) fn has_views(&self) -> bool {
        self.endpoints.as_ref().is_some_and(|endpoints| endpoints.contains(VIEWS))
    }

    /// Whether views can be made of metadata that is there.
    pub(super) fn registers_views(&self) -> bool {
        self.endpoints.as_ref().is_some_and(|endpoints| endpoints.contains(REGISTER_VIEW))
    }

    /// Whether credentials of a table can be asked for without the table.
    pub(super) fn has_credentials(&self) -> bool {
        self.endpoints.as_ref().is_some_and(|endpoints| endpoints.contains(CREDENTIALS))
    }

    /// Whether there is a table or a view of a name, whatever its metadata is like; `kind` is `tables` or `views`.
    pub(super) async fn has(&self, kind: &str, name: &TableName) -> Result<bool> {
        let (url, what) = match kind {
            "views" => (self.paths.of_view(name)?, "view"),
            _ => (self.paths.of_table(name)?, "table"),
        };
        let reply = self.reply(Call::get(url, format!("look up {what} '{name}'"))).await?;
        match reply.answer.status {
            status if status.is_success() => Ok(true),
            _ if reply.answer.is_missing() => Ok(false),
            _ => Err(reply.failure_of_one()),
        }
    }

    /// All names at an address, page by page; `None` if what they are names in is not there.
    pub(super) async fn names(&self, url: Url, operation: &str) -> Result<Option<Vec<String>>> {
        let (mut names, mut tokens) = (Vec::new(), HashSet::new());
        let mut token = String::new();
        loop {
            let reply = self.reply(Call::get(self.paged(&url, &token), operation)).await?;
            if reply.answer.is_missing() {
                return Ok(None);
            }
            if !reply.answer.status.is_success() {
                return Err(reply.failure().into_error());
            }
            let NameList { identifiers, next_page_token } = reply.parsed()?;
            names.extend(identifiers.into_iter().map(|listed| listed.name));
            match next_page_token.filter(|next| !next.is_empty()) {
                Some(next) if !tokens.insert(next.clone()) => return Err(reply.nonsense("its pages lead back to one that it has given already")),
                Some(next) => token = next,
                None => break,
            }
        }
        names.sort();
        // What is made and dropped meanwhile can put a name on two pages.
        names.dedup();
        Ok(Some(names))
    }

    /// The address of a page. The first one has an empty token, which says that we know of pages; that is left out where nobody wants any.
    pub(super) fn paged(&self, url: &Url, token: &str) -> Url {
        let mut url = url.clone();
        if self.page.is_some() || !token.is_empty() {
            url.query_pairs_mut().append_pair("pageToken", token);
        }
        if let Some(page) = self.page {
            url.query_pairs_mut().append_pair("pageSize", &page.to_string());
        }
        url
    }
}

/// How many names a page has, and whether there are views where the server does not say.
fn settings(properties: &BTreeMap<String, String>) -> Result<(Option<u64>, bool)> {
    let page = number(properties, "rest-page-size", 0)?;
    Ok(((page > 0).then_some(page), flag(properties, "view-endpoints-supported", false)?))
}

/// Whether the configuration has credentials of storage. The server is to give out some if not.
pub(super) fn has_credentials(properties: &BTreeMap<String, String>) -> bool {
    properties.contains_key("s3.access-key-id") || properties.contains_key(assumed_role::ARN)
}
