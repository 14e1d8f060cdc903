//! What went wrong at HDFS, told apart by what can be done about it: by variant, and by the class of Java's exception.

use std::fmt;
use std::io;
use std::sync::Arc;

use hdfs_native::HdfsError;
use nunatak_core::{Code, Error, Retry};

/// What Kerberos says when none of its servers can be reached (MIT: `KRB5_KDC_UNREACH`, -1765328228).
const KDC_UNREACHABLE: u32 = 2_529_639_068;

const ACCESS_CONTROL: &str = "org.apache.hadoop.security.AccessControlException";
const FILE_NOT_FOUND: &str = "java.io.FileNotFoundException";
const SAFE_MODE: &str = "org.apache.hadoop.hdfs.server.namenode.SafeModeException";

/// The classes of exceptions that say who we are not.
const NOT_AUTHENTICATED: [&str; 4] = [
    "javax.security.sasl.SaslException",
    "org.apache.hadoop.security.authorize.AuthorizationException",
    "org.apache.hadoop.security.token.SecretManager$InvalidToken",
    "org.ietf.jgss.GSSException",
];

/// Those of a NameNode that cannot answer now.
const NOT_NOW: [&str; 5] = [
    SAFE_MODE,
    "org.apache.hadoop.ipc.ObserverRetryOnActiveException",
    "org.apache.hadoop.ipc.RetriableException",
    "org.apache.hadoop.ipc.ServerTooBusyException",
    "org.apache.hadoop.ipc.StandbyException",
];

/// Those of quotas.
const NO_SPACE: [&str; 3] = [
    "org.apache.hadoop.hdfs.protocol.DSQuotaExceededException",
    "org.apache.hadoop.hdfs.protocol.NSQuotaExceededException",
    "org.apache.hadoop.hdfs.protocol.QuotaByStorageTypeExceededException",
];

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NotFound,
    Exists,
    /// It does not know who we are, or we do not know it ourselves.
    NotAuthenticated,
    /// It knows, and refuses.
    Denied,
    /// The NameNode, or a server of Kerberos, cannot be reached or does not answer now.
    Unreachable,
    /// No DataNode gives or takes the blocks of the file.
    DataNodes,
    NoSpace,
    NotSupported,
    Configuration,
    Other,
}

/// A failure at HDFS.
#[derive(Debug)]
pub(in crate::storage) struct Failure {
    server: Arc<str>,
    error: HdfsError,
}

impl Failure {
    pub(super) fn new(server: &Arc<str>, error: HdfsError) -> Self {
        Self { server: Arc::clone(server), error }
    }

    /// A failure that no server has told of.
    pub(super) fn own(server: &Arc<str>, kind: io::ErrorKind, what: impl Into<String>) -> Self {
        let what: String = what.into();
        Self::new(server, HdfsError::IOError(io::Error::new(kind, what)))
    }

