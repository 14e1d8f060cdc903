//! The one door through which errors of the `iceberg` crate become ours.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;
use iceberg::ErrorKind;
use nunatak_core::{Code, Error, Result};

/// Our error for a failure of the iceberg crate. `code` holds when its kind says nothing better; `what` names what was being done, to which thing.
pub(crate) fn from_iceberg(error: iceberg::Error, code: Code, what: impl Display) -> Error {
    if let Some(ours) = carried(&error) {
        return ours;
    }
    let code = match error.kind() {
        ErrorKind::FeatureUnsupported => Code::NotSupported,
        _ => code,
    };
    Error::new(code, format!("{what}: {}", sentence(error.message()))).with_source(error)
}

/// An error of ours that went through the crate (our storage fails inside its readers and writers): it says more than what was wrapped around it.
fn carried(error: &iceberg::Error) -> Option<Error> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(ours) = cause.downcast_ref::<Error>() {
            return Some(copy(ours));
        }
        source = cause.source();
    }
    None
}

/// The same error a second time, for those who only hold a reference. Its source stays behind.
pub(crate) fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.code(), error.message()).with_retry(error.retry());
    if let Some(hint) = error.hint() {
        copy = copy.with_hint(hint);
    }
    for (key, value) in error.context() {
        copy = copy.with_context(key, value);
    }
    copy
}

/// A message of the crate in our manner: lower case at its start, no full stop.
fn sentence(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut letters = message.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::from("no reason given"),
    }
}

/// Reads metadata by libraries that stop with a panic at some damages (apache-avro 0.21 does). `what` names the file.
///
/// Errors: those of `read`, and `ICEBERG_INVALID_METADATA` for a panic.
pub(crate) fn guarded<T>(what: impl Display, read: impl FnOnce() -> Result<T>) -> Result<T> {
    // Nothing that was changed half outlives the panic: what is read is made anew.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(stopped(&what, panic.as_ref())))
}

/// The same for what reads its file piece by piece.
pub(crate) async fn guarded_async<T>(what: impl Display, read: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(read).catch_unwind().await.unwrap_or_else(|panic| Err(stopped(&what, panic.as_ref())))
}

fn stopped(what: &dyn Display, panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::new(Code::IcebergInvalidMetadata, format!("cannot read {what}: it is damaged: {}", text.unwrap_or("no reason given")))
}
