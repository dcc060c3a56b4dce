//! Which `HAProxy` this is.

use std::fmt;

/// A release of `HAProxy`, as `2.6.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HaproxyVersion {
    /// 2 of 2.6.12.
    pub major: u16,
    /// 6 of 2.6.12.
    pub minor: u16,
    /// 12 of 2.6.12; 0 in development versions.
    pub patch: u16,
}

impl HaproxyVersion {
    /// A version of these numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self { major, minor, patch }
    }

    /// Reads the first line of `haproxy -v` (`HAProxy version 2.6.12-1+deb12u4 2026/10/17 - ...`, before 2.4 `HA-Proxy version`), or the
    /// reply to `show version` (`2.6.12-1+deb12u4`). `None` when there is no version in it.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.trim_start().lines().next()?;
        let version = line.split_once("roxy version ").map_or(line, |(_, version)| version);
        let mut numbers = version.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        let (major, minor) = (next()?, next()?);
        Some(Self { major, minor, patch: next().unwrap_or(0) })
    }

    /// Whether it is `major.minor` or later.
    pub const fn at_least(self, major: u16, minor: u16) -> bool {
        self.major > major || (self.major == major && self.minor >= minor)
    }
}

impl fmt::Display for HaproxyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_read_from_what_haproxy_prints() {
        for (text, version) in [
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: ...", (2, 6, 12)),
            ("HA-Proxy version 2.2.9-2+deb11u6 2023/12/15 - https://haproxy.org/", (2, 2, 9)),
            ("HAProxy version 3.5-dev3-9f2a 2027/01/01", (3, 5, 0)),
            ("3.4.7\n", (3, 4, 7)),
        ] {
            assert_eq!(
                HaproxyVersion::parse(text),
                Some(HaproxyVersion::new(version.0, version.1, version.2))
            );
        }
        for bad in ["", "nginx version: nginx/1.22", "HAProxy version ", "2", "99999.1.1"] {
            assert_eq!(HaproxyVersion::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn later_majors_are_later_than_any_minor() {
        assert!(HaproxyVersion::new(3, 0, 0).at_least(2, 6));
        assert!(!HaproxyVersion::new(2, 10, 0).at_least(3, 0));
        assert!(HaproxyVersion::new(2, 6, 1).at_least(2, 6));
    }

    proptest! {
        #[test]
        fn any_text_is_a_version_or_none(text in any::<String>()) {
            let _ = HaproxyVersion::parse(&text);
        }
    }
}
