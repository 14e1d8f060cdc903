//! Catalogs as the Iceberg REST protocol has them, for the front door that speaks it.

use std::collections::BTreeMap;
use std::sync::Arc;

use nunatak_catalog::rest_server::Access;
pub use nunatak_catalog::rest_server::{Answer, Failure, Load, Page, RestServer};
use nunatak_core::Result;
use nunatak_core::config::{self, Served};

use super::Coordinator;

/// The properties of storage that clients get, if they get any: where it is, and who they are to it.
const VENDED: [&str; 7] =
    ["client.region", "s3.access-key-id", "s3.endpoint", "s3.path-style-access", "s3.region", "s3.secret-access-key", "s3.session-token"];

/// The role that the keys are there to assume, and for nothing else: then they are not given out.
const ROLE: &str = "client.assume-role.arn";
const KEYS: [&str; 3] = ["s3.access-key-id", "s3.secret-access-key", "s3.session-token"];

impl Coordinator {
    /// A catalog as its clients see it. Errors: `CATALOG_NOT_FOUND`.
    pub fn rest_server(&self, catalog: &str) -> Result<RestServer> {
        let found = Arc::clone(self.engine.catalog(catalog)?);
        let configured = self.options.catalogs.iter().find(|configured| configured.name == catalog);
        Ok(RestServer::new(found, configured.map(access).unwrap_or_default(), self.rest_metadata.clone()))
    }

    /// The name of the catalog that is meant where none is named.
    pub fn default_catalog(&self) -> &str {
        &self.options.default_catalog
    }
}

fn access(catalog: &config::Catalog) -> Access {
    let Served { read_only, vend_credentials } = catalog.served;
    Access { read_only, vended: if vend_credentials { vended(&catalog.storage) } else { BTreeMap::new() } }
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
}
