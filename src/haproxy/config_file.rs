//! haproxy.cfg on disk: whole or not at all, and a copy of the last one that worked.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::own_files::{create, is_foreign, is_ours};

/// For the owner and the group: the text may hold credentials.
pub const CONFIG_MODE: u32 = 0o640;
const LAST_GOOD: &str = "haproxy.cfg.last-good";

/// Why a file can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// There is no such directory.
    #[error("'{}' can't be written: its directory doesn't exist; create it", .0.display())]
    NoDirectory(PathBuf),
    /// The directory or the file system is read-only for us.
    #[error(
        "'{}' can't be written: its directory isn't writable for this user or is mounted read-only (a new file is made beside the old one and renamed)",
        .0.display()
    )]
    NotWritable(PathBuf),
    /// No space, or no inode, or a quota.
    #[error("'{}' can't be written: the disk or the quota is full; the old file is untouched, free some space", .0.display())]
    Full(PathBuf),
    /// Anything else.
    #[error("'{}' can't be {action}", path.display())]
    Other {
        /// `read` or `written`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whether the file had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It has a new text.
    Changed,
    /// It had this text already and was not touched.
    Unchanged,
}

/// Gives the file at `path` this text, so that a reader, or a crash, sees the old one or the new one whole. A symlink stays; its target is replaced.
///
/// # Errors
/// When it can't be; the old file is then untouched.
pub fn write_atomically(path: &Path, text: &str, mode: u32) -> Result<Written, ConfigFileError> {
    let target = resolve(path);
    let could_be_it = || {
        let open = |old: &fs::Metadata| old.permissions().mode() & 0o777 & !mode != 0;
        fs::metadata(&target).is_ok_and(|old| old.len() == text.len() as u64 && is_ours(&old) && !open(&old))
    };
    if could_be_it() && fs::read(&target).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(Written::Unchanged);
    }
    let write = |file: &mut dyn io::Write| file.write_all(text.as_bytes());
    let replaced = replace(&target, mode, Durable::Yes, write);
    replaced.map(|()| Written::Changed).map_err(|source| write_error(target, source))
}

/// The same without waiting for the disk, for what is written anew before it is read after a crash of the machine.
///
/// # Errors
/// When it can't be; the old file is then untouched.
pub fn write_in_one_step(path: &Path, text: &str, mode: u32) -> Result<(), ConfigFileError> {
    let target = resolve(path);
    let write = |file: &mut dyn io::Write| file.write_all(text.as_bytes());
    replace(&target, mode, Durable::No, write).map_err(|source| write_error(target, source))
}

/// The same for a text that is never in memory as a whole, and always new.
///
/// # Errors
/// When it can't be; the old file is then untouched.
pub fn stream_atomically(
    path: &Path,
    mode: u32,
    write: impl Fn(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), ConfigFileError> {
    let target = resolve(path);
    replace(&target, mode, Durable::Yes, write).map_err(|source| write_error(target, source))
}

/// Keeps `text` as the last configuration that a process served.
///
/// # Errors
/// When it can't be written.
pub fn keep_last_good(state_dir: &Path, text: &str) -> Result<Written, ConfigFileError> {
    write_atomically(&state_dir.join(LAST_GOOD), text, CONFIG_MODE)
}

/// The file that `path` names, through symlinks, even when the last one points to nothing yet. A link of another user is not
/// followed.
fn resolve(path: &Path) -> PathBuf {
    if is_foreign(path) {
        return path.to_owned();
    }
    if let Ok(target) = fs::canonicalize(path) {
        return target;
    }
    match (fs::read_link(path), path.parent()) {
        (Ok(target), Some(directory)) => directory.join(target),
        _ => path.to_owned(),
    }
}

/// Whether a file outlives a crash of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durable {
    Yes,
    No,
}