    /// The one that an object store's error comes from.
    pub(in crate::storage) fn of(error: &object_store::Error) -> Option<&Self> {
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            if let Some(failure) = error.downcast_ref::<Self>() {
                return Some(failure);
            }
            cause = error.source();
        }
        None
    }

    pub(super) fn kind(&self) -> Kind {
        match &self.error {
            HdfsError::FileNotFound(_) => Kind::NotFound,
            HdfsError::AlreadyExists(_) => Kind::Exists,
            HdfsError::GSSAPIError(_, KDC_UNREACHABLE, _) | HdfsError::IOError(_) => Kind::Unreachable,
            HdfsError::GSSAPIError(..) | HdfsError::SASLError(_) | HdfsError::NoSASLMechanism => Kind::NotAuthenticated,
            HdfsError::RPCError(class, message) | HdfsError::FatalRPCError(class, message) => of_exception(class, message),
            HdfsError::OperationFailed(what) if what.to_lowercase().contains("gssapi") => Kind::NotAuthenticated,
            // `OperationFailed` is told when a file cannot be completed, because its DataNodes have not reported.
            // Erasure coding fails where too few of a file's DataNodes are there.
            HdfsError::DataTransferError(_)
            | HdfsError::ChecksumError
            | HdfsError::BlocksNotFound(_)
            | HdfsError::ErasureCodingError(_)
            | HdfsError::OperationFailed(_) => Kind::DataNodes,
            HdfsError::UnsupportedFeature(_) | HdfsError::UnsupportedErasureCodingPolicy(_) => Kind::NotSupported,
            HdfsError::InvalidArgument(_) | HdfsError::UrlParseError(_) | HdfsError::XmlParseError(_) => Kind::Configuration,
            HdfsError::InvalidPath(_)
            | HdfsError::IsADirectoryError(_)
            | HdfsError::TrashNotEnabled
            | HdfsError::InternalError(_)
            | HdfsError::InvalidRPCResponse(_) => Kind::Other,
        }
    }

    fn is_safe_mode(&self) -> bool {
        matches!(&self.error, HdfsError::RPCError(class, _) | HdfsError::FatalRPCError(class, _) if class == SAFE_MODE)
    }

    /// Whether the same can succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self.kind(), Kind::Unreachable | Kind::DataNodes)
    }

    /// As an error of an object store, at a path.
    pub(super) fn at(self, path: &str) -> object_store::Error {
        use object_store::Error as Store;
        let path = path.to_owned();
        match self.kind() {
            Kind::NotFound => Store::NotFound { path, source: self.into() },
            Kind::Exists => Store::AlreadyExists { path, source: self.into() },
            Kind::NotAuthenticated => Store::Unauthenticated { path, source: self.into() },
            Kind::Denied => Store::PermissionDenied { path, source: self.into() },
            Kind::NotSupported => Store::NotSupported { source: self.into() },
            _ => Store::Generic { store: "HDFS", source: self.into() },
        }
    }

    /// As our error, for a file as its table's metadata names it; `None` where storage says the same whatever store it is.
    pub(in crate::storage) fn describe(&self, location: &str) -> Option<Error> {
        let error = match self.kind() {
            Kind::NotFound | Kind::Exists => return None,
            Kind::NotAuthenticated => Error::new(Code::StorageAccessDenied, format!("access to '{location}' needs a ticket: {self}"))
                .with_hint("get one with kinit, or set hdfs.kerberos.principal and hdfs.kerberos.keytab"),
            Kind::Denied => Error::new(Code::StorageAccessDenied, format!("storage refused access to '{location}': {self}"))
                .with_hint("check the owner and mode of the file and its folders, and who we are: hdfs.user, or the ticket"),
            Kind::Unreachable if self.is_safe_mode() => {
                Error::new(Code::StorageUnavailable, format!("storage of '{location}' takes no changes now: {self}"))
                    .with_hint("safe mode ends by itself when enough DataNodes have told of their blocks, unless somebody has entered it: hdfs dfsadmin -safemode get")
                    .with_retry(Retry::Task)
            }
            Kind::Unreachable => Error::new(Code::StorageUnavailable, format!("storage of '{location}' cannot be reached: {self}"))
                .with_hint("see that its NameNode is up and active (one that wants Kerberos hangs up if hadoop.security.authentication is not set), and that its DataNodes are up")
                .with_retry(Retry::Task),
            Kind::DataNodes => Error::new(Code::StorageUnavailable, format!("no DataNode serves '{location}': {self}"))
                .with_hint("see that its DataNodes are up, and can be reached from here")
                .with_retry(Retry::Task),
            Kind::NoSpace => Error::new(Code::IcebergFilesystemError, format!("there is no space left for '{location}': {self}"))
                .with_hint("raise the quota (hdfs dfsadmin -setQuota, -setSpaceQuota), or delete what is not needed below that folder"),
            Kind::NotSupported => Error::new(Code::NotSupported, format!("file '{location}' is of a kind that is not supported: {self}")),
            Kind::Configuration => Error::new(Code::ConfigurationInvalid, format!("storage of '{location}' is not configured: {self}"))
                .with_hint("name a host and port, or say where the name service is: hdfs.config-dir, or dfs.ha.namenodes.NAME and its addresses"),
            Kind::Other => Error::new(Code::IcebergFilesystemError, format!("storage failed at '{location}': {self}")).with_retry(Retry::Task),
        };
        Some(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HDFS at '{}': ", self.server)?;
        match &self.error {
            HdfsError::RPCError(class, message) | HdfsError::FatalRPCError(class, message) => f.write_str(first_line(class, message)),
            HdfsError::AlreadyExists(message) => f.write_str(first_line("", message)),
            HdfsError::GSSAPIError(_, _, message) => f.write_str(message),
            HdfsError::IOError(error) => write!(f, "{error}"),
            other => write!(f, "{other}"),
        }
    }
}

