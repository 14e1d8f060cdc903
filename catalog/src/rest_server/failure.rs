//! Errors as the protocol has them: a status and the name of Java's exception, by which clients know what to do.

use std::fmt::Display;

use nunatak_core::error::Kind;
use nunatak_core::{Code, Error, Retry};

use crate::table::TableName;

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The status of HTTP.
    pub status: u16,
    /// The name of Java's exception, such as `NoSuchTableException`.
    pub kind: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Failure {
    /// A failure by its parts.
    pub fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    /// A request that has no meaning.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequestException", message)
    }

    /// A request of somebody who has not said who they are.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(401, "NotAuthorizedException", message)
    }

    /// Something that may not be done.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, "ForbiddenException", message)
    }

    /// Something of the protocol that is not there.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(406, "UnsupportedOperationException", message)
    }

    pub(super) fn no_such_namespace(name: &str) -> Self {
        Self::new(404, "NoSuchNamespaceException", format!("Namespace does not exist: {name}"))
    }

    pub(super) fn no_such_table(name: &TableName) -> Self {
        Self::new(404, "NoSuchTableException", format!("Table does not exist: {name}"))
    }

    pub(super) fn no_such_view(name: &TableName) -> Self {
        Self::new(404, "NoSuchViewException", format!("View does not exist: {name}"))
    }

    pub(super) fn exists(what: &str, name: &TableName) -> Self {
        Self::new(409, "AlreadyExistsException", format!("{what} already exists: {name}"))
    }

    /// Another writer was faster, or has changed what the commit builds on: the client may make it anew.
    pub(super) fn commit_failed(why: impl Display) -> Self {
        Self::new(409, "CommitFailedException", why.to_string())
    }

    /// A commit that may or may not have happened.
    pub(super) fn commit_unknown(error: &Error) -> Self {
        tracing::warn!(?error, "the outcome of a commit of a client of the REST catalog is not known");
        Self::new(500, "CommitStateUnknownException", error.to_string())
    }

    /// A change that did not happen and will not: statuses from which clients conclude that it may have are kept from it, and those upon which they send it again
    /// where that cannot help.
    pub(super) fn not_committed(error: Error) -> Self {
        let unknown = error.code() == Code::CommitStateUnknown;
        let is_for_good = error.retry() == Retry::Never
            && matches!(
                error.code(),
                // A place that is none, a bucket that is not there, a file that is not there or is no metadata: what the client has named.
                Code::IcebergFilesystemError | Code::StorageUnavailable | Code::IcebergMissingData | Code::IcebergInvalidMetadata
            );
        match Self::from(error) {
            failure if is_for_good => Self::bad_request(failure.message),
            failure if failure.status == 500 && !unknown => Self::new(503, "ServiceUnavailableException", failure.message),
            failure => failure,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, kind) = match error.code() {
            Code::SchemaNotFound => (404, "NoSuchNamespaceException"),
            Code::TableNotFound => (404, "NoSuchTableException"),
            Code::CatalogNotFound => (404, "NoSuchWarehouseException"),
            Code::SchemaAlreadyExists | Code::TableAlreadyExists | Code::AlreadyExists => (409, "AlreadyExistsException"),
            Code::SchemaNotEmpty => (409, "NamespaceNotEmptyException"),
            Code::TransactionConflict => (409, "CommitFailedException"),
            Code::NotSupported => (406, "UnsupportedOperationException"),
            Code::PermissionDenied | Code::StorageAccessDenied | Code::CatalogAccessDenied => (403, "ForbiddenException"),
            Code::CommitStateUnknown => (500, "CommitStateUnknownException"),
            Code::CatalogUnavailable | Code::StorageUnavailable => (503, "ServiceUnavailableException"),
            // What the client wants does not fit the table.
            Code::IcebergCommitError => (400, "BadRequestException"),
            code => match code.kind() {
                Kind::User => (400, "BadRequestException"),
                Kind::InsufficientResources => (503, "ServiceUnavailableException"),
                Kind::External | Kind::Internal => (500, "InternalServerErrorException"),
            },
        };
        match error.code().kind() {
            Kind::User => tracing::info!(%error, "a request of the REST catalog failed"),
            Kind::InsufficientResources | Kind::External => tracing::warn!(?error, "a request of the REST catalog failed"),
            Kind::Internal => tracing::error!(?error, "a request of the REST catalog failed"),
        }
        Self::new(status, kind, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_statuses_that_clients_know() {
        for (code, status, kind) in [
            (Code::TableNotFound, 404, "NoSuchTableException"),
            (Code::SchemaNotFound, 404, "NoSuchNamespaceException"),
            (Code::TableAlreadyExists, 409, "AlreadyExistsException"),
            (Code::TransactionConflict, 409, "CommitFailedException"),
            (Code::NotSupported, 406, "UnsupportedOperationException"),
            (Code::StorageUnavailable, 503, "ServiceUnavailableException"),
            (Code::StorageAccessDenied, 403, "ForbiddenException"),
            (Code::InvalidTableProperty, 400, "BadRequestException"),
            (Code::GenericInternalError, 500, "InternalServerErrorException"),
        ] {
            let failure = Failure::from(Error::new(code, "x"));
            assert_eq!((failure.status, failure.kind), (status, kind), "{code}");
        }
    }

    #[test]
    fn only_commits_that_may_have_happened_say_so() {
        let status = |code| Failure::not_committed(Error::new(code, "x").with_retry(Retry::Task)).status;
        assert_eq!((status(Code::IcebergFilesystemError), status(Code::CommitStateUnknown), status(Code::IcebergCommitError)), (503, 500, 400));
        let for_good = |code| Failure::not_committed(Error::new(code, "x")).status;
        assert_eq!((for_good(Code::IcebergFilesystemError), for_good(Code::GenericInternalError)), (400, 503));
    }
}