fn replace(
    target: &Path,
    mode: u32,
    durable: Durable,
    write: impl Fn(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let (Some(name), Some(directory)) = (target.file_name(), target.parent()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let temporary = directory.join(hidden);
    let written = write_new(&temporary, mode, durable, write).and_then(|()| fs::rename(&temporary, target));
    if let Err(error) = written {
        remove_if_there(&temporary)?;
        return Err(error);
    }
    match durable {
        Durable::Yes => File::open(directory)?.sync_all(),
        Durable::No => Ok(()),
    }
}

fn write_new(
    path: &Path,
    mode: u32,
    durable: Durable,
    write: impl Fn(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = create(path, mode)?;
    let mut buffered = io::BufWriter::new(&mut file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    match durable {
        Durable::Yes => file.sync_all(),
        Durable::No => Ok(()),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write_error(path: PathBuf, source: io::Error) -> ConfigFileError {
    use io::ErrorKind::{NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let kind = source.kind();
    if kind == NotFound {
        ConfigFileError::NoDirectory(path)
    } else if matches!(kind, PermissionDenied | ReadOnlyFilesystem) {
        ConfigFileError::NotWritable(path)
    } else if matches!(kind, StorageFull | QuotaExceeded) {
        ConfigFileError::Full(path)
    } else {
        ConfigFileError::Other { action: "written", path, source }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_text_replaces_the_file_and_the_same_text_leaves_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("haproxy.cfg");
        assert_eq!(write_atomically(&path, "a\n", CONFIG_MODE).unwrap(), Written::Changed);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        let inode = path.metadata().unwrap().ino();
        assert_eq!(write_atomically(&path, "a\n", CONFIG_MODE).unwrap(), Written::Unchanged);
        assert_eq!(path.metadata().unwrap().ino(), inode);
        assert_eq!(write_atomically(&path, "b\n", CONFIG_MODE).unwrap(), Written::Changed);
        assert_eq!(fs::read_to_string(&path).unwrap(), "b\n");
        assert_eq!(names(dir.path()), ["haproxy.cfg"]);
    }

    #[test]
    fn what_a_crash_left_is_cleaned_up() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".haproxy.cfg.new"), "half").unwrap();
        write_atomically(&dir.path().join("haproxy.cfg"), "a\n", CONFIG_MODE).unwrap();
        assert_eq!(names(dir.path()), ["haproxy.cfg"]);
    }

    #[test]
    fn a_symlink_stays_and_its_target_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (link, real) = (dir.path().join("link.cfg"), dir.path().join("real/haproxy.cfg"));
        fs::create_dir(dir.path().join("real")).unwrap();
        symlink("real/haproxy.cfg", &link).unwrap();
        for text in ["first\n", "second\n"] {
            write_atomically(&link, text, CONFIG_MODE).unwrap();
            assert!(link.is_symlink());
            assert_eq!(fs::read_to_string(&real).unwrap(), text);
        }
    }

    #[test]
    fn a_link_or_file_of_another_user_is_replaced() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("topology.json"), dir.path().join("precious"));
        fs::write(&other, "precious").unwrap();
        symlink(&other, &path).unwrap();
        std::os::unix::fs::lchown(&path, Some(12_345), None).unwrap();
        write_atomically(&path, "text", CONFIG_MODE).unwrap();
        assert!(!path.is_symlink());
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
        assert_eq!(write_atomically(&path, "text", CONFIG_MODE).unwrap(), Written::Changed);
        assert_eq!(path.metadata().unwrap().uid(), 0);
    }

    #[test]
    fn a_file_that_is_open_to_others_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("haproxy.cfg");
        fs::write(&path, "a\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(write_atomically(&path, "a\n", CONFIG_MODE).unwrap(), Written::Changed);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(write_atomically(&path, "a\n", CONFIG_MODE).unwrap(), Written::Unchanged);
    }

    #[test]
    fn errors_tell_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_atomically(&dir.path().join("no/haproxy.cfg"), "a", CONFIG_MODE).unwrap_err();
        assert!(error.to_string().contains("create it"), "{error}");
        let error = write_atomically(Path::new("/proc/haproxy.cfg"), "a", CONFIG_MODE).unwrap_err();
        assert!(
            matches!(error, ConfigFileError::NoDirectory(_) | ConfigFileError::NotWritable(_)),
            "{error}"
        );
        let full = write_error("/x".into(), io::ErrorKind::StorageFull.into());
        assert!(full.to_string().contains("free some space"), "{full}");
    }

    #[test]
    fn the_last_good_text_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        keep_last_good(dir.path(), "good\n").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(LAST_GOOD)).unwrap(), "good\n");
    }
}
