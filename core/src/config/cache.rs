//! `[cache]`: what is kept of data files that were read.

use serde::{Deserialize, Serialize};

use super::{Invalid, Key};
use crate::units::ByteSize;

pub(super) const KEYS: &[Key] = &[
    Key { name: "memory", description: "Memory for parts of data files that were read, beside that of queries; 0B keeps none." },
    Key { name: "disk", description: "Space in the data directory for more of them, which a restart finds again; 0B keeps none." },
    Key {
        name: "local_files",
        description: "Whether parts of local files are kept too, which the system does by itself: for data on a network file system that is slow.",
    },
];

const MEMORY_DEFAULT: ByteSize = ByteSize(256 << 20);
/// Room for a few parts in each division of the cache.
const MEMORY_MIN: ByteSize = ByteSize(64 << 20);
const DISK_MIN: ByteSize = ByteSize(128 << 20);

/// What is kept of data files that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Memory for it, in bytes; 0 for no cache at all.
    pub memory_bytes_max: usize,
    /// Space on disk for more of them, in bytes; 0 for none.
    pub disk_bytes_max: usize,
    /// Whether local files are kept too.
    pub local_files: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    memory: ByteSize,
    disk: ByteSize,
    local_files: Switch,
}

/// On or off. The environment and flags always give text.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "bool")]
struct Switch(bool);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bool(bool),
    Text(String),
}

impl TryFrom<Written> for Switch {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Bool(on) => Ok(Self(on)),
            Written::Text(text) => text.trim().parse().map(Self).map_err(|_| format!("'{text}' is not 'true', nor 'false'")),
        }
    }
}

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        switch.0
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self { memory: MEMORY_DEFAULT, disk: ByteSize(0), local_files: Switch(false) }
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Cache, Invalid> {
        let size = |key: &'static str, size: ByteSize, min: ByteSize| {
            if size.0 > 0 && size < min {
                return Err(Invalid::new(key, format!("{size} is less than the minimum of {min}, and not 0B for none")));
            }
            Ok(usize::try_from(size.0).unwrap_or(usize::MAX))
        };
        let memory_bytes_max = size("cache.memory", self.memory, MEMORY_MIN)?;
        let disk_bytes_max = size("cache.disk", self.disk, DISK_MIN)?;
        if memory_bytes_max == 0 && disk_bytes_max > 0 {
            return Err(Invalid::new("cache.disk", format!("it needs memory of the cache too, and cache.memory is 0B; the minimum is {MEMORY_MIN}")));
        }
        Ok(Cache { memory_bytes_max, disk_bytes_max, local_files: self.local_files.0 })
    }
}
