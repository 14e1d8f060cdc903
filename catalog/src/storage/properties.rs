//! What says how stores are reached, credentials among it.

use std::collections::BTreeMap;
use std::fmt;

use nunatak_core::config::shown;
use nunatak_core::{Code, Error, Result};
use sha2::{Digest, Sha256};

use super::{assumed_role, azure, client, gcs, hdfs, s3, vended};

/// The names there are, besides Hadoop's own.
const KNOWN: [&[&str]; 6] =
    [&client::PROPERTIES, &s3::PROPERTIES, &assumed_role::PROPERTIES, &gcs::PROPERTIES, &azure::PROPERTIES, &hdfs::PROPERTIES];

/// How much of the digest makes an id, in bytes.
const ID_BYTES: usize = 8;

/// The properties of a storage, by Iceberg's names. Values of credentials are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StorageProperties {
    values: BTreeMap<String, String>,
    id: Option<String>,
}

impl StorageProperties {
    /// Properties by name.
    ///
    /// Errors: `CONFIGURATION_INVALID` for a name that nobody reads.
    pub fn new(values: BTreeMap<String, String>) -> Result<Self> {
        if let Some(unknown) = values.keys().find(|name| !Self::is_known(name)) {
            return Err(Error::new(Code::ConfigurationInvalid, format!("storage has no property '{unknown}'")).with_hint(format!(
                "there are {}, and Hadoop's own, which begin with {}",
                KNOWN.map(|names| names.join(", ")).join(", "),
                hdfs::HADOOP_PREFIXES.join(", ")
            )));
        }
        Ok(Self::of_known(values))
    }

    /// Those of another process.
    pub fn of_known(values: BTreeMap<String, String>) -> Self {
        let id = (!values.is_empty()).then(|| digest(&values));
        Self { values, id }
    }

    /// Whether there is a property of that name.
    pub fn is_known(name: &str) -> bool {
        KNOWN.iter().any(|names| names.contains(&name)) || hdfs::HADOOP_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    }

    /// What tells these properties from others, without telling them; `None` if there are none.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The same with other credentials in the place of those that run out.
    pub(super) fn with_credentials(&self, credentials: BTreeMap<String, String>) -> Self {
        let mut values = self.values.clone();
        values.retain(|name, _| !vended::RENEWED.contains(&name.as_str()));
        values.extend(credentials);
        Self { values, id: self.id.clone() }
    }

    /// All values by name, credentials included.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

impl fmt::Debug for StorageProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.values.iter().map(|(name, value)| (name, shown(name, value)))).finish()
    }
}

/// Credentials that are renewed make no difference: what is kept of files stays good with new ones.
fn digest(values: &BTreeMap<String, String>) -> String {
    let mut hasher = Sha256::new();
    let renewed = values.contains_key(vended::ENDPOINT);
    for (name, value) in values.iter().filter(|(name, _)| !renewed || !vended::RENEWED.contains(&name.as_str())) {
        for part in [name, value] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> StorageProperties {
        StorageProperties::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()).unwrap()
    }

    #[test]
    fn credentials_are_not_shown() {
        let shown = format!("{:?}", properties(&[("s3.secret-access-key", "s3cr3t"), ("s3.session-token", "t0k3n"), ("s3.endpoint", "http://e")]));
        assert!(!shown.contains("s3cr3t") && !shown.contains("t0k3n") && shown.contains("http://e"), "{shown}");
    }

    #[test]
    fn ids_are_those_of_the_values() {
        assert_eq!(properties(&[]).id(), None);
        let one = properties(&[("s3.endpoint", "http://e"), ("s3.region", "x")]);
        assert_eq!(one.id(), properties(&[("s3.region", "x"), ("s3.endpoint", "http://e")]).id());
        assert_ne!(one.id(), properties(&[("s3.endpoint", "http://e"), ("s3.region", "y")]).id());
        for unknown in ["s3.endpont", "hdfs.usr", "dfsx.replication"] {
            assert!(StorageProperties::new(BTreeMap::from([(unknown.to_owned(), String::new())])).is_err(), "{unknown}");
        }
        assert!(properties(&[("dfs.ha.namenodes.ns", "nn1,nn2"), ("fs.defaultFS", "hdfs://ns"), ("hdfs.user", "etl")]).id().is_some());
    }

    #[test]
    fn renewed_credentials_are_those_of_the_same_storage() {
        let vended = |id: &str, table: &str| {
            let mut values = vended::renewal("prod", "http://c", None, table, BTreeMap::new());
            let given = [("s3.access-key-id", id), ("s3.secret-access-key", "s"), ("s3.session-token", "t")];
            values.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
            StorageProperties::of_known(values)
        };
        assert_eq!(vended("a", "s3://b/t").id(), vended("b", "s3://b/t").id());
        assert_ne!(vended("a", "s3://b/t").id(), vended("a", "s3://b/u").id());
        let storages = crate::storage::Storages::default();
        storages.get(&vended("a", "s3://b/t"));
        let properties = storages.get(&vended("b", "s3://b/t")).properties();
        assert_eq!((properties.as_map()["s3.access-key-id"].as_str(), properties.id()), ("b", vended("a", "s3://b/t").id()));
    }
}
