//! The files of routes: what a new process loads, and what the serving one holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tracing::{debug, warn};

use super::config_file::{CONFIG_MODE, ConfigFileError, write_in_one_step};
use crate::engine::error_text::with_causes;
use crate::engine::http_frontend::MapFile;

/// What the files hold; a change of a route is a few bytes of them.
#[derive(Debug, Default)]
pub(super) struct RouteFiles(BTreeMap<MapFile, Arc<str>>);

impl RouteFiles {
    /// Writes those of `routes` that differ.
    ///
    /// # Errors
    /// When one can't be written; the others are as they were, or new.
    pub(super) fn write(&mut self, routes: &BTreeMap<MapFile, Arc<str>>) -> Result<(), ConfigFileError> {
        for (file, text) in routes {
            let path = Path::new(file.as_str());
            if self.0.get(file) != Some(text) || !path.exists() {
                self.0.remove(file);
                write_in_one_step(path, text, CONFIG_MODE)?;
                self.0.insert(file.clone(), text.clone());
            }
        }
        Ok(())
    }

    /// The same beside what else is done: they may be large.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn write_aside(
        &mut self,
        routes: BTreeMap<MapFile, Arc<str>>,
    ) -> Result<(), ConfigFileError> {
        let mut files = std::mem::take(self);
        let written = tokio::task::spawn_blocking(move || {
            let result = files.write(&routes);
            (files, result)
        });
        // The order panics with it.
        let (files, result) =
            written.await.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()));
        *self = files;
        result
    }

    /// Removes those from `directory` that aren't `needed` any more: no process reads one after its start.
    pub(super) fn keep_only(&mut self, needed: &BTreeMap<MapFile, Arc<str>>, directory: &Path) {
        self.0.retain(|file, _| needed.contains_key(file));
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => return debug!(%error, "files of routes that nobody needs may stay"),
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let file = path.to_str().and_then(MapFile::parse);
            if file.is_some_and(|file| !needed.contains_key(&file))
                && let Err(error) = fs::remove_file(&path)
            {
                debug!(path = %path.display(), %error, "a file of routes that nobody needs stays");
            }
        }
    }

    /// What they hold now.
    pub(super) fn current(&self) -> BTreeMap<MapFile, Arc<str>> {
        self.0.clone()
    }

    /// Goes back to what they held before.
    pub(super) fn restore(&mut self, before: &BTreeMap<MapFile, Arc<str>>) {
        if let Err(error) = self.write(before) {
            warn!(error = with_causes(&error), "a file of routes does not say what runs");
        }
    }
}

/// What `show map FILE` tells: an address, the key and what it leads to, on each line (management guide, 9.3).
pub(super) fn parse_map(reply: &str) -> BTreeMap<String, Vec<String>> {
    let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in reply.lines() {
        let mut words = line.split_ascii_whitespace().skip(1);
        if let (Some(key), value) = (words.next(), words.next().unwrap_or_default()) {
            entries.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::route::FrontendName;
    use crate::engine::service::UnixPath;

    #[test]
    fn files_are_written_when_they_differ_and_go_back_after_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let directory = UnixPath::parse(dir.path().to_str().unwrap()).unwrap();
        let file = MapFile::new(&directory, &FrontendName::parse("http-in").unwrap());
        let read = || fs::read_to_string(file.as_str()).unwrap();
        let mut files = RouteFiles::default();
        files.write(&[(file.clone(), "/a/ web/0\n".into())].into()).unwrap();
        let before = files.current();
        files.write(&[(file.clone(), "".into())].into()).unwrap();
        assert_eq!(read(), "");
        files.restore(&before);
        assert_eq!(read(), "/a/ web/0\n");
        // Whoever takes it away gets it again.
        fs::remove_file(file.as_str()).unwrap();
        files.write(&before).unwrap();
        assert_eq!(read(), "/a/ web/0\n");
        drop(dir);
        assert!(files.write(&before).is_err());
    }

    #[test]
    fn files_of_frontends_that_are_gone_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let directory = UnixPath::parse(dir.path().to_str().unwrap()).unwrap();
        let [stays, goes] =
            ["in", "out"].map(|name| MapFile::new(&directory, &FrontendName::parse(name).unwrap()));
        let mut files = RouteFiles::default();
        files.write(&[(stays.clone(), "".into()), (goes.clone(), "".into())].into()).unwrap();
        let other = dir.path().join("routes-of mine.map");
        fs::write(&other, "").unwrap();
        // One that a predecessor wrote is known by its name alone.
        RouteFiles::default().keep_only(&[(stays.clone(), "".into())].into(), dir.path());
        let is_there = |file: &MapFile| Path::new(file.as_str()).exists();
        assert!(is_there(&stays) && !is_there(&goes) && other.exists());
    }

    #[test]
    fn a_map_is_read_with_what_stands_there_twice() {
        let entries = parse_map("0x55c3284786a0 / b/0\n0x1 /a/ web/1\n0x2 /a/ web/0\n\n");
        let expected = [("/", vec!["b/0"]), ("/a/", vec!["web/1", "web/0"])];
        let expected =
            expected.map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()));
        assert_eq!(entries, expected.into());
    }
}
