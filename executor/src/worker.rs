//! The tasks of pipelined queries: the `Worker` of datafusion-distributed, with sessions like those of the coordinator.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion_distributed::{DistributedExt, Worker, WorkerQueryContext, WorkerSessionBuilder};
use nunatak_engine::codec::Codec;
use nunatak_engine::context::EngineContext;

use crate::peers::Peers;

/// The service. Its tasks share the memory and the caches of `engine`.
pub(crate) fn build(engine: &Arc<EngineContext>, codec: Codec) -> Worker {
    let sessions = Sessions { engine: Arc::clone(engine), codec: Arc::new(codec), peers: Peers::default() };
    Worker::from_session_builder(sessions).with_runtime_env(Arc::clone(engine.base().runtime_env())).with_version(env!("CARGO_PKG_VERSION"))
}

struct Sessions {
    engine: Arc<EngineContext>,
    codec: Arc<Codec>,
    peers: Peers,
}

#[async_trait]
impl WorkerSessionBuilder for Sessions {
    async fn build_session_state(&self, context: WorkerQueryContext) -> Result<SessionState> {
        let mut builder = context.builder;
        let base = self.engine.base();
        // The extensions that came with the task stay; the options are ours.
        let config = builder.config().get_or_insert_default();
        let (options, ours) = (config.options_mut(), base.config().options());
        options.execution = ours.execution.clone();
        options.optimizer = ours.optimizer.clone();
        options.sql_parser = ours.sql_parser.clone();
        builder.scalar_functions().get_or_insert_default().extend(nunatak_engine::functions::scalars());
        builder.aggregate_functions().get_or_insert_default().extend(nunatak_engine::functions::aggregates().iter().map(Arc::clone));
        builder.higher_order_functions().get_or_insert_default().extend(nunatak_engine::functions::higher_order());
        let builder = builder.with_distributed_user_codec_arc(Arc::clone(&self.codec) as _);
        Ok(builder.with_distributed_channel_resolver(self.peers.clone()).build())
    }
}
