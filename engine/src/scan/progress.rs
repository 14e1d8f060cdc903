//! How far the scans of a plan that runs in this process are.

use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;

use super::provider::scan_of;

/// How far the scans of a plan are, by what its operators have measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanProgress {
    /// The files, and parts of files, that are read.
    pub splits: u64,
    /// How many of them are read to their end.
    pub splits_completed: u64,
    /// The rows that scans have given.
    pub rows: u64,
    /// The bytes that they have read.
    pub bytes: u64,
    /// Processor time of all operators, in nanoseconds.
    pub cpu_nanos: u64,
}

impl ScanProgress {
    /// Adds what the operators of a plan have measured so far.
    pub fn add(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        let metrics = plan.metrics();
        let measured = |value: Option<usize>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
        let named = |name: &str| measured(metrics.as_ref().and_then(|metrics| metrics.sum_by_name(name)).map(|value| value.as_usize()));
        self.cpu_nanos += measured(metrics.as_ref().and_then(|metrics| metrics.elapsed_compute()));
        if let Some(scan) = scan_of(plan.as_ref()) {
            let splits: usize = scan.file_groups.iter().map(|group| group.len()).sum();
            let splits = measured(Some(splits));
            self.splits += splits;
            // A file that several partitions have shares of may count more than once.
            self.splits_completed += named("files_processed").min(splits);
            self.rows += measured(metrics.as_ref().and_then(|metrics| metrics.output_rows()));
            self.bytes += named("bytes_scanned");
        }
        plan.children().into_iter().for_each(|child| self.add(child));
    }
}
