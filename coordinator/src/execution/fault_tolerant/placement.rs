//! Which executor runs which task: one that reads files gets those that it has read before.
//!
//! Files are dealt to partitions by [`affinity`], as many for each executor as it has slots, and marked with who is to read them. Ballista's own state binds
//! tasks to slots; ours asks it for one executor after the other, and puts the partitions that are meant for it first. Nothing waits: an executor that has done its part
//! takes what is left.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::Result;
use ballista_core::serde::protobuf::ExecutorHeartbeat;
use ballista_core::serde::scheduler::{ExecutorData, ExecutorMetadata};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, ClusterStateEventStream, ExecutorSlot};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::execution_stage::RunningStage;
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use nunatak_engine::scan::affinity::{self, Node};
use nunatak_engine::scan::scan_of;
use nunatak_state::Joined;

/// The executor that a file's part is meant for, by its id: an extension of the file, which does not leave this process.
struct Reader(Arc<str>);

/// The plan with the files of its scans dealt to executors.
pub(super) fn with_readers(plan: Arc<dyn ExecutionPlan>, executors: &[Joined]) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let executors: Vec<Candidate> = executors.iter().map(Candidate::new).collect();
    plan.transform_up(|plan| match scan_of(plan.as_ref()).and_then(|scan| dealt(scan, &executors)) {
        Some(scan) => Ok(Transformed::yes(DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>)),
        None => Ok(Transformed::no(plan)),
    })
    .data()
}

/// An executor that may read files.
struct Candidate {
    id: Arc<str>,
    url: String,
    slots: usize,
}

impl Candidate {
    fn new(Joined { executor, .. }: &Joined) -> Self {
        Self { id: executor.id.as_str().into(), url: executor.url(), slots: executor.slots }
    }

    fn node(&self, partitions: usize) -> Node<'_> {
        Node { name: &self.url, partitions }
    }
}

/// A scan of as many partitions as before, each for one executor; `None` if it is none of an Iceberg table.
fn dealt(scan: &FileScanConfig, executors: &[Candidate]) -> Option<FileScanConfig> {
    let all: Vec<Node<'_>> = executors.iter().map(|executor| executor.node(executor.slots)).collect();
    let readers: Vec<(&Candidate, usize)> = {
        let ranked: Vec<&Candidate> = affinity::ranking(scan, &all).into_iter().map(|number| &executors[number]).collect();
        let slots: Vec<usize> = ranked.iter().map(|executor| executor.slots).collect();
        ranked.into_iter().zip(shares(scan.file_groups.len(), &slots)).filter(|(_, partitions)| *partitions > 0).collect()
    };
    let nodes: Vec<Node<'_>> = readers.iter().map(|(executor, partitions)| executor.node(*partitions)).collect();
    let scans = affinity::for_nodes(scan, &nodes)?;
    let mut dealt = scan.clone();
    dealt.file_groups.clear();
    for (scan, (executor, _)) in scans.into_iter().zip(&readers) {
        let marked = |group: FileGroup| group.into_inner().into_iter().map(|file| file.with_extension(Reader(Arc::clone(&executor.id)))).collect();
        dealt.file_groups.extend(scan.file_groups.into_iter().map(marked).map(FileGroup::new));
    }
    Some(dealt)
}

/// Partitions, divided among executors with so many slots: the first ones are filled if there are fewer than slots, all of them evenly if there are more.
fn shares(partitions: usize, slots: &[usize]) -> Vec<usize> {
    let total = slots.iter().sum::<usize>().max(1);
    let (rounds, mut rest) = (partitions / total, partitions % total);
    let mut share = |slots: &usize| {
        let more = (*slots).min(rest);
        rest -= more;
        rounds * slots + more
    };
    slots.iter().map(&mut share).collect()
}

/// Who is to read a partition of a stage.
fn reader_of(plan: &dyn ExecutionPlan, partition: usize) -> Option<&str> {
    if let Some(scan) = scan_of(plan) {
        let mut files = scan.file_groups.get(partition)?.iter();
        return files.next()?.extension::<Reader>().map(|reader| reader.0.as_ref());
    }
    let partitions = |plan: &Arc<dyn ExecutionPlan>| plan.output_partitioning().partition_count();
    if plan.is::<UnionExec>() {
        let mut before = 0;
        for child in plan.children() {
            if partition < before + partitions(child) {
                return reader_of(child.as_ref(), partition - before);
            }
            before += partitions(child);
        }
        return None;
    }
    // What has other partitions is read by each task as a whole.
    let is_divided_alike =
        |child: &&Arc<dyn ExecutionPlan>| plan.children().len() == 1 || partitions(child) == plan.output_partitioning().partition_count();
    plan.children().into_iter().filter(is_divided_alike).find_map(|child| reader_of(child.as_ref(), partition))
}

