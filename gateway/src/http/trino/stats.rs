//! How far a query is, in the shape that Trino's clients draw their progress from.

use std::time::Duration;

use nunatak_coordinator::query::{ScanProgress, Snapshot, StageProgress};
use serde::Serialize;

/// The part of its life that a query is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has asked for its results yet: it does not run.
    Queued,
    /// It is planned.
    Planning,
    /// Its rows are made.
    Running,
    /// It is over, and all is well.
    Finished,
    /// It is over, and has an error.
    Failed,
}

/// The times of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) queued: Duration,
    pub(super) planning: Duration,
    pub(super) elapsed: Duration,
}

/// What clients are told. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    state: &'static str,
    queued: bool,
    scheduled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress_percentage: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running_percentage: Option<f64>,
    nodes: u32,
    total_splits: u64,
    queued_splits: u64,
    running_splits: u64,
    completed_splits: u64,
    planning_time_millis: u64,
    analysis_time_millis: u64,
    cpu_time_millis: u64,
    wall_time_millis: u64,
    queued_time_millis: u64,
    elapsed_time_millis: u64,
    finishing_time_millis: u64,
    physical_input_time_millis: u64,
    processed_rows: u64,
    processed_bytes: u64,
    physical_input_bytes: u64,
    physical_written_bytes: u64,
    internal_network_input_bytes: u64,
    peak_memory_bytes: u64,
    spilled_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_stage: Option<Stage>,
}

/// A stage, as clients show it: the last one has the others below it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stage {
    stage_id: String,
    state: &'static str,
    done: bool,
    nodes: u32,
    total_splits: u64,
    queued_splits: u64,
    running_splits: u64,
    completed_splits: u64,
    cpu_time_millis: u64,
    wall_time_millis: u64,
    processed_rows: u64,
    processed_bytes: u64,
    physical_input_bytes: u64,
    failed_tasks: u64,
    coordinator_only: bool,
    sub_stages: Vec<Stage>,
}

/// What is to be read, in files and parts of files, or in partitions of stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Splits {
    total: u64,
    completed: u64,
    running: u64,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Planning => "PLANNING",
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
        }
    }

    /// Whether nothing comes after it.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Failed)
    }
}

impl Splits {
    /// Those of the scans in this process.
    fn of_scans(scans: &ScanProgress, phase: Phase) -> Self {
        let (total, completed) = (scans.splits, scans.splits_completed);
        let running = u64::from(phase == Phase::Running && completed < total);
        Self { total, completed, running }.ended(phase)
    }

    fn of_stage(stage: &StageProgress, phase: Phase) -> Self {
        Self { total: stage.splits, completed: stage.splits_completed, running: stage.splits_running }.ended(phase)
    }

    /// A limit ends scans before their files do.
    fn ended(self, phase: Phase) -> Self {
        if phase == Phase::Finished { Self { completed: self.total, running: 0, ..self } } else { self }
    }

    fn queued(self) -> u64 {
        self.total.saturating_sub(self.completed).saturating_sub(self.running)
    }

    fn plus(self, other: Self) -> Self {
        Self { total: self.total + other.total, completed: self.completed + other.completed, running: self.running + other.running }
    }
}

impl Stage {
    fn new(id: usize, splits: Splits, phase: Phase) -> Self {
        let is_done = phase.is_over() || (splits.total > 0 && splits.completed == splits.total);
        let state = if phase.is_over() {
            phase.name()
        } else if is_done {
            "FINISHED"
        } else if splits.running > 0 || splits.completed > 0 {
            "RUNNING"
        } else {
            "SCHEDULED"
        };
        Self {
            stage_id: id.to_string(),
            state,
            done: is_done,
            nodes: 1,
            total_splits: splits.total,
            queued_splits: splits.queued(),
            running_splits: splits.running,
            completed_splits: splits.completed,
            cpu_time_millis: 0,
            wall_time_millis: 0,
            processed_rows: 0,
            processed_bytes: 0,
            physical_input_bytes: 0,
            failed_tasks: 0,
            coordinator_only: false,
            sub_stages: Vec::new(),
        }
    }
}

