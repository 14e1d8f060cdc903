//! Runs one statement: sends it, prints its rows as they come, reports count and time, and cancels it on Ctrl-C.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use futures::TryStreamExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::{Format, Output};
use super::progress::{Progress, seconds};
use super::statement;
use crate::client::{Client, Execution};
use crate::failure::Failure;
use crate::terminal;

/// Runs statements one after the other in one session.
pub(super) struct Runner {
    client: Client,
    format: Format,
    show_progress: bool,
}

impl Runner {
    pub(super) fn new(client: Client, format: Format, show_progress: bool) -> Self {
        Self { client, format, show_progress }
    }

    /// A second handle on the same session, for what runs beside statements.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Runs a statement and prints its result.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), Failure> {
        // One listener for the whole statement: a Ctrl-C that comes while rows are printed is seen, too.
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| Failure::Usage(format!("cannot listen for Ctrl-C: {error}")))?;
        let mut progress = Progress::start(self.show_progress, "running");
        // A call that is dropped is cancelled on the server too.
        let execution = tokio::select! {
            execution = self.client.execute(sql) => execution?,
            _ = interrupt.recv() => return Err(Failure::cancelled()),
        };
        if statement::is_update(sql, &execution.schema) {
            self.report_update(sql, execution, progress, &mut interrupt).await?;
        } else {
            self.print_rows(execution, &mut progress, &mut interrupt).await?;
            self.report_rows(progress);
        }
        if statement::is_use(sql) {
            self.client.after_use();
        }
        Ok(())
    }

    async fn report_update(&mut self, sql: &str, mut execution: Execution, progress: Progress, interrupt: &mut Signal) -> Result<(), Failure> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next_batch(&mut execution, interrupt).await? {
            batches.push(batch);
        }
        let elapsed = progress.elapsed();
        drop(progress);
        if self.format != Format::Table {
            return Ok(());
        }
        let name = statement::name(sql);
        match statement::one_number(&batches).and_then(|rows| u64::try_from(rows).ok()) {
            Some(rows) => terminal::result_line(&format!("{name}: {}", statement::count(rows)))?,
            None => terminal::result_line(&name)?,
        }
        terminal::note(&format!("(in {})", seconds(elapsed)));
        Ok(())
    }

    async fn print_rows(&mut self, mut execution: Execution, progress: &mut Progress, interrupt: &mut Signal) -> Result<(), Failure> {
        let mut output = Output::start(self.format, &execution.schema).map_err(|error| unprintable(&error))?;
        while let Some(batch) = self.next_batch(&mut execution, interrupt).await? {
            progress.add_rows(batch.num_rows());
            let bytes = output.encode(&batch).map_err(|error| unprintable(&error))?;
            write(progress, &bytes)?;
        }
        let bytes = output.finish().map_err(|error| unprintable(&error))?;
        write(progress, &bytes)
    }

    /// The next rows; Ctrl-C cancels the statement instead.
    async fn next_batch(&mut self, execution: &mut Execution, interrupt: &mut Signal) -> Result<Option<RecordBatch>, Failure> {
        tokio::select! {
            batch = execution.rows.try_next() => batch.map_err(|error| self.client.failed(&error)),
            _ = interrupt.recv() => {
                execution.rows = Box::pin(futures::stream::empty());
                self.client.cancel(execution.info.clone()).await;
                Err(Failure::cancelled())
            }
        }
    }

    fn report_rows(&self, progress: Progress) {
        let (rows, elapsed) = (progress.rows(), progress.elapsed());
        drop(progress);
        if self.format == Format::Table {
            terminal::note(&format!("({} in {})", statement::count(rows), seconds(elapsed)));
        }
    }
}

fn write(progress: &Progress, bytes: &[u8]) -> Result<(), Failure> {
    if bytes.is_empty() {
        return Ok(());
    }
    progress.suspend(|| terminal::result(bytes))
}

/// Rows that cannot be written in the wanted form.
fn unprintable(error: &ArrowError) -> Failure {
    Failure::Statement(format!("the result cannot be printed: {error}"))
}
