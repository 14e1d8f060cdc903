//! Long computations within asynchronous code. Planning a statement may take seconds, and a thread of tokio that plans polls nothing else meanwhile: on a machine with few
//! cores, heartbeats, other queries and signals would wait for it. So the thread says what it is about to do, and another one takes its place.

use std::future::{Future, poll_fn};
use std::pin::pin;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::{block_in_place, yield_now};

/// Computes what may take long.
pub fn computing<R>(compute: impl FnOnce() -> R) -> R {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(compute),
        // There is no other thread that could go on.
        _ => compute(),
    }
}

/// Polls a future each of whose steps may take long. Whoever has lost interest in it may drop it before and between them.
pub async fn in_steps<F: Future>(future: F) -> F::Output {
    yield_now().await;
    let mut future = pin!(future);
    poll_fn(|context| computing(|| future.as_mut().poll(context))).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// The only thread computes, and what it waits for is done all the same.
    #[test]
    fn others_go_on_meanwhile() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (begun, has_begun) = mpsc::channel();
        let (sender, receiver) = mpsc::channel();
        let waits = runtime.spawn(in_steps(async move {
            begun.send(()).unwrap();
            receiver.recv_timeout(Duration::from_secs(30))
        }));
        has_begun.recv().unwrap();
        runtime.spawn(async move { sender.send("done").unwrap() });
        assert_eq!(runtime.block_on(waits).unwrap(), Ok("done"));
    }

    #[tokio::test]
    async fn one_thread_is_enough() {
        assert_eq!(in_steps(async { computing(|| 1) + 1 }).await, 2);
    }
}
