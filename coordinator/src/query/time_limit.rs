//! How long a query may run: the session property `query_max_run_time`, which `setQueryTimeout` of Trino's JDBC driver sets.

use std::future::Future;
use std::time::Duration;

use futures::{StreamExt, stream};
use nunatak_core::units::HumanDuration;
use nunatak_core::{Code, Error, Result};
use tokio::time::{Instant, timeout_at};

use super::RowStream;

/// When a query has to have ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimit {
    length: Duration,
    end: Instant,
}

impl TimeLimit {
    /// One that begins now; `None` for a length that nobody will see the end of.
    pub(super) fn from_now(length: Duration) -> Option<Self> {
        Instant::now().checked_add(length).map(|end| Self { length, end })
    }

    /// Does something within the limit, if there is one, or drops it. Errors: `EXCEEDED_TIME_LIMIT`.
    pub(super) async fn within<T>(limit: Option<Self>, work: impl Future<Output = Result<T>>) -> Result<T> {
        match limit {
            Some(limit) => timeout_at(limit.end, work).await.unwrap_or_else(|_| Err(limit.error())),
            None => work.await,
        }
    }

    /// The same rows until the limit: then they end with the error, and what makes them is dropped.
    pub(super) fn watch(self, rows: RowStream) -> RowStream {
        let next = move |rows: Option<RowStream>| async move {
            let mut rows = rows?;
            // Rows that are there already are not waited for.
            if Instant::now() >= self.end {
                return Some((Err(self.error()), None));
            }
            match timeout_at(self.end, rows.next()).await {
                Ok(batch) => Some((batch?, Some(rows))),
                Err(_) => Some((Err(self.error()), None)),
            }
        };
        stream::unfold(Some(rows), next).boxed()
    }

    fn error(self) -> Error {
        let length = HumanDuration(self.length);
        Error::new(Code::ExceededTimeLimit, format!("the query ran longer than {length}, its limit"))
            .with_hint("the session property query_max_run_time, or the driver's query timeout")
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;
    use std::sync::Arc;

    use super::*;

    fn batch() -> Result<RecordBatch> {
        Ok(RecordBatch::new_empty(Arc::new(Schema::empty())))
    }

    async fn outcomes(rows: RowStream, length: Duration) -> Vec<Option<Code>> {
        let limit = TimeLimit::from_now(length).unwrap();
        limit.watch(rows).map(|batch| batch.err().map(|error| error.code())).collect().await
    }

    #[tokio::test]
    async fn rows_end_with_the_limit() {
        let endless = || stream::iter([batch()]).chain(stream::pending()).boxed();
        assert_eq!(outcomes(endless(), Duration::from_millis(20)).await, [None, Some(Code::ExceededTimeLimit)]);
        assert_eq!(outcomes(stream::repeat_with(batch).boxed(), Duration::ZERO).await, [Some(Code::ExceededTimeLimit)]);
        assert_eq!(outcomes(stream::iter([batch(), batch()]).boxed(), Duration::from_secs(60)).await, [None, None]);
        let waiting = TimeLimit::within(TimeLimit::from_now(Duration::from_millis(20)), std::future::pending::<Result<()>>()).await;
        assert_eq!(waiting.err().map(|error| error.code()), Some(Code::ExceededTimeLimit));
    }
}
