//! How failures of storage become our error: by variant, in this one place.

use std::io;

use nunatak_core::config::without_password;
use nunatak_core::{Code, Error, Result, Retry};
use object_store::client::HttpError;

use super::hdfs::HdfsFailure;
use super::refusal::Refusal;
use super::s3_answers::NotOfS3;

/// How much is shown of what a failure comes from, in characters.
const ROOT_CHARS_MAX: usize = 300;

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
    if let Some(ours) = unsigned(error) {
        return without_credentials(ours, location);
    }
    let answer = Refusal::of(error);
    let from_server = |ours: Error| match request(error) {
        Some(request) => ours.with_context("request", request),
        None => ours,
    };
    if let Some(alien) = cause_of::<NotOfS3>(error) {
        let what = format!("storage of '{location}' cannot be reached: {alien}");
        let hint = "see that s3.endpoint is the address of S3, and not of a console or a proxy";
        return from_server(Error::new(Code::StorageUnavailable, what).with_hint(hint));
    }
    if let Some(described) = answer.as_ref().and_then(|answer| answer.describe(location)) {
        return from_server(described);
    }
    match error {
        Store::NotFound { .. } | Store::Generic { .. } if missing_store(error).is_some() => {
            let what = missing_store(error).unwrap_or_default();
            Error::new(Code::StorageUnavailable, format!("the {what} of '{location}' does not exist")).with_hint("make it, or correct the location")
        }
        Store::NotFound { .. } => missing(location),
        Store::Generic { .. } if has_status(error, &["401", "403"]) => from_server(denied(location)),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => from_server(denied(location)),
        Store::AlreadyExists { .. } | Store::Precondition { .. } => {
            Error::new(Code::IcebergFilesystemError, format!("file '{location}' exists already"))
        }
        Store::InvalidPath { .. } => Error::new(Code::IcebergFilesystemError, format!("storage cannot hold a path such as '{location}'")),
        other if is_not_implemented(other) => Error::new(Code::NotSupported, format!("the store of '{location}' does not support this operation")),
        other if is_unreachable(other) => {
            let why = answer.map_or_else(|| root(other), |answer| answer.to_string());
            from_server(unreachable(location, &why))
        }
        other => match (of_system(other), answer) {
            (_, Some(answer)) => from_server(failed(location, &answer.to_string())),
            (Some(error), None) => by_io_error(error, location),
            (None, None) => from_server(failed(location, &root(other))),
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

/// Our error for a failure of the local file system, or of a store's within what `AsyncWrite` gives: that one says more than its kind.
pub fn from_io(error: io::Error, location: &str) -> Error {
    let of_store = error.get_ref().and_then(|inner| inner.downcast_ref::<object_store::Error>()).map(|inner| describe(inner, location));
    of_store.unwrap_or_else(|| by_io_error(&error, location)).with_source(error)
}

fn by_io_error(error: &io::Error, location: &str) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => missing(location),
        io::ErrorKind::PermissionDenied => denied(location),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(Code::IcebergFilesystemError, format!("there is no space left for '{location}'"))
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Error::new(Code::StorageAccessDenied, format!("storage refused access to '{location}': its file system is mounted for reading only"))
                .with_hint("mount it for writing; one that has failed is often mounted so by the system")
        }
        // Also one that is too long.
        io::ErrorKind::InvalidFilename => {
            Error::new(Code::IcebergFilesystemError, format!("storage cannot hold a path such as '{location}': {}", root(error)))
        }
        _ => failed(location, &root(error)),
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

/// Whether a store says that it does not know an operation.
pub(super) fn is_not_implemented(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) || has_status(error, &["501"])
}

/// Whether a server has answered with a status that begins like one of these. Its type is not known outside of the crate.
fn has_status(error: &object_store::Error, statuses: &[&str]) -> bool {
    let text = error.to_string();
    statuses.iter().any(|status| text.contains(&format!("status code: {status}")))
}

/// What an error comes from, if it is of that type.
fn cause_of<T: std::error::Error + 'static>(error: &object_store::Error) -> Option<&T> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// What an error comes from in the end, in its words.
pub(crate) fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    let text: String = root.to_string().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(ROOT_CHARS_MAX).collect();
    without_password(&text).into_owned()
}

