//! How far a query is.

use std::sync::{Arc, Mutex};

use datafusion::physical_plan::ExecutionPlan;
use nunatak_core::expiring::lock;
use nunatak_engine::scan::ScanProgress;

use crate::execution::{Mode, Planned, StageProgress, Stages};

/// How far a query is, at any time. Cheap to clone. It is known of plans that run in this process, and of those that executors run in stages
/// that write to disk; of others only what they are to read.
#[derive(Clone, Default)]
pub struct Progress(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    plans: Vec<Plan>,
    /// How far the query was when it ended.
    end: Option<Snapshot>,
}

/// A plan that runs.
struct Plan {
    mode: Mode,
    plan: Arc<dyn ExecutionPlan>,
    stages: Stages,
}

/// How far a query was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What its scans have done.
    pub scans: ScanProgress,
    /// Whether executors run some of it.
    pub is_distributed: bool,
    /// How far the stages are that executors run, where that is known. Those that wait for others are not among them.
    pub stages: Vec<StageProgress>,
}

impl Progress {
    /// A plan of the query is about to run.
    pub(crate) fn begins(&self, planned: &Planned) {
        let plan = Plan { mode: planned.choice().mode, plan: planned.plan(), stages: planned.stages().clone() };
        lock(&self.0).plans.push(plan);
    }

    /// How far it is now.
    pub fn now(&self) -> Snapshot {
        lock(&self.0).now()
    }

    /// The query has ended: what is known of it stays, its plans, which may hold what they have read, do not.
    pub fn end(&self) {
        let mut inner = lock(&self.0);
        inner.end = Some(inner.now());
        inner.plans.clear();
    }
}

impl Inner {
    fn now(&self) -> Snapshot {
        self.end.clone().unwrap_or_else(|| {
            let mut snapshot = Snapshot::default();
            for Plan { mode, plan, stages } in &self.plans {
                snapshot.scans.add(plan);
                snapshot.is_distributed |= *mode != Mode::Local;
                snapshot.stages.extend(stages.now());
            }
            snapshot
        })
    }
}
