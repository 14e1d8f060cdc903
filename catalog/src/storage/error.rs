//! How failures of storage become our error: by variant, in this one place.

use std::io;

use nunatak_core::{Code, Error, Retry};

/// Our error for a failure of an object store; `location` is the file as its table's metadata names it.
pub fn from_object_store(error: object_store::Error, location: &str) -> Error {
    use object_store::Error as Store;
    match &error {
        Store::NotFound { .. } => missing(location),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => denied(location),
        Store::AlreadyExists { .. } | Store::Precondition { .. } => {
            Error::new(Code::IcebergFilesystemError, format!("file '{location}' exists already"))
        }
        Store::NotSupported { .. } | Store::NotImplemented { .. } => {
            Error::new(Code::NotSupported, format!("the store of '{location}' does not support this operation"))
        }
        Store::InvalidPath { .. } => Error::new(Code::IcebergFilesystemError, format!("storage cannot hold a path such as '{location}'")),
        other => match io_kind(other) {
            Some(kind) => by_io_kind(kind, location),
            None => failed(location),
        },
    }
    .with_source(error)
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

fn failed(location: &str) -> Error {
    Error::new(Code::IcebergFilesystemError, format!("storage failed at '{location}'")).with_retry(Retry::Task)
}