/// Why a request was not sent because nobody has signed it.
fn unsigned(error: &object_store::Error) -> Option<&Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let source = error.source();
        if error.is::<HttpError>() {
            return source.and_then(|source| source.downcast_ref::<Error>());
        }
        cause = source;
    }
    None
}

/// What was asked of which server, as `GET http://127.0.0.1:9000/bucket/key`: it is nowhere but in the text. What follows the path can be secret.
fn request(error: &object_store::Error) -> Option<String> {
    let text = error.to_string();
    // That of a listing is within another one that says the same of it.
    let (_, request) = text.rsplit_once("Error performing ")?;
    let (request, _) = request.split_once(" in ")?;
    let request = without_password(request.split('?').next().unwrap_or_default());
    Some(request.into_owned()).filter(|request| request.contains("://"))
}

/// The local store hides the reason of most failures one or two levels down.
fn of_system<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return Some(error);
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

/// `why` is what it has said, if it is there after all.
fn unreachable(location: &str, why: &str) -> Error {
    Error::new(Code::StorageUnavailable, format!("storage of '{location}' cannot be reached: {why}"))
        .with_hint("see that its server is up, and its endpoint right")
        .with_retry(Retry::Task)
}

fn failed(location: &str, why: &str) -> Error {
    Error::new(Code::IcebergFilesystemError, format!("storage failed at '{location}': {why}")).with_retry(Retry::Task)
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpErrorKind;

    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn what_a_writer_gives_is_that_of_its_store() {
        let denied = object_store::Error::PermissionDenied { path: "x".to_owned(), source: "no".into() };
        assert_eq!(from_io(denied.into(), "s3://lake/x").code(), Code::StorageAccessDenied);
        let missing = object_store::Error::NotFound { path: "x".to_owned(), source: "status code: 404 Not Found: <Code>NoSuchBucket</Code>".into() };
        assert_eq!(from_io(missing.into(), "s3://lake/x").code(), Code::StorageUnavailable);
        assert_eq!(from_io(io::ErrorKind::PermissionDenied.into(), "/x").code(), Code::StorageAccessDenied);
    }

    #[test]
    fn what_the_system_says_is_told() {
        // A commit that meets it has certainly not happened.
        let read_only = from_io(io::ErrorKind::ReadOnlyFilesystem.into(), "/x");
        assert_eq!((read_only.code(), read_only.retry()), (Code::StorageAccessDenied, Retry::Never));
        let broken = io::Error::other("the disk is on fire");
        let source = object_store::Error::Generic { store: "LocalFileSystem", source: broken.into() };
        assert_eq!(describe(&source, "/x").message(), "storage failed at '/x': the disk is on fire");
    }

    #[test]
    fn a_failure_says_where_and_why() {
        let text =
            "Error performing list request: Error performing GET http://key:s3cr3t@h:1/lake?prefix=x in 2ms - Server returned non-2xx status code: ";
        let denied = describe(&generic(&format!("{text}403 Forbidden: <Error><Code>AccessDenied</Code></Error>")), "s3://lake/x");
        let wanted = "STORAGE_ACCESS_DENIED: storage refused access to 's3://lake/x': AccessDenied, request: GET http://key:***@h:1/lake";
        assert!(denied.to_string().starts_with(wanted), "{denied}");
        let slow = describe(&generic(&format!("{text}503 Slow Down: <Error><Code>SlowDown</Code></Error>")), "s3://lake/x");
        assert!(slow.to_string().starts_with("STORAGE_UNAVAILABLE: storage of 's3://lake/x' cannot be reached: SlowDown, request: "), "{slow}");
        let refused = HttpError::new(HttpErrorKind::Connect, io::Error::from(io::ErrorKind::ConnectionRefused));
        let away = describe(&object_store::Error::Generic { store: "S3", source: refused.into() }, "s3://lake/x");
        assert_eq!(away.message(), "storage of 's3://lake/x' cannot be reached: connection refused");
        let odd = describe(&generic("no such thing"), "s3://lake/x");
        assert_eq!((odd.code(), odd.message()), (Code::IcebergFilesystemError, "storage failed at 's3://lake/x': no such thing"));
    }
}
