//! `[maintenance]`: what keeping tables in order may do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invalid, Key};
use crate::units::HumanDuration;

pub(super) const KEYS: &[Key] = &[Key {
    name: "orphan_age_min",
    description: "The least age of files that remove_orphan_files may delete. It must be longer than any writer, of this or another engine, takes to commit.",
}];

/// Spark's limit too.
const ORPHAN_AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What keeping tables in order may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Orphans younger than this are never deleted.
    pub orphan_age_min: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    orphan_age_min: HumanDuration,
}

impl Default for Raw {
    fn default() -> Self {
        Self { orphan_age_min: HumanDuration(ORPHAN_AGE_MIN) }
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Maintenance, Invalid> {
        Ok(Maintenance { orphan_age_min: self.orphan_age_min.0 })
    }
}
