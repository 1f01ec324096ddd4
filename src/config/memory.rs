//! How much memory there is for the process, as Linux tells it.

use std::fs;
use std::path::{Path, PathBuf};

/// The memory that the process can use, in bytes: the machine's, or what its control group (version 2 or 1) leaves
/// of it. `None` where the system does not say, as on systems other than Linux.
pub fn total_bytes() -> Option<u64> {
    let machine = meminfo_total_bytes(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group_limits = limit_files(&groups).into_iter().filter_map(|file| read_limit_bytes(&file));
    Some(group_limits.fold(machine, u64::min))
}

/// What is assumed where the machine does not say how much memory it has.
const ASSUMED_BYTES: u64 = 4 << 30;

/// [`total_bytes`], or an assumption where that is not known.
pub fn total_or_assumed_bytes() -> u64 {
    total_bytes().unwrap_or(ASSUMED_BYTES)
}

/// Memory that the process has now, in bytes. `None` where the system does not say.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn meminfo_total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The files that limit the groups of `/proc/self/cgroup`, and those of the groups around them, for both versions.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let of_line = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => Some(("/sys/fs/cgroup", path.to_owned(), "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some(("/sys/fs/cgroup/memory", path.to_owned(), "memory.limit_in_bytes"))
            }
            _ => None,
        }
    };
    let mut files = Vec::new();
    for (root, path, file) in groups.lines().filter_map(of_line) {
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            files.push(Path::new(root).join(group).join(file));
        }
    }
    files
}

/// Version 2 says `max` and version 1 a huge number where there is no limit.
fn read_limit_bytes(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_counts_in_kib() {
        assert_eq!(meminfo_total_bytes("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(meminfo_total_bytes("nothing"), None);
    }

    #[test]
    fn a_group_is_limited_by_those_around_it() {
        let files = limit_files("0::/system/leveret\n");
        let expected = ["system/leveret/memory.max", "system/memory.max", "memory.max"];
        assert_eq!(files, expected.map(|file| Path::new("/sys/fs/cgroup").join(file)));
    }

    #[test]
    fn version_1_has_a_hierarchy_for_memory() {
        let files = limit_files("5:cpu,cpuacct:/a\n4:memory:/b\n");
        let expected = ["b/memory.limit_in_bytes", "memory.limit_in_bytes"];
        assert_eq!(files, expected.map(|file| Path::new("/sys/fs/cgroup/memory").join(file)));
    }
}