impl std::error::Error for Failure {}

fn of_exception(class: &str, message: &str) -> Kind {
    match class {
        FILE_NOT_FOUND => Kind::NotFound,
        // What a NameNode calls by the same name before it knows who we are.
        ACCESS_CONTROL if message.contains("authentication is not enabled") => Kind::NotAuthenticated,
        ACCESS_CONTROL => Kind::Denied,
        _ if NOT_AUTHENTICATED.contains(&class) => Kind::NotAuthenticated,
        _ if NOT_NOW.contains(&class) => Kind::Unreachable,
        _ if NO_SPACE.contains(&class) => Kind::NoSpace,
        "org.apache.hadoop.hdfs.server.namenode.NotReplicatedYetException" => Kind::DataNodes,
        // "could only be written to 0 of the 1 minReplication nodes": it has no class of its own.
        "java.io.IOException" if message.contains("could only be") => Kind::DataNodes,
        _ => Kind::Other,
    }
}

/// What a message says before Java's stack trace, without the name of its class.
fn first_line<'a>(class: &str, message: &'a str) -> &'a str {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix(class).map_or(line, |rest| rest.trim_start_matches(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: &str, message: &str) -> Failure {
        Failure::new(&Arc::from("nn:1"), HdfsError::RPCError(class.to_owned(), message.to_owned()))
    }

    #[test]
    fn exceptions_have_codes() {
        let denied =
            failure(ACCESS_CONTROL, "org.apache.hadoop.security.AccessControlException: Permission denied: user=bob\n\tat org.apache.hadoop");
        assert_eq!(denied.to_string(), "HDFS at 'nn:1': Permission denied: user=bob");
        let error = denied.at("a/b");
        assert!(matches!(error, object_store::Error::PermissionDenied { .. }));
        let ours = Failure::of(&error).unwrap().describe("hdfs://nn:1/a/b").unwrap();
        assert_eq!(ours.code(), Code::StorageAccessDenied);
        assert!(ours.message().contains("user=bob") && !ours.message().contains("\tat"), "{ours}");
        for (class, message, kind) in [
            (NOT_NOW[4], "", Kind::Unreachable),
            (FILE_NOT_FOUND, "", Kind::NotFound),
            (NO_SPACE[0], "", Kind::NoSpace),
            (ACCESS_CONTROL, "SIMPLE authentication is not enabled.  Available:[TOKEN, KERBEROS]", Kind::NotAuthenticated),
            ("java.io.IOException", "File /a could only be written to 0 of the 1 minReplication nodes.", Kind::DataNodes),
            ("java.io.IOException", "something else", Kind::Other),
        ] {
            assert_eq!(failure(class, message).kind(), kind, "{class}: {message}");
        }
    }

    #[test]
    fn what_passes_is_tried_again() {
        let server = Arc::from("nn:1");
        let refused = Failure::own(&server, io::ErrorKind::ConnectionRefused, "connection refused");
        // Nothing tells which of its servers it was: a DataNode that is gone refuses connections, too.
        assert!(refused.is_transient() && refused.describe("hdfs://nn:1/a").unwrap().user_message().contains("its DataNodes are up"));
        assert!(failure(SAFE_MODE, "").is_transient());
        let shards = Failure::new(&server, HdfsError::ErasureCodingError("Not enough valid shards".to_owned()));
        assert!(shards.is_transient());
        assert_eq!(shards.describe("hdfs://nn:1/a").unwrap().code(), Code::StorageUnavailable);
        let safe = failure(SAFE_MODE, "").describe("hdfs://nn:1/a").unwrap();
        assert!(safe.code() == Code::StorageUnavailable && safe.message().contains("takes no changes now"), "{safe}");
        assert!(!failure(ACCESS_CONTROL, "").is_transient());
        assert!(!Failure::new(&server, HdfsError::NoSASLMechanism).is_transient());
    }
}
