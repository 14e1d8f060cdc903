//! How much memory and how many cores this process may use: those of its container where it has limits, else those of the machine.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use crate::units::ByteSize;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Cores; cgroup quotas and affinity are counted in by the standard library.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Memory; `None` where the system does not tell.
pub(super) fn memory() -> Option<ByteSize> {
    let machine = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total_of);
    let container = container_limit();
    machine.into_iter().chain(container).min().map(ByteSize)
}

/// `MemTotal:       24519184 kB` of `/proc/meminfo`, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The smallest limit of the groups that this process is in (version 2, then version 1).
fn container_limit() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut limits = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            limits.extend(limits_upwards(Path::new(CGROUP_ROOT), group, "memory.max"));
        } else if controllers.split(',').any(|controller| controller == "memory") {
            limits.extend(limits_upwards(&Path::new(CGROUP_ROOT).join("memory"), group, "memory.limit_in_bytes"));
        }
    }
    limits.into_iter().min()
}

/// The limits of a group and of those above it. `max`, which is no number, means none.
fn limits_upwards(root: &Path, group: &str, file: &str) -> Vec<u64> {
    let group = Path::new(group.trim_start_matches('/'));
    let limit = |group: &Path| fs::read_to_string(root.join(group).join(file)).ok()?.trim().parse().ok();
    group.ancestors().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_total() {
        assert_eq!(total_of("MemTotal:       24519184 kB\nMemFree: 1 kB\n"), Some(24_519_184 * 1024));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
    }
}
