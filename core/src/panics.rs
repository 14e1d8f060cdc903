//! Panics as errors, at the doors of the server: a defect, of ours or of a library's, ends what has met it and is told to whoever has asked, and nothing else ends with it.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::{Error, Result};

/// What a computation gives. It must not be gone on with after an error.
///
/// Errors: `GENERIC_INTERNAL_ERROR` if it stops with a panic.
pub fn caught<T>(compute: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(compute)).map_err(|panic| stopped(panic.as_ref()))
}

/// What a future gives.
///
/// Errors: `GENERIC_INTERNAL_ERROR` if it stops with a panic.
pub async fn caught_async<F: Future>(future: F) -> Result<F::Output> {
    let mut future = pin!(future);
    let caught = poll_fn(|context| match caught(|| future.as_mut().poll(context)) {
        Ok(polled) => polled.map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    });
    caught.await
}

fn stopped(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::internal(format!("the server has met a defect: {}", text.unwrap_or("no reason given")))
        .with_hint("the server goes on; please report it with what its log says at this time")
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::Code;

    #[test]
    fn a_panic_is_an_error() {
        let poll = |number: usize| pin!(caught_async(async { [1, 2].to_vec()[number] })).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll(1), Poll::Ready(Ok(2))));
        let Poll::Ready(Err(error)) = poll(2) else { panic!("it has not stopped") };
        assert!(error.code() == Code::GenericInternalError && error.message().contains("the len is 2 but the index is 2"), "{error}");
    }
}
