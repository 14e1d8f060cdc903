//! What says how a file system of HDFS is reached, as `hdfs-native` wants to hear it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use hdfs_native::{Client, ClientBuilder, HdfsError};
use nunatak_core::{Code, Error, Result, Retry};
use tokio::runtime::Handle;

use crate::kerberos::{self, Identity};

/// The properties of our own. Iceberg has none for HDFS: Java finds Hadoop's configuration by itself.
pub(in crate::storage) const PROPERTIES: [&str; 7] =
    [CONFIG_DIR, kerberos::CACHE, kerberos::KEYTAB, kerberos::PRINCIPAL, "hdfs.request-timeout-ms", "hdfs.retry.timeout-ms", "hdfs.user"];

/// What Hadoop's own keys begin with. They are taken as they are, and come before those of the files.
pub(in crate::storage) const HADOOP_PREFIXES: [&str; 3] = ["dfs.", "fs.", "hadoop."];

const CONFIG_DIR: &str = "hdfs.config-dir";
/// The files that Hadoop has its configuration in.
const CONFIG_FILES: [&str; 2] = ["core-site.xml", "hdfs-site.xml"];
const AUTHENTICATION: &str = "hadoop.security.authentication";
/// The port of a NameNode that is named without one (Java: `HdfsClientConfigKeys.DFS_NAMENODE_RPC_PORT_DEFAULT`).
const NAMENODE_PORT: u16 = 8020;

/// How long a request may take. Other NameNodes and connections are tried after it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a request is sent again and again. A NameNode has failed over by then; who waits for the answer does not want to wait longer.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for what is written, whose loss costs more: a NameNode may be back by then.
const WRITE_RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// How many other NameNodes are asked before we hear of a failure, and how long the waits are when all of them were.
const FAILOVERS_MAX: u32 = 4;
const FAILOVER_WAIT_MIN: Duration = Duration::from_millis(25);
const FAILOVER_WAIT_MAX: Duration = Duration::from_secs(1);

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Requests that we send again ourselves.
    Requests,
    /// Files that are being written. What a writer asks the NameNode between two blocks, nobody but the library can ask again.
    Writers,
}

/// How a file system is reached.
#[derive(Debug)]
pub(super) struct Options {
    authority: String,
    config_dir: Option<String>,
    /// Hadoop's keys.
    config: BTreeMap<String, String>,
    user: Option<String>,
    identity: Identity,
    pub(super) request_timeout: Duration,
    pub(super) retry_timeout: Duration,
    pub(super) write_retry_timeout: Duration,
}

