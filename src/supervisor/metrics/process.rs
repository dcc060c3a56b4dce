//! What this process itself takes, from proc(5).

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::admin::exposition::{Family, whole};

/// The families that Prometheus' own clients have, too.
pub(super) fn families() -> Vec<Family> {
    let status = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let stat = Stat::parse(&status);
    let mut families = Vec::new();
    let mut known = |family: Family, value: Option<f64>| {
        families.extend(value.map(|value| family.with(&[], value)));
    };
    known(
        Family::counter("process_cpu_seconds", "User and system time that ProxyMgr took."),
        stat.as_ref().map(|stat| stat.cpu_seconds),
    );
    known(
        Family::gauge("process_resident_memory_bytes", "Memory of ProxyMgr, without HAProxy."),
        stat.as_ref().map(|stat| stat.resident_bytes),
    );
    known(
        Family::gauge(
            "process_start_time_seconds",
            "When the process started, since 1970; an upgrade keeps the process.",
        ),
        stat.as_ref().and_then(|stat| Some(stat.started_seconds + boot_time()?)),
    );
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| whole(files.count() as u64));
    known(Family::gauge("process_open_fds", "Open files."), open);
    let most = getrlimit(Resource::Nofile).current.map(whole);
    known(Family::gauge("process_max_fds", "The most open files."), most);
    families
}

/// When a file was written, in seconds from 1970.
pub(super) fn written(path: &Path) -> Option<f64> {
    let at = fs::metadata(path).ok()?.modified().ok()?;
    Some(seconds(at))
}

/// In seconds from 1970.
pub(super) fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// proc(5), `/proc/PID/stat`.
struct Stat {
    cpu_seconds: f64,
    started_seconds: f64,
    resident_bytes: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name, in brackets, may hold anything.
        let (_, after_name) = text.rsplit_once(')')?;
        let fields: Vec<u64> =
            after_name.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect();
        // The first one here is the third.
        let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
        let ticks = whole(clock_ticks_per_second());
        Some(Self {
            cpu_seconds: whole(field(14)? + field(15)?) / ticks,
            started_seconds: whole(field(22)?) / ticks,
            resident_bytes: whole(field(24)?) * whole(page_size() as u64),
        })
    }
}

/// In seconds from 1970.
fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(stat.resident_bytes > 1e5 && stat.cpu_seconds >= 0.0);
        let started = stat.started_seconds + boot_time().unwrap();
        assert!((seconds(SystemTime::now()) - started).abs() < 3600.0, "{started}");
        assert_eq!(families().len(), 5);
        assert!(Stat::parse("7 (a) b) S 1").is_none());
    }
}
