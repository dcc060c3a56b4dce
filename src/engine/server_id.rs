//! The numeric id of a server in `HAProxy`.

use std::collections::HashSet;
use std::fmt;

use super::server::ServerName;

/// A server's `id` (configuration manual, 5.2): unique in its backend, 1 to 2147483647.
///
/// Consistent hashing goes by it, so it follows from the server's name: the same after a reload or a restart, and on every
/// proxy host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u32);

impl ServerId {
    const MAX: u32 = i32::MAX.unsigned_abs();

    /// The id that a server of this name has unless another one took it (FNV-1a of the name).
    pub fn preferred(name: &ServerName) -> Self {
        let hash = name
            .as_str()
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self(hash % Self::MAX + 1)
    }

    /// The id after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 % Self::MAX + 1)
    }

    /// Its number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// An id that `HAProxy` reported.
    pub fn reported(id: u32) -> Self {
        Self(id)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An id that no server in `taken` has, by preference the one that the name gives; it is taken from now on.
pub(super) fn take_id(taken: &mut HashSet<ServerId>, name: &ServerName) -> ServerId {
    let mut id = ServerId::preferred(name);
    while !taken.insert(id) {
        id = id.next();
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_names_and_wrap_within_haproxys_range() {
        let name = ServerName::reported("1.2.3.4:80");
        assert_eq!(ServerId::preferred(&name), ServerId::preferred(&name));
        assert_eq!(ServerId(ServerId::MAX).next(), ServerId(1));
        assert_eq!(ServerId(1).next(), ServerId(2));
    }
}