impl Options {
    /// Those in `properties` for the NameNode or the name service `authority`; if it is empty, `fs.defaultFS` says which.
    ///
    /// Errors: `CONFIGURATION_INVALID` for a property that has no meaning, or that lacks another one.
    pub(super) fn new(authority: &str, properties: &BTreeMap<String, String>) -> Result<Self> {
        let text = |name: &str| properties.get(name).filter(|value| !value.is_empty()).cloned();
        let millis = |name: &str, default: Duration| match text(name) {
            Some(value) => match value.parse() {
                Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
                _ => Err(invalid(format!("property '{name}' is '{value}', which is not a number of milliseconds"))),
            },
            None => Ok(default),
        };
        let is_hadoop = |name: &str| HADOOP_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let options = Self {
            authority: authority.to_owned(),
            config_dir: text(CONFIG_DIR),
            config: properties.iter().filter(|(name, _)| is_hadoop(name)).map(|(name, value)| (name.clone(), value.clone())).collect(),
            user: text("hdfs.user"),
            identity: Identity::new(properties)?,
            request_timeout: millis("hdfs.request-timeout-ms", REQUEST_TIMEOUT)?,
            retry_timeout: millis("hdfs.retry.timeout-ms", RETRY_TIMEOUT)?,
            write_retry_timeout: millis("hdfs.retry.timeout-ms", WRITE_RETRY_TIMEOUT)?,
        };
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<()> {
        if self.identity.principal.is_some() && self.config.get(AUTHENTICATION).is_some_and(|method| method == "simple") {
            return Err(invalid(format!("{AUTHENTICATION} is 'simple', which goes without {}", kerberos::PRINCIPAL)));
        }
        if let Some(folder) = &self.config_dir
            && !CONFIG_FILES.iter().any(|file| Path::new(folder).join(file).is_file())
        {
            return Err(invalid(format!("{CONFIG_DIR}: there is neither core-site.xml nor hdfs-site.xml in '{folder}'")).with_retry(Retry::Query));
        }
        Ok(())
    }

    /// What the file system is called in messages.
    pub(super) fn server(&self) -> &str {
        if self.authority.is_empty() { "fs.defaultFS" } else { &self.authority }
    }

    /// A client, whose work beside its callers is done in `runtime`. If it is one `in_place` of another that got no answer, it may begin with another NameNode.
    /// It can take a while: Kerberos may be asked who we are.
    pub(super) fn client(&self, runtime: &Handle, purpose: Purpose, in_place: bool) -> hdfs_native::Result<Client> {
        match self.build(&self.authority, runtime, purpose, in_place) {
            // It is no name service that the configuration knows.
            Err(HdfsError::InvalidArgument(why)) if self.is_name() => {
                let with_port = self.build(&format!("{}:{NAMENODE_PORT}", self.authority), runtime, purpose, in_place);
                with_port.map_err(|_| HdfsError::InvalidArgument(why))
            }
            built => built,
        }
    }

    /// Whether the authority is a name without a port.
    fn is_name(&self) -> bool {
        !self.authority.is_empty() && !self.authority.contains(':')
    }

    fn build(&self, authority: &str, runtime: &Handle, purpose: Purpose, in_place: bool) -> hdfs_native::Result<Client> {
        let mut builder = ClientBuilder::new()
            .with_url(format!("hdfs://{authority}/"))
            .with_config(self.hadoop_config(purpose, in_place))
            .with_io_runtime(runtime.clone());
        if let Some(folder) = &self.config_dir {
            builder = builder.with_config_dir(folder);
        }
        if let Some(user) = &self.user {
            builder = builder.with_user(user);
        }
        if let Some(principal) = &self.identity.principal {
            builder = builder.with_kerberos_principal(principal);
        }
        if let Some(keytab) = &self.identity.keytab {
            builder = builder.with_kerberos_keytab(keytab);
        }
        if let Some(cache) = &self.identity.cache {
            builder = builder.with_kerberos_cache(cache);
        }
        builder.build()
    }

    /// Hadoop's keys, with what we want where nothing is said: what was surely not done is sent again, from NameNode to NameNode and at most a second apart.
    fn hadoop_config(&self, purpose: Purpose, in_place: bool) -> BTreeMap<String, String> {
        let mut config = self.config.clone();
        let mut default = |name: &str, value: &dyn Display| {
            config.entry(name.to_owned()).or_insert_with(|| value.to_string());
        };
        default("dfs.client.failover.max.attempts", if purpose == Purpose::Writers { &u32::MAX } else { &FAILOVERS_MAX });
        default("dfs.client.failover.sleep.base.millis", &FAILOVER_WAIT_MIN.as_millis());
        default("dfs.client.failover.sleep.max.millis", &FAILOVER_WAIT_MAX.as_millis());
        // A block that loses a DataNode, and gets no other one in its place, goes on with those that are left.
        default("dfs.client.block.write.replace-datanode-on-failure.best-effort", &true);
        default("dfs.client.socket-timeout", &self.request_timeout.as_millis());
        if self.identity.principal.is_some() {
            default(AUTHENTICATION, &"kerberos");
        }
        if in_place && self.is_name() {
            default(&format!("dfs.client.failover.random.order.{}", self.authority), &true);
        }
        config
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::ConfigurationInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(authority: &str, properties: &[(&str, &str)]) -> Result<Options> {
        Options::new(authority, &properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn properties_are_checked() {
        assert!(options("h:1", &[("hdfs.user", "alice"), ("dfs.replication", "2"), ("hdfs.retry.timeout-ms", "500")]).is_ok());
        for wrong in [
            [("hdfs.kerberos.keytab", "/dev/null")].as_slice(),
            &[("hdfs.kerberos.principal", "a@B"), ("hdfs.kerberos.keytab", "/nowhere.keytab")],
            &[("hdfs.kerberos.principal", "a@B"), (AUTHENTICATION, "simple")],
            &[("hdfs.config-dir", "/nowhere")],
            &[("hdfs.retry.timeout-ms", "soon")],
            &[("hdfs.request-timeout-ms", "0")],
        ] {
            assert_eq!(options("h:1", wrong).unwrap_err().code(), Code::ConfigurationInvalid, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_said_comes_before_what_we_want() {
        let said = options("ns", &[("dfs.client.failover.max.attempts", "3"), ("hdfs.kerberos.principal", "a@B")]).unwrap();
        let config = said.hadoop_config(Purpose::Writers, true);
        assert_eq!(config["dfs.client.failover.max.attempts"], "3");
        assert_eq!(config[AUTHENTICATION], "kerberos");
        assert_eq!(config["dfs.client.failover.random.order.ns"], "true");
        assert!(!said.hadoop_config(Purpose::Writers, false).contains_key("dfs.client.failover.random.order.ns"));
        let unsaid = options("ns", &[]).unwrap();
        assert_eq!(unsaid.hadoop_config(Purpose::Requests, false)["dfs.client.failover.max.attempts"], "4");
        assert_eq!(unsaid.hadoop_config(Purpose::Writers, false)["dfs.client.failover.max.attempts"], "4294967295");
    }

    #[tokio::test]
    async fn a_name_is_a_name_service_or_a_host() {
        let is_built =
            |authority, properties: &[_]| options(authority, properties).unwrap().client(&Handle::current(), Purpose::Requests, true).is_ok();
        assert!(is_built("somewhere", &[]));
        assert!(is_built("somewhere:8020", &[]));
        assert!(is_built("", &[("fs.defaultFS", "hdfs://somewhere:1")]));
        assert!(!is_built("", &[]));
        let nodes = [("dfs.ha.namenodes.ns", "a,b"), ("dfs.namenode.rpc-address.ns.a", "x:1"), ("dfs.namenode.rpc-address.ns.b", "x:2")];
        assert!(is_built("ns", &nodes));
    }
}
