//! Files of our own in directories that others may write to, as /tmp is: no link of theirs is followed, and no file of theirs is
//! believed. The kernel's own guard (`fs.protected_symlinks`) doesn't see a link that a program reads and follows itself.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

/// Whether a file is this user's or root's.
pub fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == geteuid().as_raw() || metadata.uid() == 0
}

/// Whether `path` is there, and is another user's: a file, or a link whatever it leads to.
pub fn is_foreign(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| !is_ours(&metadata))
}

/// Makes a file in place of whatever is at `path`, with `mode` whatever the umask is.
///
/// # Errors
/// When it can't be made.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // It follows no link.
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

/// Opens the file at `path` to write, or makes it with `mode`.
///
/// # Errors
/// When it can't be opened, is a link, or is another user's.
pub fn open_or_create(path: &Path, mode: u32) -> io::Result<File> {
    let no_link = OFlag::O_NOFOLLOW.bits();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode)
        .custom_flags(no_link)
        .open(path)?;
    if is_ours(&file.metadata()?) { Ok(file) } else { Err(foreign()) }
}

/// The text of the file at `path`.
///
/// # Errors
/// When it can't be read, is no file, or is another user's.
pub fn read(path: &Path) -> io::Result<String> {
    if is_foreign(path) {
        return Err(foreign());
    }
    // Asked first: opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut file = File::open(path)?;
    if !is_ours(&file.metadata()?) {
        return Err(foreign());
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn foreign() -> io::Error {
    io::Error::other("it belongs to another user; remove it, and keep others from writing into its directory")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    /// A directory as /tmp is, and the path of a file in it; `None` where this user can't give files away.
    fn shared() -> Option<(tempfile::TempDir, std::path::PathBuf)> {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
        let path = dir.path().join("ours");
        geteuid().is_root().then_some((dir, path))
    }

    #[test]
    fn what_is_at_the_place_of_a_new_file_is_replaced_and_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("ours"), dir.path().join("other"));
        fs::write(&other, "precious").unwrap();
        symlink(&other, &path).unwrap();
        let file = create(&path, 0o640).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!path.is_symlink());
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
    }

    #[test]
    fn a_lock_is_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        drop(open_or_create(&path, 0o600).unwrap());
        drop(open_or_create(&path, 0o600).unwrap());
        let link = dir.path().join("link");
        symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert!(open_or_create(&link, 0o600).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn files_and_links_of_others_are_not_believed() {
        let Some((dir, path)) = shared() else { return };
        fs::write(&path, "text").unwrap();
        assert_eq!(read(&path).unwrap(), "text");
        chown(&path, Some(12_345), None).unwrap();
        assert!(is_foreign(&path) && open_or_create(&path, 0o600).is_err());
        assert!(read(&path).unwrap_err().to_string().contains("another user"));
        let (link, own) = (dir.path().join("link"), dir.path().join("own"));
        fs::write(&own, "text").unwrap();
        symlink(&own, &link).unwrap();
        assert_eq!(read(&link).unwrap(), "text", "a link of our own leads on");
        std::os::unix::fs::lchown(&link, Some(12_345), None).unwrap();
        assert!(read(&link).is_err());
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&pipe).is_err() && read(dir.path()).is_err());
        assert_eq!(read(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
