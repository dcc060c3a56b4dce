//! One look at the files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::directory_watch::bounded_read;
use crate::engine::include::{IncludePattern, IncludedFile};
use crate::engine::printable::printable;

/// More than any hand-written file needs.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// All files together, in bytes.
const MAX_BYTES: usize = 4 << 20;
const MAX_FILES: usize = 500;

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In the order of the patterns, those of one pattern by name, each once.
    pub(super) files: Vec<IncludedFile>,
    /// Of all files, the bad ones too.
    pub(super) stamps: BTreeSet<Stamp>,
    /// By file or directory.
    pub(super) problems: BTreeMap<String, String>,
    /// Where a change would change all this.
    pub(super) directories: BTreeSet<PathBuf>,
}

/// What tells one state of a file from another, be its text the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    path: PathBuf,
    inode: (u64, u64),
    modified: (i64, i64),
    length: u64,
}

/// Looks at all that `patterns` stand for, but not at `own_config`.
pub(super) fn find(patterns: &[IncludePattern], own_config: &Path) -> Found {
    let own_config = own_config.canonicalize().unwrap_or_else(|_missing| own_config.to_owned());
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for pattern in patterns {
        found.directories.insert(pattern.directory().to_owned());
        for path in found.paths_of(pattern) {
            if path.canonicalize().is_ok_and(|real| real == own_config) || !seen.insert(path.clone()) {
                continue;
            }
            found.add(&path, &mut bytes);
        }
    }
    found
}

impl Found {
    fn paths_of(&mut self, pattern: &IncludePattern) -> BTreeSet<PathBuf> {
        let listed = fs::read_dir(pattern.directory()).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        match listed {
            Ok(entries) => {
                let meant =
                    entries.iter().filter(|entry| pattern.matches(&entry.file_name().to_string_lossy()));
                meant.map(fs::DirEntry::path).collect()
            }
            // It is waited for.
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                self.problem(pattern.directory(), format!("the directory can't be read: {error}"));
                BTreeSet::new()
            }
        }
    }

    fn add(&mut self, path: &Path, bytes: &mut usize) {
        let read = fs::metadata(path).and_then(|metadata| {
            self.stamps.insert(Stamp::of(path, &metadata));
            bounded_read(path, MAX_FILE_BYTES)
        });
        if let Some(real) = path.canonicalize().ok().as_deref().and_then(Path::parent)
            && path.parent().and_then(|directory| directory.canonicalize().ok()).as_deref() != Some(real)
        {
            self.directories.insert(real.to_owned());
        }
        let data = match read {
            Ok(data) => data,
            // Gone again since the directory was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
                return;
            }
            Err(error) => return self.problem(path, format!("it can't be read: {error}")),
        };
        *bytes += data.len();
        if self.files.len() >= MAX_FILES || *bytes > MAX_BYTES {
            let most =
                format!("there are more than {MAX_FILES} included files, or {MAX_BYTES} bytes in them");
            return self.problem(path, most);
        }
        match IncludedFile::new(path, &data) {
            Ok(file) => self.files.push(file),
            Err(error) => self.problem(path, error.to_string()),
        }
    }

    fn problem(&mut self, path: &Path, problem: String) {
        self.problems.insert(printable(&path.to_string_lossy()), problem);
    }
}

impl Stamp {
    fn of(path: &Path, metadata: &fs::Metadata) -> Self {
        Self {
            path: path.to_owned(),
            inode: (metadata.dev(), metadata.ino()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            length: metadata.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_keep_their_order_and_each_file_comes_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["b.cfg", "a.cfg", "z.conf", ".hidden.cfg"] {
            fs::write(at(name), format!("backend {name}\n")).unwrap();
        }
        fs::create_dir(at("d.cfg")).unwrap();
        let pattern =
            |name: &str| IncludePattern::parse(&format!("{}/{name}", dir.path().display())).unwrap();
        let found = find(&[pattern("z.conf"), pattern("*.cfg"), pattern("?.c*"), pattern("no")], &at("own"));
        let sections: Vec<_> = found.files.iter().flat_map(IncludedFile::sections).collect();
        assert_eq!(sections, ["z.conf", "a.cfg", "b.cfg"]);
        assert!(found.problems[&at("d.cfg").display().to_string()].contains("no regular file"));
    }

    #[test]
    fn files_are_bounded_in_size_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: String| dir.path().join(name);
        fs::write(at("huge.cfg".into()), vec![b'#'; (1 << 20) + 1]).unwrap();
        for index in 0..5 {
            fs::write(at(format!("large{index}.cfg")), vec![b'#'; 1 << 20]).unwrap();
        }
        let pattern = IncludePattern::parse(&format!("{}/*.cfg", dir.path().display())).unwrap();
        let found = find(&[pattern], Path::new("/own"));
        assert_eq!((found.files.len(), found.problems.len()), (4, 2), "{:?}", found.problems);
    }
}