/// Ballista's own state of executors and their free slots, asked for one executor after the other.
#[derive(Default)]
pub(super) struct Placement(InMemoryClusterState);

impl Placement {
    /// The executors that tasks which wait are meant for, with the most wanted first: it leaves nothing of its own to others.
    async fn wanted(jobs: &HashMap<JobId, JobInfoCache>) -> Vec<String> {
        let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
        for_each_stage(jobs, |stage| {
            let pending = stage.pending.next_slice(usize::MAX);
            for reader in pending.iter().filter_map(|partition| reader_of(stage.plan.as_ref(), *partition)) {
                *wanted.entry(reader.to_owned()).or_default() += 1;
            }
            stage.pending.reschedule(pending);
        })
        .await;
        let mut wanted: Vec<(String, usize)> = wanted.into_iter().collect();
        wanted.sort_by_key(|(_, tasks)| Reverse(*tasks));
        wanted.into_iter().map(|(executor, _)| executor).collect()
    }

    /// Puts the partitions that are meant for an executor first, and those that are meant for others last.
    async fn prefer(jobs: &HashMap<JobId, JobInfoCache>, executor: &str) {
        for_each_stage(jobs, |stage| {
            let mut pending = stage.pending.next_slice(usize::MAX);
            pending.sort_by_key(|partition| match reader_of(stage.plan.as_ref(), *partition) {
                Some(reader) if reader == executor => 0,
                None => 1,
                Some(_) => 2,
            });
            stage.pending.reschedule(pending);
        })
        .await;
    }
}

/// Does something to each stage that has tasks which wait.
async fn for_each_stage(jobs: &HashMap<JobId, JobInfoCache>, mut work: impl FnMut(&mut RunningStage)) {
    for job in jobs.values() {
        let mut graph = job.execution_graph.write().await;
        let mut seen = Vec::new();
        while let Some(stage) = graph.fetch_running_stage(&seen) {
            seen.push(stage.stage_id);
            work(stage);
        }
    }
}

#[async_trait]
impl ClusterState for Placement {
    async fn init(&self) -> Result<()> {
        self.0.init().await
    }

    async fn bind_schedulable_tasks(
        &self,
        policy: TaskDistributionPolicy,
        jobs: Arc<HashMap<JobId, JobInfoCache>>,
        executors: Option<HashSet<String>>,
    ) -> Result<Vec<BoundTask>> {
        let mut bound = Vec::new();
        for executor in Self::wanted(&jobs).await {
            if executors.as_ref().is_none_or(|alive| alive.contains(&executor)) {
                Self::prefer(&jobs, &executor).await;
                bound.extend(self.0.bind_schedulable_tasks(policy.clone(), Arc::clone(&jobs), Some(HashSet::from([executor]))).await?);
            }
        }
        bound.extend(self.0.bind_schedulable_tasks(policy, jobs, executors).await?);
        Ok(bound)
    }

    async fn unbind_tasks(&self, slots: Vec<ExecutorSlot>) -> Result<()> {
        self.0.unbind_tasks(slots).await
    }

    async fn register_executor(&self, metadata: ExecutorMetadata, data: ExecutorData) -> Result<()> {
        self.0.register_executor(metadata, data).await
    }

    async fn save_executor_metadata(&self, metadata: ExecutorMetadata) -> Result<()> {
        self.0.save_executor_metadata(metadata).await
    }

    async fn get_executor_metadata(&self, executor: &str) -> Result<ExecutorMetadata> {
        self.0.get_executor_metadata(executor).await
    }

    async fn registered_executor_metadata(&self) -> Vec<ExecutorMetadata> {
        self.0.registered_executor_metadata().await
    }

    async fn save_executor_heartbeat(&self, heartbeat: ExecutorHeartbeat) -> Result<()> {
        self.0.save_executor_heartbeat(heartbeat).await
    }

    async fn remove_executor(&self, executor: &str) -> Result<()> {
        self.0.remove_executor(executor).await
    }

    fn executor_heartbeats(&self) -> HashMap<String, ExecutorHeartbeat> {
        self.0.executor_heartbeats()
    }

    fn get_executor_heartbeat(&self, executor: &str) -> Option<ExecutorHeartbeat> {
        self.0.get_executor_heartbeat(executor)
    }

    async fn cluster_state_events(&self) -> Result<ClusterStateEventStream> {
        self.0.cluster_state_events().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_divided_by_slots() {
        assert_eq!(shares(6, &[2, 2, 2]), [2, 2, 2]);
        assert_eq!(shares(5, &[4, 2, 2]), [4, 1, 0]);
        assert_eq!(shares(1, &[2, 2]), [1, 0]);
        assert_eq!(shares(19, &[4, 2, 2]), [11, 4, 4]);
        assert_eq!(shares(0, &[2]), [0]);
    }
}
