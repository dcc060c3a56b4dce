//! Reads and follows the files of `haproxy.include`.

mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::directory_watch::{DirectoryWatch, DirectoryWatchError};
use crate::engine::include::{IncludePattern, Includes};
use crate::panics::caught;

use read::{Found, Stamp};

/// Editors and packages write a file in several steps: what lies between them is not read...
const QUIET: Duration = Duration::from_millis(150);
/// ...as long as it lasts no longer than this.
const LONGEST: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(10);

/// Follows the files that patterns stand for.
#[derive(Debug)]
pub struct Follower {
    patterns: Vec<IncludePattern>,
    /// haproxy.cfg, which never includes itself.
    own_config: PathBuf,
    known: Option<BTreeSet<Stamp>>,
    problems: BTreeMap<String, String>,
}

impl Follower {
    /// Of these patterns; the file at `own_config` is left out.
    pub fn new(patterns: Vec<IncludePattern>, own_config: PathBuf) -> Self {
        Self { patterns, own_config, known: None, problems: BTreeMap::new() }
    }

    /// What can't be read, by file or directory, as of the last look.
    pub fn problems(&self) -> &BTreeMap<String, String> {
        &self.problems
    }

    /// The files, unless none was written or touched since the last look. As long as one can't be read the last ones stay;
    /// at the first look those that can be read count.
    pub fn look(&mut self) -> Option<Includes> {
        let found = read::find(&self.patterns, &self.own_config);
        self.take(found)
    }

    fn take(&mut self, found: Found) -> Option<Includes> {
        let first = self.known.is_none();
        for (path, problem) in &found.problems {
            if self.problems.get(path) != Some(problem) {
                let meanwhile = if first { "it is left out" } else { "the last included files stay" };
                warn!(file = path, reason = problem, "an included file can't be used; {meanwhile}");
            }
        }
        if found.problems.is_empty() && !self.problems.is_empty() {
            info!("all included files can be read again");
        }
        let bad = !found.problems.is_empty();
        self.problems = found.problems;
        if (bad && !first) || self.known.as_ref() == Some(&found.stamps) {
            return None;
        }
        self.known = Some(found.stamps);
        Some(Includes::new(found.files))
    }

    /// Sends the files whenever they may have changed, for as long as somebody hears it.
    pub async fn follow(mut self, out: mpsc::Sender<Includes>) {
        loop {
            let error = match caught("included files", self.watch(&out)).await {
                Ok(Ok(None)) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panicked) => panicked.to_string(),
            };
            warn!(error, "the included files can't be watched; trying again");
            sleep(RETRY).await;
        }
    }

    /// `None` when nobody hears it any more.
    async fn watch(
        &mut self,
        out: &mpsc::Sender<Includes>,
    ) -> Result<Option<Infallible>, DirectoryWatchError> {
        let mut watches = BTreeMap::new();
        loop {
            let found = loop {
                let found = read::find(&self.patterns, &self.own_config);
                // What changed between the look and the watch is seen by another look.
                if !arm(&mut watches, &found.directories)? {
                    break found;
                }
            };
            if let Some(includes) = self.take(found)
                && out.send(includes).await.is_err()
            {
                return Ok(None);
            }
            changed(&mut watches).await?;
            settled(&mut watches).await?;
        }
    }
}

type Watches = BTreeMap<PathBuf, DirectoryWatch>;

/// Watches these directories and no others; `true` when there is a new one among them.
fn arm(watches: &mut Watches, wanted: &BTreeSet<PathBuf>) -> Result<bool, DirectoryWatchError> {
    watches.retain(|directory, _| wanted.contains(directory));
    let new: Vec<_> = wanted.iter().filter(|directory| !watches.contains_key(*directory)).collect();
    for directory in &new {
        watches.insert((*directory).clone(), DirectoryWatch::new(directory)?);
    }
    Ok(!new.is_empty())
}

