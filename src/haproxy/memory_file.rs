//! A file that no directory holds, for what `HAProxy` is asked about but isn't to be kept.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

/// A file in memory; whatever ends the process, nothing of it stays.
#[derive(Debug)]
pub struct MemoryFile(File);

impl MemoryFile {
    /// A file that holds `text`.
    ///
    /// # Errors
    /// When there is no memory or no file descriptor left.
    pub fn new(text: &str) -> io::Result<Self> {
        let mut file = File::from(memfd_create("haproxy.cfg", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(text.as_bytes())?;
        Ok(Self(file))
    }

    /// Where processes of the same user can read it while it lives. Source: proc(5), `/proc/PID/fd`.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

/// A text that `HAProxy` reads when it starts.
#[derive(Debug)]
pub(super) enum StartFile {
    /// As it should be.
    OnDisk(PathBuf),
    /// Where the disk doesn't take it: a start must not wait for room.
    InMemory(MemoryFile),
}

impl StartFile {
    /// Where it is to be read.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::OnDisk(path) => path.clone(),
            Self::InMemory(file) => file.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_read_by_its_path_until_it_is_dropped() {
        let file = MemoryFile::new("global\n").unwrap();
        let path = file.path();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "global\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "global\n", "each reader begins at the start");
    }
}
