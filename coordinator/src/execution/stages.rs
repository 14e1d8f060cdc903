//! How far the stages of a query are that executors run, where an engine tells that meanwhile.

use std::fmt;
use std::sync::{Arc, Mutex};

use nunatak_core::expiring::lock;

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageProgress {
    /// Its number; stages have higher ones than those that they read.
    pub id: usize,
    /// The partitions that its tasks read.
    pub splits: u64,
    /// How many of them tasks have read to their end.
    pub splits_completed: u64,
    /// How many of them tasks read now.
    pub splits_running: u64,
}

type Asked = Box<dyn Fn() -> Vec<StageProgress> + Send + Sync>;

/// The stages of a query, as its engine tells of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Stages(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    ask: Option<Asked>,
    /// What was told last: an engine forgets what has ended.
    last: Vec<StageProgress>,
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&lock(&self.0).last).finish()
    }
}

impl Stages {
    /// From now on `ask` tells of them. It has nothing to tell before a query has begun, and after it has ended.
    pub(super) fn tells(&self, ask: impl Fn() -> Vec<StageProgress> + Send + Sync + 'static) {
        lock(&self.0).ask = Some(Box::new(ask));
    }

    /// How far they are, by their numbers.
    pub fn now(&self) -> Vec<StageProgress> {
        let mut inner = lock(&self.0);
        let told = inner.ask.as_ref().map(|ask| ask()).unwrap_or_default();
        if !told.is_empty() {
            inner.last = told;
            inner.last.sort_by_key(|stage| stage.id);
        }
        inner.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_last_stays() {
        let stages = Stages::default();
        assert_eq!(stages.now(), []);
        let stage = |id| StageProgress { id, splits: 4, splits_completed: 1, splits_running: 2 };
        let told = Arc::new(Mutex::new(vec![stage(2), stage(1)]));
        let source = Arc::clone(&told);
        stages.tells(move || lock(&source).clone());
        assert_eq!(stages.now(), [stage(1), stage(2)]);
        lock(&told).clear();
        assert_eq!(stages.now(), [stage(1), stage(2)]);
    }
}
