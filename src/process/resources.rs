//! What this process, and those that it starts, may use.

use std::fs;
use std::path::Path;

use nix::libc::RLIM_INFINITY;
use nix::sys::resource::{Resource, getrlimit};

use crate::engine::limits::Resources;

/// An older control group without a limit names one near 2^63.
const NO_LIMIT: u64 = 1 << 60;

/// Reads them now. What can't be read is taken to be unlimited.
pub fn resources() -> Resources {
    let files = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(_soft, hard)| hard);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = memory_of_group(&groups, Path::new("/sys/fs/cgroup"));
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory_of_machine(&text));
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Resources {
        open_files: files.filter(|hard| *hard != RLIM_INFINITY),
        memory: group.into_iter().chain(machine).min(),
        processors: u64::try_from(processors).unwrap_or(1),
    }
}

/// The smallest limit of the control groups that the process is in, and of those above (cgroups(7)): version 2, or 1.
fn memory_of_group(groups: &str, root: &Path) -> Option<u64> {
    let limit = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|one| one == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            return None;
        };
        let own = root.join(path.trim_start_matches('/'));
        // In a container the path may be that of the host, which isn't there.
        let above = own.ancestors().take_while(|path| path.starts_with(&root)).map(Path::to_owned);
        let files = above.map(|path| path.join(file)).filter_map(|path| fs::read_to_string(path).ok());
        files.filter_map(|text| text.trim().parse().ok()).filter(|bytes| *bytes < NO_LIMIT).min()
    };
    groups.lines().filter_map(limit).min()
}

fn memory_of_machine(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_has_is_read() {
        let resources = resources();
        assert!(resources.processors > 0 && resources.memory.unwrap() > 1 << 20);
        assert!(resources.open_files.is_none_or(|files| files >= 64), "{resources:?}");
        assert_eq!(memory_of_machine("MemFree: 1 kB\nMemTotal:        2 kB\n"), Some(2048));
    }

    #[test]
    fn the_smallest_limit_of_the_groups_above_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/memory.max", "1000000\n");
        write("a/b/memory.max", "max\n");
        assert_eq!(memory_of_group("0::/a/b\n", dir.path()), Some(1_000_000));
        assert_eq!(memory_of_group("0::/elsewhere\n", dir.path()), None);
        write("memory/x/memory.limit_in_bytes", "2000000\n");
        write("memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_of_group("5:cpu:/x\n4:memory,x:/x\n", dir.path()), Some(2_000_000));
        assert_eq!(memory_of_group("4:memory:/\n", dir.path()), None);
    }
}
