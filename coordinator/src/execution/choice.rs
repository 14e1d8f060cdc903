//! Which mode a plan runs in.

use std::fmt;

use nunatak_core::units::ByteSize;
use nunatak_core::{Code, Error, Result};
use nunatak_state::Joined;

/// How a plan is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Whole, on one node.
    Local,
    /// In stages that are all live at once, and stream to each other.
    Pipelined,
    /// In stages that write their rows to disk; no row leaves before all are there, so that the query can be run again.
    FaultTolerant,
}

impl Mode {
    /// The mode of that name in the session property `execution_mode`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "local" => Some(Self::Local),
            "pipelined" => Some(Self::Pipelined),
            "fault_tolerant" => Some(Self::FaultTolerant),
            _ => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Pipelined => "pipelined",
            Self::FaultTolerant => "fault_tolerant",
        })
    }
}

/// The mode a plan runs in, and why.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// Why this one, for `EXPLAIN`.
    pub reason: String,
}

impl Choice {
    /// The mode that a session asks for. Errors: `NO_NODES_AVAILABLE` if it needs executors and there are none.
    pub(super) fn asked_for(mode: Mode, executors: &[Joined]) -> Result<Self> {
        if mode != Mode::Local && executors.is_empty() {
            return Err(no_executors());
        }
        Ok(Self { mode, reason: "the session asks for it".into() })
    }

    /// The mode in which a plan is made to see how large it is.
    pub(super) fn unasked() -> Self {
        Self { mode: Mode::Local, reason: String::new() }
    }
}

/// There is nothing to run a distributed plan on.
pub(super) fn no_executors() -> Error {
    Error::new(Code::NoNodesAvailable, "the cluster has no executors")
        .with_hint("start one with 'nunatak executor', or SET SESSION execution_mode = 'local'")
}

/// What the choice depends on, besides the executors.
pub(super) struct Facts {
    /// What its scans read, after pruning.
    pub(super) scan_bytes: u64,
    /// Whether it writes into a table.
    pub(super) writes: bool,
    /// Whether parts of it run again and again over its own rows.
    pub(super) recursive: bool,
    /// Scans up to here stay on the coordinator.
    pub(super) local_bytes_max: u64,
}

/// Chooses the mode for a session that leaves it to us.
pub(super) fn choose(facts: &Facts, executors: &[Joined]) -> Choice {
    let bytes = ByteSize(facts.scan_bytes);
    if facts.scan_bytes <= facts.local_bytes_max {
        let reason = format!("its scans read {bytes}, at most {} stay on the coordinator", ByteSize(facts.local_bytes_max));
        return Choice { mode: Mode::Local, reason };
    }
    if executors.is_empty() {
        return Choice { mode: Mode::Local, reason: "the cluster has no executors".into() };
    }
    if facts.recursive {
        return Choice { mode: Mode::Local, reason: "recursive queries run on one node".into() };
    }
    let memory: u64 = executors.iter().map(|joined| joined.executor.memory_bytes).sum();
    let (mode, reason) = if facts.writes {
        (Mode::FaultTolerant, format!("it writes what it reads from {bytes}"))
    } else if facts.scan_bytes > memory {
        (Mode::FaultTolerant, format!("its scans read {bytes}, more than the executors' memory of {}", ByteSize(memory)))
    } else {
        (Mode::Pipelined, format!("its scans read {bytes}, on {} executors", executors.len()))
    };
    Choice { mode, reason }
}

#[cfg(test)]
mod tests {
    use nunatak_state::ExecutorMember;

    use super::*;

    fn executors(count: usize) -> Vec<Joined> {
        let executor = |n: u64| ExecutorMember { id: n.to_string(), host: "h".into(), port: 1, slots: 2, memory_bytes: 1 << 30, draining: false };
        (0..count as u64).map(|number| Joined { executor: executor(number), number }).collect()
    }

    #[test]
    fn by_bytes_and_kind() {
        let mode =
            |scan_bytes, writes, count| choose(&Facts { scan_bytes, writes, recursive: false, local_bytes_max: 1 << 20 }, &executors(count)).mode;
        assert_eq!(mode(0, true, 2), Mode::Local);
        assert_eq!(mode(1 << 20, false, 2), Mode::Local);
        assert_eq!(mode(1 << 21, false, 0), Mode::Local);
        assert_eq!(mode(1 << 21, false, 2), Mode::Pipelined);
        assert_eq!(mode(1 << 21, true, 2), Mode::FaultTolerant);
        assert_eq!(mode(3 << 30, false, 2), Mode::FaultTolerant);
        assert_eq!(Choice::asked_for(Mode::Pipelined, &[]).unwrap_err().code(), Code::NoNodesAvailable);
        assert!(Choice::asked_for(Mode::Local, &[]).is_ok());
    }
}
