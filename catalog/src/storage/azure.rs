//! Containers of Azure Data Lake Storage and Blob Storage.

use std::collections::BTreeMap;
use std::sync::Arc;

use nunatak_core::{Code, Error, Result};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};

use super::client::{Properties, unusable};

/// The properties that say how containers are reached: Iceberg's names (Java: `AzureProperties`), and some of our own. Without them the environment tells:
/// `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_CLIENT_ID` with its secret or the token of a workload, the identity of the machine.
pub(super) const PROPERTIES: [&str; 11] = [
    "adls.auth.shared-key.account.key",
    "adls.auth.shared-key.account.name",
    "adls.client-id",
    "adls.client-secret",
    "adls.connect-timeout-ms",
    "adls.endpoint",
    "adls.request-timeout-ms",
    "adls.retry.timeout-ms",
    "adls.sas-token",
    "adls.tenant-id",
    "adls.token",
];

/// The store of one container. `authority` is what Hadoop writes: `container@account.dfs.core.windows.net`; with a property that names the account, the
/// container alone will do.
///
/// Errors: `CONFIGURATION_INVALID` for a property that has no meaning, `ICEBERG_FILESYSTEM_ERROR` for a location without an account.
pub(super) fn build(authority: &str, properties: &BTreeMap<String, String>) -> Result<Arc<MicrosoftAzure>> {
    let properties = Properties::new(properties, "adls");
    let (container, host) = match authority.split_once('@') {
        Some((container, host)) => (container, Some(host)),
        None => (authority, None),
    };
    let named = properties.text("auth.shared-key.account.name");
    let account = host.and_then(|host| host.split('.').next()).or(named);
    let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(container);
    builder = match account {
        Some(account) => builder.with_account(account),
        None if std::env::var_os("AZURE_STORAGE_ACCOUNT_NAME").is_some() => builder,
        None => {
            return Err(Error::new(Code::IcebergFilesystemError, format!("'abfs://{authority}' names no account"))
                .with_hint("write abfss://container@account.dfs.core.windows.net/path"));
        }
    };
    properties.check_headers(&["token", "auth.shared-key.account.name"])?;
    let mut client = properties.client()?;
    if let Some(endpoint) = properties.text("endpoint") {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        client = client.with_allow_http(endpoint.starts_with("http://"));
    }
    for (name, key) in [
        ("auth.shared-key.account.key", AzureConfigKey::AccessKey),
        ("sas-token", AzureConfigKey::SasKey),
        ("token", AzureConfigKey::Token),
        ("client-id", AzureConfigKey::ClientId),
        ("client-secret", AzureConfigKey::ClientSecret),
        ("tenant-id", AzureConfigKey::AuthorityId),
    ] {
        if let Some(value) = properties.text(name) {
            builder = builder.with_config(key, value);
        }
    }
    let store = builder.with_client_options(client).with_retry(properties.retry()?).build();
    Ok(Arc::new(store.map_err(|error| unusable(&format!("container '{authority}'"), error))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_needed() {
        let values = BTreeMap::from([(String::from("adls.auth.shared-key.account.key"), String::from("a2V5"))]);
        assert!(build("lake@acc.dfs.core.windows.net", &values).is_ok());
        assert_eq!(build("lake", &values).unwrap_err().code(), Code::IcebergFilesystemError);
        let with_line_end = BTreeMap::from([(String::from("adls.token"), String::from("s3cr3t\n"))]);
        let error = build("lake@acc.dfs.core.windows.net", &with_line_end).unwrap_err().to_string();
        assert!(error.contains("adls.token has letters") && !error.contains("s3cr3t"), "{error}");
        assert!(build("lake@acc.dfs.core.windows.net", &BTreeMap::from([(String::from("adls.retry.timeout-ms"), String::from("soon"))])).is_err());
    }
}
