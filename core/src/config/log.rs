//! `[log]`: what is logged, and how.

use serde::{Deserialize, Serialize};

use super::{Invalid, Key};
use crate::telemetry;

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "level",
        description: "What is logged: error, warn, info, debug or trace, or a list such as info,nunatak_engine=debug. Also NUNATAK_LOG.",
    },
    Key { name: "format", description: "How it is logged: text or json, one line an event, on stderr." },
];

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives by module.
    pub level: String,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For collectors of logs: one JSON object a line.
    Json,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    level: String,
    format: LogFormat,
}

impl Default for Raw {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Log, Invalid> {
        telemetry::filter(&self.level).map_err(|error| Invalid::new("log.level", error.message()))?;
        Ok(Log { level: self.level, format: self.format })
    }
}
