//! Definitions are files in a directory, or the entries of one file.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tracing::{info, warn};

use super::listing::{Entry, Listing, MAX_BYTES, RawDefinition};
use super::{Listings, SourceError, publish};
use crate::directory_watch::{DirectoryWatch, bounded_read};
use crate::document::{self, Format};
use crate::engine::printable::printable;

pub(super) async fn follow(path: &Path, out: &Listings) -> Result<Infallible, SourceError> {
    // Where nothing can be watched, each attempt looks.
    let watch = DirectoryWatch::of_shown(path);
    let mut files = Files::new();
    let mut trouble = None;
    look(path, &mut files, out, &mut trouble);
    let mut watch = watch?;
    loop {
        watch.changed().await?;
        look(path, &mut files, out, &mut trouble);
    }
}

/// What was read of files that have not changed since: of thousands one changes at a time.
type Files = HashMap<PathBuf, (Stamp, Entry)>;

/// What another content of a file can't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// The coarsest clock of a file system ticks in steps of two seconds.
const TICK: Duration = Duration::from_secs(3);

impl Stamp {
    /// `None` while one more change could leave it as it is, within a tick of the clock.
    fn of(metadata: &Metadata, now: SystemTime) -> Option<Self> {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let seconds = u64::try_from(changed.0).ok()?;
        let is_at_rest = now.duration_since(UNIX_EPOCH + Duration::from_secs(seconds)).ok()? > TICK;
        let (device, inode, bytes) = (metadata.dev(), metadata.ino(), metadata.len());
        is_at_rest.then_some(Self { device, inode, bytes, changed })
    }
}

/// Publishes what is there. What can't be read is no list: the last one stays.
fn look(path: &Path, files: &mut Files, out: &Listings, trouble: &mut Option<String>) {
    let known = out.borrow().clone().unwrap_or_default();
    match read(path, files, &known, SystemTime::now()) {
        Ok(listing) => {
            publish(out, listing);
            if trouble.take().is_some() {
                info!(path = %path.display(), "the list of services can be read again");
            }
        }
        Err(reason) => {
            if trouble.as_ref() != Some(&reason) {
                warn!(path = %path.display(), reason, "the list of services can't be read; waiting for a change, the last known list stays");
            }
            *trouble = Some(reason);
        }
    }
}

fn read(path: &Path, files: &mut Files, known: &Listing, now: SystemTime) -> Result<Listing, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_dir() {
        read_directory(path, files, known, now).map_err(|error| error.to_string())
    } else {
        read_single(path)
    }
}

fn format_of(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "json" => Some(Format::Json),
        "yml" | "yaml" => Some(Format::Yaml),
        _ => None,
    }
}

fn read_directory(
    directory: &Path,
    files: &mut Files,
    known: &Listing,
    now: SystemTime,
) -> io::Result<Listing> {
    let mut before = std::mem::take(files);
    let mut by_name: BTreeMap<String, Entry> = BTreeMap::new();
    for file in fs::read_dir(directory)? {
        let path = file?.path();
        let (Some(format), Some(stem)) = (format_of(&path), path.file_stem()) else { continue };
        let name = stem.to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let stamp = fs::metadata(&path).ok().and_then(|metadata| Stamp::of(&metadata, now));
        let unchanged = before.remove(&path).filter(|(last, _)| Some(*last) == stamp);
        let entry = match unchanged {
            Some((_, entry)) => entry,
            None => match read_entry(&path, format, known.contains_key(&name)) {
                Some(entry) => entry,
                None => continue,
            },
        };
        if let (Some(stamp), Entry::Definition(_)) = (stamp, &entry) {
            files.insert(path, (stamp, entry.clone()));
        }
        let entry = match by_name.get(&name) {
            None => entry,
            Some(other) => {
                let mut both = [other.origin().to_owned(), entry.origin().to_owned()];
                both.sort();
                let reason = format!("{} define it: remove all but one", both.join(" and "));
                Entry::Unreadable { origin: printable(&directory.to_string_lossy()), reason }
            }
        };
        by_name.insert(name, entry);
    }
    Ok(by_name)
}

/// One file of a directory; `None` when it is gone again, or about to be written for the first time.
fn read_entry(path: &Path, format: Format, known: bool) -> Option<Entry> {
    let origin = printable(&path.to_string_lossy());
    match bounded_read(path, MAX_BYTES as u64) {
        Ok(data) if data.is_empty() && !known => None,
        Ok(data) => Some(Entry::Definition(RawDefinition { data: data.into(), format, origin })),
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => None,
        Err(error) => Some(Entry::Unreadable { origin, reason: format!("the file can't be read: {error}") }),
    }
}

