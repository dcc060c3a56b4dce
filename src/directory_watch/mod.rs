//! Tells when a file or a directory may have changed, by inotify on directories.
//!
//! A watch on a file dies with the file (rename over it, Kubernetes' `..data` swap), so directories are watched: the one of
//! interest, the one that it resolves to through symlinks, and all above them for the next name on the way. The last makes a
//! missing or re-created directory an ordinary change. Nothing is polled.

mod bounded_read;
mod hub;

use std::io;
use std::path::{Path, PathBuf};

pub use bounded_read::bounded_read;
use hub::{Arming, Subscription};

/// A file or directory that is watched until this is dropped.
#[derive(Debug)]
pub struct DirectoryWatch {
    path: PathBuf,
    /// Whether names that begin with a dot make a difference.
    hidden: bool,
    subscription: Subscription,
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryWatchError {
    /// The kernel gave no inotify instance.
    #[error(
        "inotify isn't available ({0}); raise fs.inotify.max_user_instances, or the limit of open files (ulimit -n)"
    )]
    Instance(#[source] io::Error),
    /// Not even the root directory could be watched.
    #[error("'{path}' can't be watched ({source}); raise fs.inotify.max_user_watches, or check the permissions", path = path.display())]
    Watch {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Events can't be read any more.
    #[error("inotify events can't be read: {0}")]
    Read(#[source] io::Error),
}

impl DirectoryWatch {
    /// Watches `path`, an absolute path to a file or a directory, whether or not it exists. Changes from now on are seen, so
    /// read the file after this, not before.
    ///
    /// # Errors
    /// When the kernel refuses an inotify instance or any watch.
    pub fn new(path: &Path) -> Result<Self, DirectoryWatchError> {
        Self::with(path, true)
    }

    /// The same for a directory in which names that begin with a dot make no difference, as of files that are being written.
    ///
    /// # Errors
    /// As above.
    pub fn of_shown(path: &Path) -> Result<Self, DirectoryWatchError> {
        Self::with(path, false)
    }

    fn with(path: &Path, hidden: bool) -> Result<Self, DirectoryWatchError> {
        let subscription = Subscription::new().map_err(DirectoryWatchError::Instance)?;
        let watch = Self { path: path.to_owned(), hidden, subscription };
        watch.arm()?;
        Ok(watch)
    }

    /// Waits until something may have changed; all that is at hand counts as one change. Cancel safe.
    ///
    /// # Errors
    /// When events can't be read, or nothing can be watched any more.
    pub async fn changed(&mut self) -> Result<(), DirectoryWatchError> {
        self.subscription.told().await.map_err(DirectoryWatchError::Read)?;
        self.arm()
    }

    /// Sets the watches that the file system as it is now calls for. What appears while they are set is found by the second
    /// look: each level is watched before the next one is looked at.
    fn arm(&self) -> Result<(), DirectoryWatchError> {
        let mut arming = self.subscription.arm();
        let mut armed = arm_way_to(&self.path, self.hidden, &mut arming);
        if let Ok(resolved) = self.path.canonicalize()
            && resolved != self.path
        {
            armed = armed.and(arm_way_to(&resolved, self.hidden, &mut arming));
        }
        self.subscription.have(arming);
        armed
    }
}

fn arm_way_to(path: &Path, hidden: bool, arming: &mut Arming<'_>) -> Result<(), DirectoryWatchError> {
    // A refusal above the deepest directory that exists only hides renames up there.
    let mut refused = None;
    let mut way: Vec<_> = path.ancestors().collect();
    way.reverse();
    for (level, directory) in way.iter().enumerate() {
        match arming.watch(directory) {
            Ok(interest) => {
                refused = None;
                match way.get(level + 1).and_then(|next| next.file_name()) {
                    Some(next) => {
                        interest.names.insert(next.to_owned());
                    }
                    None if hidden => interest.everything = true,
                    None => interest.shown = true,
                }
            }
            // The end of the way: missing, or the file itself.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                break;
            }
            Err(source) => {
                refused = Some(DirectoryWatchError::Watch { path: directory.to_path_buf(), source });
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn seen(watch: &mut DirectoryWatch) -> bool {
        timeout(Duration::from_secs(5), watch.changed()).await.map(Result::unwrap).is_ok()
    }

    /// Nothing is at hand: a marker written now is the next thing that a second watch sees, and `watch` sees nothing before.
    async fn silent(watch: &mut DirectoryWatch, elsewhere: &Path) -> bool {
        let marker = elsewhere.join("marker");
        let mut other = DirectoryWatch::new(&marker).unwrap();
        fs::write(&marker, "x").unwrap();
        assert!(seen(&mut other).await);
        tokio::select! {
            biased;
            _ = watch.changed() => false,
            () = std::future::ready(()) => true,
        }
    }

    #[tokio::test]
    async fn a_file_written_renamed_over_or_removed_is_seen_and_its_neighbours_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("servers");
        let mut watch = DirectoryWatch::new(&file).unwrap();
        for round in 0..3 {
            fs::write(&file, format!("{round}")).unwrap();
            assert!(seen(&mut watch).await, "written");
            fs::write(dir.path().join("new"), "n").unwrap();
            fs::rename(dir.path().join("new"), &file).unwrap();
            assert!(seen(&mut watch).await, "renamed over");
            fs::remove_file(&file).unwrap();
            assert!(seen(&mut watch).await, "removed");
        }
        fs::write(dir.path().join("neighbour"), "n").unwrap();
        assert!(silent(&mut watch, dir.path()).await);
    }

    #[tokio::test]
    async fn no_change_is_lost_while_others_begin_to_watch() {
        // Where a watch is replaced, one change in some 30,000 is lost here.
        let dir = tempfile::tempdir().unwrap();
        let (file, new) = (dir.path().join("servers"), dir.path().join("new"));
        let mut watch = DirectoryWatch::new(&file).unwrap();
        let other = DirectoryWatch::new(&dir.path().join("other")).unwrap();
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let others = std::thread::spawn(move || {
            while end.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                other.arm().unwrap();
            }
        });
        for round in 0..20_000 {
            fs::write(&new, "").unwrap();
            fs::rename(&new, &file).unwrap();
            assert!(seen(&mut watch).await, "in round {round}");
        }
        drop(ended);
        others.join().unwrap();
    }

    #[tokio::test]
    async fn a_kubernetes_data_swap_is_seen_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let swap = |version: &str| {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("web.json"), version).unwrap();
            symlink(version, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        swap("..1");
        symlink("..data/web.json", at("web.json")).unwrap();
        let mut file = DirectoryWatch::new(&at("web.json")).unwrap();
        let mut directory = DirectoryWatch::new(dir.path()).unwrap();
        for version in ["..2", "..3", "..4"] {
            swap(version);
            assert!(seen(&mut file).await && seen(&mut directory).await);
            assert_eq!(fs::read_to_string(at("web.json")).unwrap(), version);
        }
    }

    #[tokio::test]
    async fn a_thousand_files_take_one_inotify_instance() {
        let instances = || {
            let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
            files
                .filter(|file| fs::read_link(file.path()).is_ok_and(|to| to.ends_with("anon_inode:inotify")))
                .count()
        };
        let dir = tempfile::tempdir().unwrap();
        let path = |number: usize| dir.path().join(number.to_string());
        let mut watches: Vec<_> =
            (0..1000).map(|number| DirectoryWatch::new(&path(number)).unwrap()).collect();
        assert_eq!(instances(), 1);
        drop(watches.drain(..500));
        for (number, watch) in watches.iter_mut().enumerate().step_by(100) {
            fs::write(path(500 + number), "x").unwrap();
            assert!(seen(watch).await);
        }
        assert!(silent(&mut watches[1], dir.path()).await);
    }

    #[tokio::test]
    async fn a_directory_made_late_and_made_again_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (top, deep) = (dir.path().join("a"), dir.path().join("a/b/c"));
        let mut watch = DirectoryWatch::new(&deep).unwrap();
        for _ in 0..3 {
            fs::create_dir_all(&deep).unwrap();
            assert!(seen(&mut watch).await, "made");
            fs::write(deep.join("x"), "x").unwrap();
            assert!(seen(&mut watch).await, "written to");
            fs::rename(&top, dir.path().join("gone")).unwrap();
            assert!(seen(&mut watch).await, "renamed away above");
            fs::remove_dir_all(dir.path().join("gone")).unwrap();
        }
    }
}
