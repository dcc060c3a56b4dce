//! What this process may do as root.

use std::fs;

/// Source: linux/capability.h.
const CAP_SYS_CHROOT: u64 = 18;

/// Whether this process is root, and so are its children, and nothing takes chroot(2) from it: a root in a container or a
/// systemd unit may lack the capability, or a filter of system calls may kill who calls it.
pub fn may_chroot() -> bool {
    // Without /proc nothing is known: the answer that is always safe.
    fs::read_to_string("/proc/self/status").is_ok_and(|status| may_chroot_by(&status))
}

/// Of `/proc/PID/status`: proc(5).
fn may_chroot_by(status: &str) -> bool {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().split_ascii_whitespace()
    };
    let is_root = field("Uid").nth(1) == Some("0");
    let capabilities = field("CapEff").next().and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let is_capable = capabilities.is_some_and(|set| set & (1 << CAP_SYS_CHROOT) != 0);
    is_root && is_capable && field("Seccomp").next() == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_root_that_nothing_is_taken_from_may_chroot() {
        let status = |uid: u32, capabilities: &str, seccomp: u32| {
            format!(
                "Name:\tproxymgr\nUid:\t0\t{uid}\t0\t0\nCapEff:\t{capabilities}\nSeccomp:\t{seccomp}\nSeccomp_filters:\t0\n"
            )
        };
        assert!(may_chroot_by(&status(0, "000001ffffffffff", 0)));
        assert!(!may_chroot_by(&status(1000, "000001ffffffffff", 0)));
        assert!(!may_chroot_by(&status(0, "000001fffffbffff", 0)), "without the capability");
        assert!(!may_chroot_by(&status(0, "000001ffffffffff", 2)), "with a filter");
        assert!(!may_chroot_by(""));
    }
}
