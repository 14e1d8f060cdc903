//! How failures of storage become our error: by variant, in this one place.

use std::io;

use nunatak_core::{Code, Error, Result, Retry};
use object_store::client::HttpError;

use super::hdfs::HdfsFailure;

/// Our error for a failure of an object store; `location` is the file as its table's metadata names it.
pub fn from_object_store(error: object_store::Error, location: &str) -> Error {
    describe(&error, location).with_source(error)
}

/// The same for an error that is still needed.
pub fn describe(error: &object_store::Error, location: &str) -> Error {
    use object_store::Error as Store;
    if let Some(described) = HdfsFailure::of(error).and_then(|failure| failure.describe(location)) {
        return described;
    }
    if let Store::Unauthenticated { source, .. } = error
        && let Some(ours) = source.downcast_ref::<Error>()
    {
        return without_credentials(ours, location);
    }
    match error {
        Store::NotFound { .. } | Store::Generic { .. } if missing_store(error).is_some() => {
            let what = missing_store(error).unwrap_or_default();
            Error::new(Code::StorageUnavailable, format!("the {what} of '{location}' does not exist")).with_hint("make it, or correct the location")
        }
        Store::NotFound { .. } => missing(location),
        Store::Generic { .. } if has_status(error, &["401", "403"]) => denied(location),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => denied(location),
        Store::AlreadyExists { .. } | Store::Precondition { .. } => {
            Error::new(Code::IcebergFilesystemError, format!("file '{location}' exists already"))
        }
        Store::NotSupported { .. } | Store::NotImplemented { .. } => {
            Error::new(Code::NotSupported, format!("the store of '{location}' does not support this operation"))
        }
        Store::InvalidPath { .. } => Error::new(Code::IcebergFilesystemError, format!("storage cannot hold a path such as '{location}'")),
        other if is_unreachable(other) => match request(other) {
            Some(request) => unreachable(location).with_context("request", request),
            None => unreachable(location),
        },
        other => match io_kind(other) {
            Some(kind) => by_io_kind(kind, location),
            None => failed(location),
        },
    }
}

/// What an object store gave, `None` where there is no such file.
pub fn if_there<T>(found: object_store::Result<T>, location: &str) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(from_object_store(error, location)),
    }
}

/// Our error for a failure of the local file system.
pub fn from_io(error: io::Error, location: &str) -> Error {
    by_io_kind(error.kind(), location).with_source(error)
}

fn by_io_kind(kind: io::ErrorKind, location: &str) -> Error {
    match kind {
        io::ErrorKind::NotFound => missing(location),
        io::ErrorKind::PermissionDenied => denied(location),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(Code::IcebergFilesystemError, format!("there is no space left for '{location}'"))
        }
        _ => failed(location),
    }
}

/// What a server calls that of its parts which is not there, if it is not only a file.
fn missing_store(error: &object_store::Error) -> Option<&'static str> {
    let text = error.to_string();
    [("NoSuchBucket", "bucket"), ("ContainerNotFound", "container")].into_iter().find_map(|(code, what)| text.contains(code).then_some(what))
}

/// Whether a server could not be reached, or told that it cannot answer now.
fn is_unreachable(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<HttpError>() {
            return true;
        }
        cause = error.source();
    }
    has_status(error, &["429", "5"])
}

/// Whether a server has answered with a status that begins like one of these. Its type is not known outside of the crate.
fn has_status(error: &object_store::Error, statuses: &[&str]) -> bool {
    let text = error.to_string();
    statuses.iter().any(|status| text.contains(&format!("status code: {status}")))
}

/// What was asked of which server, as `GET http://127.0.0.1:9000/bucket/key`: it is nowhere but in the text. What follows the path can be secret.
fn request(error: &object_store::Error) -> Option<String> {
    let text = error.to_string();
    let (_, request) = text.split_once("Error performing ")?;
    let (request, _) = request.split_once(" in ")?;
    Some(request.split('?').next().unwrap_or_default().to_owned()).filter(|request| request.contains("://"))
}

/// The local store hides the reason of most failures one or two levels down.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        source = cause.source();
    }
    None
}

fn missing(location: &str) -> Error {
    Error::new(Code::IcebergMissingData, format!("file '{location}' does not exist"))
        .with_hint("someone deleted or moved it; restore it, or read the table at a snapshot that does not need it")
}

fn denied(location: &str) -> Error {
    Error::new(Code::StorageAccessDenied, format!("storage refused access to '{location}'"))
        .with_hint("check the owner and mode of the file and its folders, or the credentials of the store")
}

/// Whoever gives the credentials has not.
fn without_credentials(why: &Error, location: &str) -> Error {
    let error = Error::new(why.code(), format!("there are no credentials for '{location}': {}", why.message())).with_retry(why.retry());
    match why.hint() {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

fn unreachable(location: &str) -> Error {
    Error::new(Code::StorageUnavailable, format!("storage of '{location}' cannot be reached"))
        .with_hint("see that its server is up, and its endpoint right")
        .with_retry(Retry::Task)
}

fn failed(location: &str) -> Error {
    Error::new(Code::IcebergFilesystemError, format!("storage failed at '{location}'")).with_retry(Retry::Task)
}
