//! Servers are the lines of a file, or the entries of its list.

use std::convert::Infallible;
use std::path::PathBuf;

use tracing::{info, warn};

use super::file_format::{self, MAX_BYTES};
use super::listed_set::ListedSet;
use super::updates::Updates;
use super::{WatchError, Watcher};
use crate::directory_watch::{DirectoryWatch, bounded_read};
use crate::engine::node_rules::NodeRules;

/// Follows one file.
#[derive(Debug)]
pub struct FileWatcher {
    file: PathBuf,
    rules: NodeRules,
}

impl FileWatcher {
    /// Follows `file`, an absolute path; it need not exist yet.
    pub fn new(file: PathBuf, rules: NodeRules) -> Self {
        Self { file, rules }
    }
}

impl Watcher for FileWatcher {
    async fn watch(&mut self, out: &Updates) -> Result<Infallible, WatchError> {
        if !self.file.is_absolute() {
            return Err(WatchError::RelativePath(self.file.clone()));
        }
        // Where nothing can be watched, each attempt looks.
        let watch = DirectoryWatch::new(&self.file);
        let mut trouble = None;
        self.look(out, &mut trouble);
        let mut watch = watch?;
        loop {
            watch.changed().await?;
            self.look(out, &mut trouble);
        }
    }
}

impl FileWatcher {
    /// Publishes what the file says. One that can't be read says nothing about the servers: the last set stays.
    fn look(&self, out: &Updates, trouble: &mut Option<String>) {
        match self.read() {
            Ok(set) => {
                out.publish(set);
                if trouble.take().is_some() {
                    info!(service = %out.service(), file = %self.file.display(), "the servers' file can be read again");
                }
            }
            Err(reason) => {
                if trouble.as_ref() != Some(&reason) {
                    warn!(service = %out.service(), file = %self.file.display(), reason,
                        "the servers' file can't be read; the last known servers stay");
                }
                *trouble = Some(reason);
            }
        }
    }

    fn read(&self) -> Result<ListedSet, String> {
        let data = bounded_read(&self.file, MAX_BYTES as u64).map_err(|error| error.to_string())?;
        file_format::read(&self.file, &data, &self.rules)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::super::{drive, updates};
    use super::*;
    use crate::engine::service::ServiceName;

    async fn next(sets: &mut watch::Receiver<Option<Arc<ListedSet>>>) -> Vec<String> {
        timeout(Duration::from_secs(5), sets.changed()).await.unwrap().unwrap();
        let set = sets.borrow_and_update().clone().unwrap();
        set.servers().iter().map(|server| server.name().to_string()).collect()
    }

    #[tokio::test]
    async fn the_file_may_come_late_change_go_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let (file, aside) = (dir.path().join("servers"), dir.path().join("aside"));
        let (out, mut sets) = updates(ServiceName::parse("web").unwrap());
        let path = file.clone();
        let task =
            tokio::spawn(async move { drive(FileWatcher::new(path, NodeRules::default()), &out).await });
        fs::write(&file, "1.1.1.1:1\n").unwrap();
        assert_eq!(next(&mut sets).await, ["1.1.1.1:1"]);
        fs::write(&aside, "1.1.1.1:1\n2.2.2.2:2\n").unwrap();
        fs::rename(&aside, &file).unwrap();
        assert_eq!(next(&mut sets).await, ["1.1.1.1:1", "2.2.2.2:2"]);
        fs::remove_file(&file).unwrap();
        fs::write(&aside, "3.3.3.3:3\n").unwrap();
        fs::rename(&aside, &file).unwrap();
        assert_eq!(next(&mut sets).await, ["3.3.3.3:3"], "nothing is published while the file is gone");
        task.abort();
    }

    #[tokio::test]
    async fn a_list_that_is_half_written_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("servers.json");
        let (out, mut sets) = updates(ServiceName::parse("web").unwrap());
        let path = file.clone();
        let task =
            tokio::spawn(async move { drive(FileWatcher::new(path, NodeRules::default()), &out).await });
        fs::write(&file, r#"["1.1.1.1:1"]"#).unwrap();
        assert_eq!(next(&mut sets).await, ["1.1.1.1:1"]);
        fs::write(&file, r#"["2.2.2.2:2", "#).unwrap();
        fs::write(&file, r#"["2.2.2.2:2", "3.3.3.3:3"]"#).unwrap();
        assert_eq!(next(&mut sets).await, ["2.2.2.2:2", "3.3.3.3:3"], "nothing was published between");
        task.abort();
    }
}
