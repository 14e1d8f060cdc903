//! Errors in Trino's shape. Names, numbers and kinds of the codes are Trino's already.

use nunatak_core::error::Kind;
use nunatak_core::id::QueryId;
use nunatak_core::{Error, Location};
use serde::Serialize;

/// Java's class of what clients are shown as the failure.
const EXCEPTION: &str = "io.trino.spi.TrinoException";

/// The error of a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryError {
    message: String,
    error_code: u32,
    error_name: &'static str,
    error_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_location: Option<ErrorLocation>,
    failure_info: FailureInfo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorLocation {
    line_number: u64,
    column_number: u64,
}

/// The failure as Java has it; it has no stack here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureInfo {
    #[serde(rename = "type")]
    class: &'static str,
    message: String,
    suppressed: [(); 0],
    stack: [(); 0],
    error_info: ErrorInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_location: Option<ErrorLocation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct ErrorInfo {
    code: u32,
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl QueryError {
    pub(super) fn new(error: &Error) -> Self {
        let code = error.code();
        let location = error.location().map(|Location { line, column }| ErrorLocation { line_number: line, column_number: column });
        let (message, number, name, kind) = (error.user_message(), code.number(), code.name(), code.kind().name());
        Self {
            message: message.clone(),
            error_code: number,
            error_name: name,
            error_type: kind,
            error_location: location,
            failure_info: FailureInfo {
                class: EXCEPTION,
                message,
                suppressed: [],
                stack: [],
                error_info: ErrorInfo { code: number, name, kind },
                error_location: location,
            },
        }
    }
}

/// Logs the failure of a statement: once, where it is turned into an answer.
pub(super) fn log(error: &Error, user: &str, query: Option<&QueryId>) {
    let query = query.map(QueryId::as_str).unwrap_or_default();
    match error.code().kind() {
        // Users make mistakes: that is no trouble of the server's.
        Kind::User => tracing::info!(user, query, %error, "statement failed"),
        Kind::InsufficientResources | Kind::External => tracing::warn!(user, query, ?error, "statement failed"),
        Kind::Internal => tracing::error!(user, query, ?error, "statement failed"),
    }
}

#[cfg(test)]
mod tests {
    use nunatak_core::Code;

    use super::*;

    #[test]
    fn errors_have_the_shape_of_trinos() {
        let error = Error::new(Code::ColumnNotFound, "column 'nope' does not exist").at(Location { line: 1, column: 8 });
        let wanted = concat!(
            r#"{"message":"line 1:8: column 'nope' does not exist","errorCode":47,"errorName":"COLUMN_NOT_FOUND","errorType":"USER_ERROR","#,
            r#""errorLocation":{"lineNumber":1,"columnNumber":8},"failureInfo":{"type":"io.trino.spi.TrinoException","#,
            r#""message":"line 1:8: column 'nope' does not exist","suppressed":[],"stack":[],"#,
            r#""errorInfo":{"code":47,"name":"COLUMN_NOT_FOUND","type":"USER_ERROR"},"errorLocation":{"lineNumber":1,"columnNumber":8}}}"#
        );
        assert_eq!(serde_json::to_string(&QueryError::new(&error)).unwrap(), wanted);
    }
}
