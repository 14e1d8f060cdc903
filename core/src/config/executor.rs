//! `[executor]`: where an executor belongs, and how it ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invalid, Key};
use crate::units::HumanDuration;

pub(super) const KEYS: &[Key] = &[
    Key { name: "coordinator", description: "The address of the coordinator's cluster service, for `nunatak executor`." },
    Key { name: "drain", description: "How long a stopping executor waits for its tasks, and for their results to be read." },
];

/// Where an executor belongs, and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executor {
    /// The coordinator's cluster service, `host:port`.
    pub coordinator: String,
    /// How long a stop may take.
    pub drain_max: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    coordinator: String,
    drain: HumanDuration,
}

impl Default for Raw {
    fn default() -> Self {
        Self { coordinator: "127.0.0.1:50050".to_owned(), drain: HumanDuration(Duration::from_secs(60)) }
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Executor, Invalid> {
        // The name is looked up whenever a connection is made: behind it another host may stand tomorrow.
        let is_address = self.coordinator.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !is_address {
            return Err(Invalid::new("executor.coordinator", format!("'{}' is not an address such as 127.0.0.1:50050", self.coordinator)));
        }
        Ok(Executor { coordinator: self.coordinator, drain_max: self.drain.0 })
    }
}
