//! A small disk of the test's own, in a mount namespace that only its thread and what that starts are in (`unshare(2)`,
//! `mount_namespaces(7)`); needs root.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

const FILLER: &str = "filler";

/// Gone with the value.
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// A file system of `size` (tmpfs(5): `1m`) at `path`, which is made; the first of a test, before it starts anything.
    pub fn new(path: &Path, size: &str) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace needs root");
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        fs::create_dir_all(path).unwrap();
        let options = format!("size={size},mode=755");
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Self { path: path.to_owned() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all room.
    pub fn fill(&self) {
        let mut filler = File::options().append(true).create(true).open(self.path.join(FILLER)).unwrap();
        for size in [4096, 1] {
            let chunk = vec![b'x'; size];
            loop {
                match filler.write_all(&chunk) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        fs::remove_file(self.path.join(FILLER)).unwrap();
    }

    /// Lets nobody write, root neither.
    pub fn read_only(&self) {
        self.remount(MsFlags::MS_RDONLY);
    }

    pub fn writable(&self) {
        self.remount(MsFlags::empty());
    }

    fn remount(&self, flags: MsFlags) {
        let nothing = None::<&str>;
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags;
        mount(nothing, &self.path, nothing, flags, nothing).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone_with_its_namespace_anyway = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}