impl Stats {
    /// The statistics of a query that has given `rows` so far.
    pub(super) fn new(phase: Phase, times: &Times, progress: Option<Snapshot>, rows: u64) -> Self {
        let is_scheduled = progress.is_some();
        let Snapshot { scans, stages, .. } = progress.unwrap_or_default();
        let each: Vec<(usize, Splits)> = stages.iter().map(|stage| (stage.id, Splits::of_stage(stage, phase))).collect();
        let splits = match each.is_empty() {
            true => Splits::of_scans(&scans, phase),
            false => each.iter().fold(Splits::default(), |sum, (_, splits)| sum.plus(*splits)),
        };
        let percentage = |part: u64| part as f64 * 100.0 / splits.total as f64;
        let progress_percentage = match (phase, splits.total) {
            (Phase::Finished, _) => Some(100.0),
            (_, 0) => None,
            _ => Some(percentage(splits.completed)),
        };
        let running_percentage = progress_percentage.map(|_| if splits.total == 0 { 0.0 } else { percentage(splits.running) });
        let cpu_time_millis = scans.cpu_nanos / 1_000_000;
        // Of plans that executors run it is known which rows have come out.
        let processed_rows = scans.rows.max(rows);
        let mut parts: Vec<Stage> = each.iter().map(|(id, splits)| Stage::new(*id, *splits, phase)).collect();
        let mut root = parts.pop().unwrap_or_else(|| Stage::new(0, splits, phase));
        root.sub_stages = parts;
        root.cpu_time_millis = cpu_time_millis;
        root.wall_time_millis = millis(times.elapsed);
        (root.processed_rows, root.processed_bytes, root.physical_input_bytes) = (processed_rows, scans.bytes, scans.bytes);
        Self {
            state: phase.name(),
            queued: phase == Phase::Queued,
            scheduled: is_scheduled,
            progress_percentage,
            running_percentage,
            nodes: u32::from(is_scheduled),
            total_splits: splits.total,
            queued_splits: splits.queued(),
            running_splits: splits.running,
            completed_splits: splits.completed,
            planning_time_millis: millis(times.planning),
            analysis_time_millis: 0,
            cpu_time_millis,
            wall_time_millis: millis(times.elapsed),
            queued_time_millis: millis(times.queued),
            elapsed_time_millis: millis(times.elapsed),
            finishing_time_millis: 0,
            physical_input_time_millis: 0,
            processed_rows,
            processed_bytes: scans.bytes,
            physical_input_bytes: scans.bytes,
            physical_written_bytes: 0,
            internal_network_input_bytes: 0,
            peak_memory_bytes: 0,
            spilled_bytes: 0,
            root_stage: is_scheduled.then_some(root),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_the_share_of_splits() {
        let mut snapshot = Snapshot::default();
        (snapshot.scans.splits, snapshot.scans.splits_completed, snapshot.scans.rows) = (8, 2, 100);
        let stats = Stats::new(Phase::Running, &Times::default(), Some(snapshot.clone()), 7);
        assert_eq!((stats.progress_percentage, stats.queued_splits, stats.running_splits, stats.processed_rows), (Some(25.0), 5, 1, 100));
        let stats = Stats::new(Phase::Finished, &Times::default(), Some(snapshot), 7);
        assert_eq!((stats.progress_percentage, stats.completed_splits, stats.root_stage.map(|stage| stage.done)), (Some(100.0), 8, Some(true)));
        let stats = Stats::new(Phase::Queued, &Times::default(), None, 0);
        assert_eq!((stats.progress_percentage, stats.queued, stats.root_stage), (None, true, None));
    }
    #[test]
    fn stages_are_told_apart_where_they_are_known() {
        let stage = |id, splits_completed| StageProgress { id, splits: 4, splits_completed, splits_running: 4 - splits_completed };
        let snapshot = Snapshot { stages: vec![stage(1, 4), stage(2, 1)], is_distributed: true, ..Snapshot::default() };
        let stats = Stats::new(Phase::Running, &Times::default(), Some(snapshot), 0);
        assert_eq!((stats.progress_percentage, stats.running_splits, stats.queued_splits), (Some(62.5), 3, 0));
        let root = stats.root_stage.unwrap();
        assert_eq!((root.stage_id.as_str(), root.state, root.done), ("2", "RUNNING", false));
        assert_eq!((root.sub_stages[0].stage_id.as_str(), root.sub_stages[0].done), ("1", true));
    }
}
