//! Who we are with Kerberos, as the properties of a catalog say it: to HDFS and to a Hive Metastore alike.

use std::collections::BTreeMap;

use nunatak_core::{Code, Error, Result, Retry};

/// Our name, such as `nunatak@EXAMPLE.ORG`.
pub(crate) const PRINCIPAL: &str = "hdfs.kerberos.principal";
/// The file with its key.
pub(crate) const KEYTAB: &str = "hdfs.kerberos.keytab";
/// The cache with its tickets.
pub(crate) const CACHE: &str = "hdfs.kerberos.cache";

/// Whom tickets are asked for, and with what. Where nothing is said, they are those of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) principal: Option<String>,
    pub(crate) keytab: Option<String>,
    pub(crate) cache: Option<String>,
}

impl Identity {
    /// The one that properties name.
    ///
    /// Errors: `CONFIGURATION_INVALID` if the principal is missing, or the keytab cannot be read.
    pub(crate) fn new(properties: &BTreeMap<String, String>) -> Result<Self> {
        let text = |name: &str| properties.get(name).filter(|value| !value.is_empty()).cloned();
        let identity = Self { principal: text(PRINCIPAL), keytab: text(KEYTAB), cache: text(CACHE) };
        if identity.principal.is_none() && (identity.keytab.is_some() || identity.cache.is_some()) {
            return Err(invalid(format!("{KEYTAB} and {CACHE} need {PRINCIPAL}, which is missing")));
        }
        if let Some(keytab) = &identity.keytab
            && let Err(error) = std::fs::File::open(keytab)
        {
            return Err(invalid(format!("{KEYTAB}: '{keytab}' cannot be read: {error}")).with_retry(Retry::Query));
        }
        Ok(identity)
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::ConfigurationInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(properties: &[(&str, &str)]) -> Result<Identity> {
        Identity::new(&properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_key_needs_a_name() {
        assert_eq!(identity(&[(KEYTAB, "")]).unwrap(), Identity::default());
        assert_eq!(identity(&[(PRINCIPAL, "a@B"), (KEYTAB, "/dev/null")]).unwrap().keytab.as_deref(), Some("/dev/null"));
        for wrong in [[(KEYTAB, "/dev/null")].as_slice(), &[(CACHE, "FILE:/x")], &[(PRINCIPAL, "a@B"), (KEYTAB, "/nowhere.keytab")]] {
            assert_eq!(identity(wrong).unwrap_err().code(), Code::ConfigurationInvalid, "{wrong:?}");
        }
    }
}
