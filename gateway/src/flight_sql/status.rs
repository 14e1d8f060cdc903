//! The one map from nunatak's errors to gRPC's statuses, and the place where a failed statement is logged.

use nunatak_core::Error;
use nunatak_core::error::{Code, Kind};
use nunatak_core::id::QueryId;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code as GrpcCode, Status};

use crate::limits;

/// The metadata key of the error's stable name.
const ERROR_CODE_KEY: &str = "nunatak-error-code";

/// The metadata key of the query's id, in statuses and in answers.
pub(super) const QUERY_ID_KEY: &str = "nunatak-query-id";

/// The gRPC code of an error's code.
fn grpc_code(code: Code) -> GrpcCode {
    match code {
        Code::UserCanceled | Code::AdministrativelyKilled => GrpcCode::Cancelled,
        Code::PermissionDenied => GrpcCode::PermissionDenied,
        Code::NotSupported => GrpcCode::Unimplemented,
        Code::NotFound
        | Code::FunctionNotFound
        | Code::TypeNotFound
        | Code::CatalogNotFound
        | Code::SchemaNotFound
        | Code::TableNotFound
        | Code::ColumnNotFound
        | Code::ProcedureNotFound
        | Code::RoleNotFound => GrpcCode::NotFound,
        Code::AlreadyExists | Code::SchemaAlreadyExists | Code::TableAlreadyExists | Code::ColumnAlreadyExists => GrpcCode::AlreadyExists,
        other => match other.kind() {
            Kind::User => GrpcCode::InvalidArgument,
            Kind::InsufficientResources => GrpcCode::ResourceExhausted,
            Kind::External => GrpcCode::Unavailable,
            Kind::Internal => GrpcCode::Internal,
        },
    }
}

/// The status of an error.
pub(super) fn of(error: &Error, query: Option<&QueryId>) -> Status {
    let mut status = with_code(grpc_code(error.code()), error);
    if let Some(query) = query {
        insert_query_id(status.metadata_mut(), query);
    }
    status
}

fn with_code(grpc_code: GrpcCode, error: &Error) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(ERROR_CODE_KEY, MetadataValue::from_static(error.code().name()));
    Status::with_metadata(grpc_code, shortened(error.to_string()), metadata)
}

/// The status of a statement or listing that failed. This is where it is logged: once, since each failure is turned into a status once.
pub(super) fn failed(error: &Error, user: &str, query: Option<&QueryId>) -> Status {
    let query_text = query.map(QueryId::as_str).unwrap_or_default();
    match error.code().kind() {
        // Users make mistakes: that is no trouble of the server's.
        Kind::User => tracing::info!(user, query = query_text, %error, "statement failed"),
        Kind::InsufficientResources | Kind::External => tracing::warn!(user, query = query_text, ?error, "statement failed"),
        Kind::Internal => tracing::error!(user, query = query_text, ?error, "statement failed"),
    }
    of(error, query)
}

/// A call that does not say who it is from in a way that can be believed.
pub(super) fn unauthenticated(message: &str) -> Status {
    with_code(GrpcCode::Unauthenticated, &Error::new(Code::PermissionDenied, message))
}

/// A handle that is unknown, expired or of somebody else.
pub(super) fn no_such(what: &str, hint: &str) -> Status {
    of(&Error::new(Code::NotFound, format!("{what} is not known, or has expired")).with_hint(hint), None)
}

/// A handle that this cluster has not signed: it is made up, or of a cluster, or a process, that is gone.
pub(super) fn not_ours(what: &str, hint: &str) -> Status {
    of(&Error::new(Code::NotFound, format!("{what} was not given out by this cluster as it is now")).with_hint(hint), None)
}

/// A request that cannot be read.
pub(super) fn malformed(message: impl Into<String>) -> Status {
    of(&Error::new(Code::InvalidArguments, message), None)
}

/// Something of Flight SQL that is not there.
pub(super) fn unsupported(message: impl Into<String>) -> Status {
    of(&Error::not_supported(message), None)
}

/// Arrow could not do what it always can.
pub(super) fn defect(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Status {
    let error = Error::internal(what).with_source(error);
    tracing::error!(?error, "Flight SQL call failed");
    of(&error, None)
}

/// Names the query in an answer's or a status's metadata.
pub(super) fn insert_query_id(metadata: &mut MetadataMap, query: &QueryId) {
    if let Ok(value) = MetadataValue::try_from(query.as_str()) {
        metadata.insert(QUERY_ID_KEY, value);
    }
}

fn shortened(mut message: String) -> String {
    const ELLIPSIS: &str = "...";
    if message.len() > limits::ERROR_MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(limits::ERROR_MESSAGE_BYTES_MAX - ELLIPSIS.len()));
        message.push_str(ELLIPSIS);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_map_by_meaning_then_by_kind() {
        let cases = [
            (Code::SyntaxError, GrpcCode::InvalidArgument),
            (Code::TableNotFound, GrpcCode::NotFound),
            (Code::SchemaAlreadyExists, GrpcCode::AlreadyExists),
            (Code::PermissionDenied, GrpcCode::PermissionDenied),
            (Code::NotSupported, GrpcCode::Unimplemented),
            (Code::UserCanceled, GrpcCode::Cancelled),
            (Code::QueryQueueFull, GrpcCode::ResourceExhausted),
            (Code::IcebergMissingData, GrpcCode::Unavailable),
            (Code::GenericInternalError, GrpcCode::Internal),
        ];
        for (code, wanted) in cases {
            assert_eq!(grpc_code(code), wanted, "{code}");
        }
        for code in Code::ALL {
            assert_eq!(grpc_code(*code) == GrpcCode::NotFound, code.name().ends_with("NOT_FOUND"), "{code}");
            assert_eq!(grpc_code(*code) == GrpcCode::AlreadyExists, code.name().ends_with("ALREADY_EXISTS"), "{code}");
        }
    }

    #[test]
    fn a_status_says_what_the_error_says() {
        let error = Error::new(Code::TableNotFound, "table 'flight' does not exist").with_hint("did you mean 'flights'?");
        let query = QueryId::from("0190".to_owned());
        let status = of(&error, Some(&query));
        assert_eq!(status.message(), "TABLE_NOT_FOUND: table 'flight' does not exist (did you mean 'flights'?)");
        assert_eq!(status.metadata().get(ERROR_CODE_KEY).map(MetadataValue::as_bytes), Some(&b"TABLE_NOT_FOUND"[..]));
        assert_eq!(status.metadata().get(QUERY_ID_KEY).map(MetadataValue::as_bytes), Some(&b"0190"[..]));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let status = of(&Error::internal("ü".repeat(limits::ERROR_MESSAGE_BYTES_MAX)), None);
        assert!(status.message().len() <= limits::ERROR_MESSAGE_BYTES_MAX);
        assert!(status.message().ends_with("ü..."));
    }
}
