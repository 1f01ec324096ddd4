//! What a process spends, read from `/proc`; on other systems nobody knows.

use std::fs;

/// Clock ticks a second in `/proc`: `USER_HZ`, which is 100 wherever Linux runs.
const TICKS_PER_S: f64 = 100.0;

/// Processor time that the process has used so far, user and system, in seconds.
pub fn cpu_s(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything; user and system time are the 14th and
    // 15th field.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_S)
}

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Files and sockets that this process may open.
pub fn open_files_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_ascii_whitespace().next());
    soft.and_then(|number| number.parse().ok()).unwrap_or(256)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_spent_something_and_is_resident() {
        let pid = std::process::id();
        assert!(cpu_s(pid).is_some_and(|seconds| seconds >= 0.0));
        assert!(resident_kib(pid).is_some_and(|kib| kib > 100.0));
        assert!(open_files_max() > 10);
        assert_eq!(cpu_s(u32::MAX), None);
    }
}
