//! How often and after what time a commit is tried again, by the table's `commit.retry.*` properties. The policy decides only: time and chance come from
//! outside.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nunatak_core::{Error, Result};

use crate::properties::number;
use crate::spec::TableProperties;

/// The rule of one commit.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    retries_max: u32,
    wait_min: Duration,
    wait_max: Duration,
    total_max: Duration,
}

impl RetryPolicy {
    /// The rule that a table's properties set; Iceberg's defaults are 4 retries, 100 ms to 60 s apart, within 30 minutes.
    pub fn from_properties(properties: &HashMap<String, String>) -> Result<Self> {
        use TableProperties as P;
        let retries_max = number(properties, P::PROPERTY_COMMIT_NUM_RETRIES, P::PROPERTY_COMMIT_NUM_RETRIES_DEFAULT as u64)?;
        let wait_min_ms = number(properties, P::PROPERTY_COMMIT_MIN_RETRY_WAIT_MS, P::PROPERTY_COMMIT_MIN_RETRY_WAIT_MS_DEFAULT)?;
        let wait_max_ms = number(properties, P::PROPERTY_COMMIT_MAX_RETRY_WAIT_MS, P::PROPERTY_COMMIT_MAX_RETRY_WAIT_MS_DEFAULT)?;
        let total_max_ms = number(properties, P::PROPERTY_COMMIT_TOTAL_RETRY_TIME_MS, P::PROPERTY_COMMIT_TOTAL_RETRY_TIME_MS_DEFAULT)?;
        Ok(Self {
            retries_max: u32::try_from(retries_max).unwrap_or(u32::MAX),
            wait_min: Duration::from_millis(wait_min_ms),
            wait_max: Duration::from_millis(wait_max_ms),
            total_max: Duration::from_millis(total_max_ms),
        })
    }

    /// How long to wait after the failure of `attempt` (counted from 1); `None` when that was the last one. `chance` is between 0 and 1: it
    /// spreads writers that met once, so that they do not meet again.
    pub fn wait(&self, attempt: u32, elapsed: Duration, chance: f64) -> Option<Duration> {
        if attempt > self.retries_max {
            return None;
        }
        let doubled = self.wait_min.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX));
        let longest = doubled.min(self.wait_max).max(self.wait_min);
        let wait = self.wait_min + (longest - self.wait_min).mul_f64(chance.clamp(0.0, 1.0));
        (elapsed + wait <= self.total_max).then_some(wait)
    }
}

/// The attempts of one commit, as its policy allows them.
#[derive(Debug)]
pub struct Retries {
    policy: RetryPolicy,
    begun: Instant,
    attempts: u32,
}

impl Retries {
    /// No attempt has failed yet.
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, begun: Instant::now(), attempts: 0 }
    }

    /// Waits for the next attempt after one that `error` has ended. Errors: `error`, if that was the last one.
    pub async fn wait(&mut self, error: Error) -> Result<()> {
        self.attempts += 1;
        match self.policy.wait(self.attempts, self.begun.elapsed(), rand::random()) {
            Some(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            None => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use nunatak_core::Code;

    use super::*;

    fn policy(pairs: &[(&str, &str)]) -> Result<RetryPolicy> {
        RetryPolicy::from_properties(&pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
    }

    #[test]
    fn waits_grow_to_the_limit_and_end() {
        let policy = policy(&[("commit.retry.num-retries", "12")]).unwrap();
        let waits: Vec<_> = (1..=12).map(|attempt| policy.wait(attempt, Duration::ZERO, 1.0).unwrap().as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000]);
        assert_eq!(policy.wait(13, Duration::ZERO, 1.0), None);
        assert_eq!(policy.wait(3, Duration::ZERO, 0.0), Some(Duration::from_millis(100)));
    }

    #[test]
    fn the_total_time_is_kept() {
        let policy = policy(&[("commit.retry.total-timeout-ms", "1000")]).unwrap();
        assert!(policy.wait(1, Duration::from_millis(700), 1.0).is_some());
        assert!(policy.wait(1, Duration::from_millis(900), 1.0).is_none());
    }

    #[test]
    fn a_property_that_is_no_number_is_named() {
        let error = policy(&[("commit.retry.min-wait-ms", "soon")]).unwrap_err();
        assert_eq!(error.code(), Code::InvalidTableProperty);
        assert!(error.message().contains("commit.retry.min-wait-ms"));
    }
}
