//! A line on the terminal that says a statement runs, for how long, and how many rows have come.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use super::statement;
use crate::terminal;

/// A line that comes and goes at once only flickers.
const DELAY: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{spinner} {msg} {elapsed_precise}";

/// The progress of one statement. It vanishes when dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
    appearing: Option<JoinHandle<()>>,
    started: Instant,
    rows: u64,
}

impl Progress {
    /// Starts a line, if it is wanted and a person sees it.
    pub(crate) fn start(wanted: bool, message: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_message(message.to_owned());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        let appearing = (wanted && terminal::is_watched()).then(|| tokio::spawn(appear(bar.clone())));
        Self { bar, appearing, started: Instant::now(), rows: 0 }
    }

    /// Counts rows that came.
    pub(crate) fn add_rows(&mut self, rows: usize) {
        self.rows += u64::try_from(rows).unwrap_or(u64::MAX);
        self.bar.set_message(statement::count(self.rows));
    }

    /// Rows until now.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Time until now.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Does something else with the terminal while the line is away.
    pub(crate) fn suspend<R>(&self, work: impl FnOnce() -> R) -> R {
        self.bar.suspend(work)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(appearing) = &self.appearing {
            appearing.abort();
        }
        self.bar.finish_and_clear();
    }
}

async fn appear(bar: ProgressBar) {
    tokio::time::sleep(DELAY).await;
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.enable_steady_tick(TICK);
}

/// A time for people: `0.12 s`, `2 min 5 s`.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        whole @ 60.. => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(Duration::from_millis(124)), "0.12 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 5 s");
    }
}
