//! Brings what became of tasks to the coordinators that asked for them, and tries again when one cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{TaskStatus, UpdateTaskStatusParams};
use dashmap::DashMap;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tonic::transport::{Channel, Endpoint};
use tracing::{error, warn};

use crate::abandoned::address_of;

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// After so many attempts (a minute) nobody waits for it any more.
const ATTEMPTS_MAX: usize = 36;
/// The largest message; plans and outcomes of many partitions are larger than gRPC's default.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 30;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// The outcomes on their way, a queue for each coordinator.
pub(crate) struct Deliveries {
    executor_id: String,
    queues: DashMap<String, Queue>,
}

struct Queue {
    sender: UnboundedSender<TaskStatus>,
    waiting: Arc<AtomicUsize>,
    /// What empties it, if the coordinator has an address.
    work: Option<AbortHandle>,
}

impl Deliveries {
    pub(crate) fn new(executor_id: &str) -> Self {
        Self { executor_id: executor_id.to_owned(), queues: DashMap::new() }
    }

    /// Sends an outcome to a coordinator.
    pub(crate) fn send(&self, coordinator: &str, status: TaskStatus) {
        let queue = self.queues.entry(coordinator.to_owned()).or_insert_with(|| self.start(coordinator));
        queue.waiting.fetch_add(1, Ordering::AcqRel);
        // The queue's other end lives as long as the runtime.
        if queue.sender.send(status).is_err() {
            queue.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Gives up what is on its way to a coordinator that is gone.
    pub(crate) fn forget(&self, coordinator: &str) {
        if let Some((_, Queue { work: Some(work), .. })) = self.queues.remove(coordinator) {
            work.abort();
        }
    }

    /// Whether everything has arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.waiting.load(Ordering::Acquire) == 0)
    }

    fn start(&self, coordinator: &str) -> Queue {
        let (sender, receiver) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let work = match client(address_of(coordinator)) {
            Ok(client) => Some(tokio::spawn(deliver(client, self.executor_id.clone(), receiver, Arc::clone(&waiting))).abort_handle()),
            Err(error) => {
                error!(coordinator, %error, "not the address of a coordinator");
                None
            }
        };
        Queue { sender, waiting, work }
    }
}

/// A client of the coordinator at `host:port`, which connects when it is used.
pub(crate) fn client(coordinator: &str) -> Result<SchedulerGrpcClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{coordinator}"))?.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT).tcp_nodelay(true);
    let client = SchedulerGrpcClient::new(endpoint.connect_lazy());
    Ok(client.max_encoding_message_size(MESSAGE_BYTES_MAX).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

async fn deliver(mut client: SchedulerGrpcClient<Channel>, executor_id: String, mut queue: UnboundedReceiver<TaskStatus>, waiting: Arc<AtomicUsize>) {
    while let Some(first) = queue.recv().await {
        let mut task_status = vec![first];
        while let Ok(next) = queue.try_recv() {
            task_status.push(next);
        }
        let count = task_status.len();
        let update = UpdateTaskStatusParams { executor_id: executor_id.clone(), task_status };
        let mut pause = PAUSE_MIN;
        for attempt in 1..=ATTEMPTS_MAX {
            match client.update_task_status(update.clone()).await {
                Ok(_) => break,
                Err(status) if attempt == ATTEMPTS_MAX => error!(%status, count, "what became of tasks could not be told"),
                Err(status) => {
                    warn!(%status, count, attempt, "what became of tasks cannot be told yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        waiting.fetch_sub(count, Ordering::AcqRel);
    }
}
