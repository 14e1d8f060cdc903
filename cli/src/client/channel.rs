//! The channel with what makes a session of single calls: the server's cookies are sent back, and a header names the first catalog.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use tonic::codegen::http::{Request, Response};
use tonic::transport::{Channel, Error};

const CATALOG: HeaderName = HeaderName::from_static("catalog");

/// A channel with session state that clones share.
#[derive(Clone)]
pub(super) struct SessionChannel {
    inner: Channel,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    cookies: BTreeMap<String, String>,
    catalog: Option<HeaderValue>,
}

impl SessionChannel {
    pub(super) fn new(inner: Channel) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// Sends the catalog with each call, until [`Self::clear_catalog`].
    pub(super) fn set_catalog(&self, catalog: &str) -> Result<(), ()> {
        self.state().catalog = Some(HeaderValue::from_str(catalog).map_err(|_| ())?);
        Ok(())
    }

    pub(super) fn clear_catalog(&self) {
        self.state().catalog = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts cookies and catalog into a request's headers.
    fn send(&self, headers: &mut HeaderMap) {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        if let (false, Ok(cookies)) = (cookies.is_empty(), HeaderValue::from_str(&cookies)) {
            headers.insert(COOKIE, cookies);
        }
        if let Some(catalog) = &self.catalog {
            headers.insert(CATALOG, catalog.clone());
        }
    }

    /// Takes over what `set-cookie` says; there is one server, so domain and path do not matter.
    fn receive(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = cookie.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            if parts.any(|attribute| attribute.eq_ignore_ascii_case("max-age=0")) {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Service<Request<Body>> for SessionChannel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.state().send(request.headers_mut());
        let answer = self.inner.call(request);
        let channel = self.state.clone();
        Box::pin(async move {
            let response = answer.await?;
            channel.lock().unwrap_or_else(PoisonError::into_inner).receive(response.headers());
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_kept_and_sent_back() {
        let mut state = State::default();
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("nunatak_session=abc; Path=/; HttpOnly"));
        headers.append(SET_COOKIE, HeaderValue::from_static("other=1"));
        state.receive(&headers);
        state.catalog = Some(HeaderValue::from_static("lake"));

        let mut sent = HeaderMap::new();
        state.send(&mut sent);
        assert_eq!(sent.get(COOKIE), Some(&HeaderValue::from_static("nunatak_session=abc; other=1")));
        assert_eq!(sent.get(CATALOG), Some(&HeaderValue::from_static("lake")));

        let mut gone = HeaderMap::new();
        gone.append(SET_COOKIE, HeaderValue::from_static("other=; Max-Age=0"));
        state.receive(&gone);
        assert_eq!(state.cookies.len(), 1);
    }
}