fn read_single(file: &Path) -> Result<Listing, String> {
    let data = bounded_read(file, MAX_BYTES as u64).map_err(|error| error.to_string())?;
    // YAML takes JSON too, so it is the better guess for a file without a known ending.
    let map = document::read_map(&data, format_of(file).unwrap_or(Format::Yaml), MAX_BYTES)
        .map_err(|error| printable(&error.to_string()))?;
    let entry = |(name, definition): (String, Value)| {
        let origin = format!("{}, entry {}", printable(&file.to_string_lossy()), printable(&name));
        let data: Arc<[u8]> = definition.to_string().into_bytes().into();
        (name, Entry::Definition(RawDefinition { data, format: Format::Json, origin }))
    };
    Ok(map.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::time::Duration;

    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::*;

    fn start(path: PathBuf) -> (watch::Receiver<Option<Listing>>, tokio::task::JoinHandle<()>) {
        let (out, listings) = watch::channel(None);
        let task = tokio::spawn(async move {
            follow(&path, &out).await.unwrap();
        });
        (listings, task)
    }

    async fn next(listings: &mut watch::Receiver<Option<Listing>>) -> Listing {
        timeout(Duration::from_secs(5), listings.changed()).await.unwrap().unwrap();
        listings.borrow_and_update().clone().unwrap()
    }

    fn put(path: &Path, text: &str) {
        let aside = path.with_extension("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, path).unwrap();
    }

    fn text(entry: &Entry) -> &str {
        match entry {
            Entry::Definition(raw) => str::from_utf8(&raw.data).unwrap(),
            Entry::Unreadable { reason, .. } => reason,
        }
    }

    #[tokio::test]
    async fn a_directory_that_comes_late_is_listed_and_followed() {
        let dir = tempfile::tempdir().unwrap();
        let services = dir.path().join("services");
        let (mut listings, task) = start(services.clone());
        let ready = dir.path().join("ready");
        fs::create_dir(&ready).unwrap();
        for (file, text) in [("web.json", "1"), ("db.yml", "2"), (".hidden.json", "3"), ("README.md", "4")] {
            fs::write(ready.join(file), text).unwrap();
        }
        fs::rename(&ready, &services).unwrap();
        let listing = next(&mut listings).await;
        assert_eq!(listing.keys().collect::<Vec<_>>(), ["db", "web"]);
        put(&services.join("web.json"), "5");
        assert_eq!(text(&next(&mut listings).await["web"]), "5");
        fs::remove_file(services.join("db.yml")).unwrap();
        assert_eq!(next(&mut listings).await.keys().collect::<Vec<_>>(), ["web"]);
        symlink("/nonexistent", services.join("lost.json")).unwrap();
        assert!(text(&next(&mut listings).await["lost"]).contains("can't be read"));
        put(&services.join("web.yaml"), "6");
        assert!(text(&next(&mut listings).await["web"]).contains("remove all but one"));
        task.abort();
    }

    #[test]
    fn a_file_at_rest_is_not_read_again_until_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (path, known) = (dir.path().join("web.json"), Listing::new());
        put(&path, "1");
        let mut files = Files::new();
        let seen = |files: &mut Files, now: SystemTime| {
            text(&read(dir.path(), files, &known, now).unwrap()["web"]).to_owned()
        };
        let later = SystemTime::now() + 2 * TICK;
        assert_eq!(
            (seen(&mut files, SystemTime::now()).as_str(), files.len()),
            ("1", 0),
            "it may be written just now"
        );
        assert_eq!((seen(&mut files, later).as_str(), files.len()), ("1", 1));
        let remembered =
            |data: &[u8]| RawDefinition { data: data.into(), format: Format::Json, origin: String::new() };
        for (_, entry) in files.values_mut() {
            *entry = Entry::Definition(remembered(b"what is known of it"));
        }
        assert_eq!(seen(&mut files, later), "what is known of it");
        // As long as before, over it and in its place, as soon as the clock has ticked.
        put(&path, "2");
        assert_eq!(seen(&mut files, later), "2");
        for attempt in 0.. {
            fs::write(&path, "3").unwrap();
            if seen(&mut files, later) == "3" {
                break;
            }
            assert!(attempt < 1_000_000, "a write that can't be told");
        }
    }

    #[tokio::test]
    async fn one_file_maps_names_to_definitions_and_a_broken_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("services.yml");
        fs::write(&file, "web: {port: 1}\n").unwrap();
        let (mut listings, task) = start(file.clone());
        assert_eq!(text(&next(&mut listings).await["web"]), "{\"port\":1}");
        put(&file, "web: {port: 1}\nweb: {port: 2}\n");
        put(&file, "web: [\n");
        fs::remove_file(&file).unwrap();
        put(&file, "web: {port: 3}\n");
        assert_eq!(text(&next(&mut listings).await["web"]), "{\"port\":3}");
        task.abort();
    }
}
