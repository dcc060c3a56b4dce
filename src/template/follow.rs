//! Follows a template's file.

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::warn;

use super::read;
use crate::directory_watch::{DirectoryWatch, DirectoryWatchError};
use crate::engine::template::Template;
use crate::panics::caught;

/// Editors and packages write a file in several steps: what lies between them is not read.
const QUIET: Duration = Duration::from_millis(150);
const RETRY: Duration = Duration::from_secs(10);

/// What a file is.
pub type Told = Result<Template, String>;

/// Follows one file.
#[derive(Debug)]
pub struct TemplateFollower {
    file: PathBuf,
    known: Option<Told>,
}

impl TemplateFollower {
    /// Follows `file`, an absolute path.
    pub fn new(file: PathBuf) -> Self {
        Self { file, known: None }
    }

    /// What it is now; `None` when that is no news.
    pub fn look(&mut self) -> Option<Told> {
        let now = read(&self.file).map_err(|error| error.to_string());
        (self.known.as_ref() != Some(&now)).then(|| self.known.insert(now).clone())
    }

    /// Sends what it is whenever that changes, for as long as somebody hears it.
    pub async fn follow(mut self, out: mpsc::Sender<Told>) {
        loop {
            let error = match caught("template", self.watch(&out)).await {
                Ok(Ok(None)) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panicked) => panicked.to_string(),
            };
            warn!(error, "the template can't be watched; trying again");
            sleep(RETRY).await;
        }
    }

    /// `None` when nobody hears it any more.
    async fn watch(&mut self, out: &mpsc::Sender<Told>) -> Result<Option<Infallible>, DirectoryWatchError> {
        let mut watch = DirectoryWatch::new(&self.file)?;
        loop {
            if let Some(told) = self.look()
                && out.send(told).await.is_err()
            {
                return Ok(None);
            }
            watch.changed().await?;
            sleep(QUIET).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::timeout;

    use super::*;

    async fn next(told: &mut mpsc::Receiver<Told>) -> Result<String, String> {
        let told = timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap();
        told.map(|template| template.source().to_owned())
    }

    #[tokio::test]
    async fn a_file_that_comes_changes_breaks_and_goes_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg.j2");
        let (out, mut told) = mpsc::channel(1);
        let task = tokio::spawn(TemplateFollower::new(file.clone()).follow(out));
        assert!(next(&mut told).await.unwrap_err().contains("can't be read"));
        fs::write(&file, "global\n").unwrap();
        assert_eq!(next(&mut told).await.as_deref(), Ok("global\n"));
        fs::write(&file, "{% if %}").unwrap();
        assert!(next(&mut told).await.unwrap_err().contains("haproxy.cfg.j2:1"));
        let other = dir.path().join("new");
        fs::write(&other, "global # new\n").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(next(&mut told).await.as_deref(), Ok("global # new\n"));
        fs::remove_file(&file).unwrap();
        assert!(next(&mut told).await.is_err());
        task.abort();
    }
}
