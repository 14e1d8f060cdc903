//! `[execution]`: what queries may use of this machine.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scalar::Scalar;
use super::{Invalid, Key, machine};
use crate::units::{ByteSize, HumanDuration};

pub(super) const KEYS: &[Key] = &[
    Key { name: "memory", description: "Memory that all queries of this process share: a size, or a part of what the machine or container has." },
    Key { name: "local_max", description: "Queries whose scans read at most this much run on the coordinator, in execution mode 'auto'." },
    Key {
        name: "listing_wait",
        description: "How long a listing over all catalogs waits for the first answer of each; one that gives none is left out.",
    },
    Key { name: "slots", description: "Partitions that a query is split into: a number, or 'auto' for the number of cores." },
];

const MEMORY_MIN: ByteSize = ByteSize(64 << 20);
/// About what one node reads in a tenth of a second: less than it takes to be worth the way to others.
const LOCAL_MAX: ByteSize = ByteSize(64 << 20);
/// A catalog that is up answers in much less.
const LISTING_WAIT: Duration = Duration::from_secs(10);
const SLOTS_MAX: usize = 1024;
/// What is assumed where the system does not tell how much memory it has.
const MEMORY_UNKNOWN: ByteSize = ByteSize(4 << 30);

/// What queries may use of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Memory that all queries of this process share, in bytes.
    pub memory_bytes_max: usize,
    /// Scans of at most this many bytes stay on the coordinator.
    pub local_bytes_max: u64,
    /// How long a listing over all catalogs waits for the first answer of each.
    pub listing_wait: Duration,
    /// Partitions that a query is split into.
    pub slots: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    memory: Memory,
    local_max: ByteSize,
    listing_wait: HumanDuration,
    slots: Slots,
}

/// A size, or a percentage of the machine's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Scalar", into = "String")]
enum Memory {
    Size(ByteSize),
    Percent(u8),
}

/// A number, or `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Scalar", into = "String")]
enum Slots {
    Auto,
    Count(usize),
}

impl Default for Raw {
    fn default() -> Self {
        Self { memory: Memory::Percent(70), local_max: LOCAL_MAX, listing_wait: HumanDuration(LISTING_WAIT), slots: Slots::Auto }
    }
}

impl Raw {
    pub(super) fn check(self) -> Result<Execution, Invalid> {
        let memory = match self.memory {
            Memory::Size(size) => size,
            Memory::Percent(percent) => ByteSize(machine::memory().unwrap_or(MEMORY_UNKNOWN).0 / 100 * u64::from(percent)),
        };
        if memory < MEMORY_MIN {
            return Err(Invalid::new("execution.memory", format!("{memory} is less than the minimum of {MEMORY_MIN}")));
        }
        let slots = match self.slots {
            Slots::Auto => machine::cores().min(SLOTS_MAX),
            Slots::Count(count) if (1..=SLOTS_MAX).contains(&count) => count,
            Slots::Count(count) => return Err(Invalid::new("execution.slots", format!("{count} is not between 1 and {SLOTS_MAX}"))),
        };
        if self.listing_wait.0.is_zero() {
            return Err(Invalid::new("execution.listing_wait", "no catalog answers within no time"));
        }
        Ok(Execution {
            memory_bytes_max: usize::try_from(memory.0).unwrap_or(usize::MAX),
            local_bytes_max: self.local_max.0,
            listing_wait: self.listing_wait.0,
            slots,
        })
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().strip_suffix('%') {
            Some(percent) => match percent.trim().parse() {
                Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
                _ => Err(format!("'{text}' is not a percentage between 1% and 100%")),
            },
            None => text.parse().map(Self::Size).map_err(|error| format!("{error}, or a part of the machine's memory such as 70%")),
        }
    }
}

impl FromStr for Slots {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        text.trim().parse().map(Self::Count).map_err(|_| format!("'{text}' is not a number, nor 'auto'"))
    }
}

impl TryFrom<Scalar> for Memory {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.to_string().parse()
    }
}

impl TryFrom<Scalar> for Slots {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.to_string().parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> Self {
        match memory {
            Memory::Size(size) => size.to_string(),
            Memory::Percent(percent) => format!("{percent}%"),
        }
    }
}

impl From<Slots> for String {
    fn from(slots: Slots) -> Self {
        match slots {
            Slots::Auto => "auto".to_owned(),
            Slots::Count(count) => count.to_string(),
        }
    }
}
