//! `/v1/spooled`: gives out segments, and deletes those that their clients have. Whoever has the address may do both: it has a signature in it.

use std::time::SystemTime;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use nunatak_coordinator::query::{FileContent, SegmentName};
use nunatak_core::{Error, Retry};

use super::super::plain;
use super::Spooling;

impl Spooling {
    /// The segment that a token stands for, if it was given out by this cluster.
    pub(in crate::http::trino) fn open(&self, token: &str) -> Option<SegmentName> {
        self.tokens.open(token)
    }

    /// Gives a segment out.
    pub(in crate::http::trino) async fn download(&self, name: &SegmentName) -> Response {
        if name.until() < SystemTime::now() {
            return not_there();
        }
        match self.spool.read(name).await {
            Ok(Some(FileContent { bytes, content })) => {
                let mut response = Response::new(Body::from_stream(content));
                let headers = response.headers_mut();
                headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
                response
            }
            Ok(None) => not_there(),
            Err(error) => failed(&error, name, "a segment cannot be read"),
        }
    }

    /// Deletes a segment. One that is gone is no error: the answer to the request before may have been lost.
    pub(in crate::http::trino) async fn acknowledge(&self, name: &SegmentName) -> Response {
        match self.spool.delete(std::slice::from_ref(name)).await {
            Ok(()) => StatusCode::OK.into_response(),
            Err(error) => failed(&error, name, "a segment that its client has cannot be deleted"),
        }
    }
}

fn not_there() -> Response {
    plain(StatusCode::NOT_FOUND, "Error 404 Not Found: Segment not found or expired")
}

/// Clients ask again where they are told that it may help.
fn failed(error: &Error, name: &SegmentName, what: &str) -> Response {
    tracing::warn!(segment = %name, ?error, "{what}");
    match error.retry() {
        Retry::Never => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("Error 500 Internal Server Error: {what}: {error}")),
        _ => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("Error 503 Service Unavailable: {what}: {error}")),
    }
}
