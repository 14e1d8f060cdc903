//! Catalogs as the Iceberg REST protocol has them, for the front door that speaks it.

use std::collections::BTreeMap;

use nunatak_catalog::rest_server::{Access, Signing};
pub use nunatak_catalog::rest_server::{Answer, Failure, Load, Page, RestServer};
use nunatak_catalog::storage::Location;
use nunatak_core::config::{self, Served};
use nunatak_core::{Error, Result};

use super::Coordinator;

/// The properties of storage that clients get, if they get any: where it is, and who they are to it.
const VENDED: [&str; 7] = ["client.region", "s3.access-key-id", "s3.endpoint", PATH_STYLE, "s3.region", "s3.secret-access-key", "s3.session-token"];

/// Whether a bucket is a part of an address's path, and not of its host.
const PATH_STYLE: &str = "s3.path-style-access";

/// The role that the keys are there to assume, and for nothing else: then they are not given out.
const ROLE: &str = "client.assume-role.arn";
const KEYS: [&str; 3] = ["s3.access-key-id", "s3.secret-access-key", "s3.session-token"];

impl Coordinator {
    /// A catalog as its clients see it, also one that a statement has made. Errors: `CATALOG_NOT_FOUND`.
    pub fn rest_server(&self, catalog: &str) -> Result<RestServer> {
        let (found, described) = self.catalogs.described(catalog)?;
        let access = described.as_deref().map(access).transpose()?.unwrap_or_default();
        Ok(RestServer::new(found, access, self.rest_metadata.clone()))
    }

    /// The name of the catalog that is meant where none is named.
    pub fn default_catalog(&self) -> &str {
        &self.options.default_catalog
    }
}

fn access(catalog: &config::Catalog) -> Result<Access> {
    let Served { read_only, vend_credentials, sign_requests } = catalog.served;
    Ok(Access {
        read_only,
        vended: if vend_credentials { vended(&catalog.storage) } else { BTreeMap::new() },
        signing: if sign_requests { Some(signing(catalog)?) } else { None },
    })
}

/// What is signed for a catalog: all that is below its warehouse, and clients are told of the bucket what is no key.
///
/// Errors: `NOT_SUPPORTED` where the warehouse is in no bucket.
fn signing(catalog: &config::Catalog) -> Result<Signing> {
    let root = catalog.warehouse.as_deref().and_then(|warehouse| Location::parse(warehouse).ok()).filter(|root| root.store().starts_with("s3://"));
    let root = root.ok_or_else(|| {
        let what = format!("requests to the storage of catalog '{}' cannot be signed: its warehouse is not in a bucket of S3", catalog.name);
        Error::not_supported(what).with_hint("take rest-server.sign-requests out of its properties")
    })?;
    let mut properties = vended(&catalog.storage);
    properties.retain(|name, _| !KEYS.contains(&name.as_str()));
    if properties.contains_key("s3.endpoint") {
        // No other style is signed.
        properties.insert(PATH_STYLE.to_owned(), "true".to_owned());
    }
    Ok(Signing { root, properties })
}

/// What is given out of a storage's properties. Java's clients and others have different names for the region.
fn vended(storage: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let has_role = storage.contains_key(ROLE);
    let given = VENDED.iter().filter(|name| !has_role || !KEYS.contains(name));
    let mut vended: BTreeMap<String, String> = given.filter_map(|name| Some(((*name).to_owned(), storage.get(*name)?.clone()))).collect();
    if let Some(region) = vended.get("s3.region").or_else(|| vended.get("client.region")).cloned() {
        vended.insert("s3.region".to_owned(), region.clone());
        vended.insert("client.region".to_owned(), region);
    }
    if vended.contains_key("s3.endpoint") {
        // What is our default is not that of Iceberg's own clients, nor DuckDB's: a bucket would be a part of the server's name.
        vended.entry(PATH_STYLE.to_owned()).or_insert_with(|| "true".to_owned());
    }
    vended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_clients_need_is_given_out() {
        let storage = ["s3.access-key-id", "s3.secret-access-key", "s3.region", "s3.sse.key", "s3.ca-certificate"];
        let mut storage: BTreeMap<_, _> = storage.map(|name| (name.to_owned(), format!("of {name}"))).into();
        let names: Vec<String> = vended(&storage).into_keys().collect();
        assert_eq!(names, ["client.region", "s3.access-key-id", "s3.region", "s3.secret-access-key"]);
        storage.insert(ROLE.to_owned(), "r".to_owned());
        assert_eq!(vended(&storage).into_keys().collect::<Vec<_>>(), ["client.region", "s3.region"]);
    }

    #[test]
    fn clients_write_addresses_as_we_do() {
        let mut storage = BTreeMap::from([("s3.endpoint".to_owned(), "http://e".to_owned())]);
        assert_eq!(vended(&storage).get(PATH_STYLE).map(String::as_str), Some("true"));
        storage.insert(PATH_STYLE.to_owned(), "false".to_owned());
        assert_eq!(vended(&storage).get(PATH_STYLE).map(String::as_str), Some("false"));
    }

    #[test]
    fn whoever_has_requests_signed_gets_no_keys() {
        let written = [
            ("type", "hadoop"),
            ("warehouse", "s3a://b/lake"),
            ("rest-server.sign-requests", "true"),
            ("s3.endpoint", "http://e"),
            ("s3.region", "x"),
            ("s3.access-key-id", "id"),
            ("s3.secret-access-key", "secret"),
        ];
        let written = written.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let access = access(&config::Catalog::from_properties("c", &written).unwrap()).unwrap();
        let signing = access.signing.unwrap();
        assert_eq!((signing.root.to_string().as_str(), access.vended.len()), ("s3://b/lake", 0));
        let told: Vec<String> = signing.properties.into_keys().collect();
        assert_eq!(told, ["client.region", "s3.endpoint", "s3.path-style-access", "s3.region"]);
    }
}