/// Waits until something may have changed in any of them. Cancel safe.
async fn changed(watches: &mut Watches) -> Result<(), DirectoryWatchError> {
    let mut all: Vec<Pin<Box<_>>> = watches.values_mut().map(|watch| Box::pin(watch.changed())).collect();
    poll_fn(|context| {
        let ready = all.iter_mut().find_map(|one| match one.as_mut().poll(context) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Waits until nothing changes any more.
async fn settled(watches: &mut Watches) -> Result<(), DirectoryWatchError> {
    let end = Instant::now() + LONGEST;
    loop {
        let quiet = (Instant::now() + QUIET).min(end);
        tokio::select! {
            result = changed(watches) => result?,
            () = sleep_until(quiet) => return Ok(()),
        }
        if Instant::now() >= end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use tokio::time::timeout;

    use super::*;

    fn patterns(patterns: &[String]) -> Vec<IncludePattern> {
        patterns.iter().map(|text| IncludePattern::parse(text).unwrap()).collect()
    }

    fn start(directory: &Path) -> (mpsc::Receiver<Includes>, tokio::task::JoinHandle<()>) {
        let patterns = patterns(&[format!("{}/*.cfg", directory.display())]);
        let (out, includes) = mpsc::channel(1);
        (includes, tokio::spawn(Follower::new(patterns, "/own".into()).follow(out)))
    }

    async fn next(includes: &mut mpsc::Receiver<Includes>) -> Vec<String> {
        let includes = timeout(Duration::from_secs(5), includes.recv()).await.unwrap().unwrap();
        let file = |file: &crate::engine::include::IncludedFile| {
            let name = Path::new(file.path()).file_name().unwrap().to_string_lossy().into_owned();
            format!("{name}={}", file.text().trim_end())
        };
        includes.files().iter().map(file).collect()
    }

    #[tokio::test]
    async fn a_late_directory_new_changed_renamed_and_removed_files_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("conf.d");
        let (mut includes, task) = start(&conf);
        assert!(next(&mut includes).await.is_empty());
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join("b.cfg"), "listen b\n").unwrap();
        fs::write(conf.join("a.cfg"), "listen a\n").unwrap();
        fs::write(conf.join("README"), "no sections").unwrap();
        assert_eq!(next(&mut includes).await, ["a.cfg=listen a", "b.cfg=listen b"]);
        fs::rename(conf.join("a.cfg"), conf.join("c.cfg")).unwrap();
        assert_eq!(next(&mut includes).await, ["b.cfg=listen b", "c.cfg=listen a"]);
        fs::remove_file(conf.join("b.cfg")).unwrap();
        assert_eq!(next(&mut includes).await, ["c.cfg=listen a"]);
        task.abort();
    }

    #[tokio::test]
    async fn an_editor_that_moves_the_file_away_first_is_seen_as_one_change() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a.cfg"), "listen a\n").unwrap();
        let (mut includes, task) = start(dir.path());
        assert_eq!(next(&mut includes).await, ["a.cfg=listen a"]);
        fs::rename(at("a.cfg"), at("a.cfg~")).unwrap();
        sleep(QUIET / 5).await;
        fs::write(at("a.cfg"), "listen b\n").unwrap();
        assert_eq!(next(&mut includes).await, ["a.cfg=listen b"]);
        task.abort();
    }

    #[tokio::test]
    async fn a_file_elsewhere_behind_a_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (conf, elsewhere) = (dir.path().join("conf.d"), dir.path().join("available"));
        fs::create_dir(&conf).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("x"), "listen a\n").unwrap();
        symlink("../available/x", conf.join("x.cfg")).unwrap();
        let (mut includes, task) = start(&conf);
        assert_eq!(next(&mut includes).await, ["x.cfg=listen a"]);
        fs::write(elsewhere.join("x"), "listen b\n").unwrap();
        assert_eq!(next(&mut includes).await, ["x.cfg=listen b"]);
        task.abort();
    }

    #[test]
    fn a_file_that_can_not_be_read_leaves_the_last_ones() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut follower =
            Follower::new(patterns(&[format!("{}/*.cfg", dir.path().display())]), at("own.cfg"));
        fs::write(at("a.cfg"), "listen a\n").unwrap();
        fs::write(at("b.cfg"), "stray line\n").unwrap();
        fs::write(at("own.cfg"), "listen own\n").unwrap();
        assert_eq!(follower.look().unwrap().files().len(), 1, "at first the good ones count");
        assert!(follower.problems()[&at("b.cfg").display().to_string()].contains("line 1: 'stray'"));
        fs::write(at("a.cfg"), "listen c\n").unwrap();
        assert_eq!(follower.look(), None);
        fs::write(at("b.cfg"), "listen b\n").unwrap();
        assert_eq!(follower.look().unwrap().files().len(), 2);
        assert!(follower.problems().is_empty());
        assert_eq!(follower.look(), None, "nothing was touched");
    }
}
