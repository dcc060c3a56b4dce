//! The one inotify instance of this process: the kernel gives a user 128 by default (`fs.inotify.max_user_instances`), and all
//! programs of a user share them.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use inotify::{Event, EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use nix::sys::signal::SigSet;
use tokio::sync::Notify;
use tracing::{debug, warn};

/// Room for some hundred events; what doesn't fit stays in the kernel.
const BUFFER_BYTES: usize = 8192;
const STACK_BYTES: usize = 64 * 1024;

static HUB: Mutex<Option<Arc<Hub>>> = Mutex::new(None);

/// Which names in a directory matter: these, and of the directory of interest itself all, or all but hidden ones.
#[derive(Debug, Default)]
pub(super) struct Interest {
    pub(super) everything: bool,
    pub(super) shown: bool,
    pub(super) names: BTreeSet<OsString>,
}

impl Interest {
    fn concerns(&self, name: Option<&OsStr>) -> bool {
        // An event without a name is about the directory itself.
        self.everything
            || name.is_none_or(|name| {
                let bytes = name.as_encoded_bytes();
                self.shown && !bytes.starts_with(b".")
                    || bytes.starts_with(b"..")
                    || self.names.contains(name)
            })
    }
}

/// What one subscriber waits for.
pub(super) type Interests = HashMap<WatchDescriptor, Interest>;

/// The inotify instance, and who is to be told what.
#[derive(Debug)]
pub(super) struct Hub {
    watches: Mutex<Watches>,
    subscribers: Mutex<HashMap<u64, (Interests, Arc<Notify>)>>,
    next_number: AtomicU64,
    failed: AtomicBool,
}

/// A place in the hub. Dropped, its watches end, unless others have them too.
#[derive(Debug)]
pub(super) struct Subscription {
    hub: Arc<Hub>,
    number: u64,
    told: Arc<Notify>,
}

/// Adds watches to those that a subscription is to have. While it lives no event is lost: none is handed out.
pub(super) struct Arming<'a> {
    hub: &'a Hub,
    subscribers: MutexGuard<'a, HashMap<u64, (Interests, Arc<Notify>)>>,
    watches: Watches,
    pub(super) wanted: Interests,
}

impl Subscription {
    /// Starts the hub if it doesn't run.
    pub(super) fn new() -> io::Result<Self> {
        let mut running = lock(&HUB);
        let hub = match &*running {
            Some(hub) if !hub.failed.load(Ordering::Relaxed) => hub.clone(),
            Some(_) | None => running.insert(Hub::start()?).clone(),
        };
        let number = hub.next_number.fetch_add(1, Ordering::Relaxed);
        let told = Arc::new(Notify::new());
        lock(&hub.subscribers).insert(number, (Interests::new(), told.clone()));
        Ok(Self { hub, number, told })
    }

    /// Waits until something of interest happened. Cancel safe.
    pub(super) async fn told(&self) -> io::Result<()> {
        self.told.notified().await;
        if self.hub.failed.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    pub(super) fn arm(&self) -> Arming<'_> {
        Arming {
            hub: &self.hub,
            subscribers: lock(&self.hub.subscribers),
            watches: lock(&self.hub.watches).clone(),
            wanted: Interests::new(),
        }
    }

    /// Has what `arming` wants from now on, and nothing else.
    pub(super) fn have(&self, arming: Arming<'_>) {
        let Arming { hub, mut subscribers, watches: _, wanted } = arming;
        let Some((interests, _)) = subscribers.get_mut(&self.number) else { return };
        let before = std::mem::replace(interests, wanted);
        hub.end_unused(before, &subscribers);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = lock(&self.hub.subscribers);
        if let Some((interests, _)) = subscribers.remove(&self.number) {
            self.hub.end_unused(interests, &subscribers);
        }
    }
}

impl Arming<'_> {
    /// Watches `directory`; asked for again, the same watch is given.
    pub(super) fn watch(&mut self, directory: &Path) -> io::Result<&mut Interest> {
        let mask = WatchMask::CREATE
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::MOVE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR
            // A watch that stands already would have no mask for a moment while it is set again, and lose what happens then
            // (Linux, `inotify_update_existing_watch`): one change in some ten thousand was never seen.
            | WatchMask::MASK_ADD;
        let watch = self.watches.add(directory, mask)?;
        Ok(self.wanted.entry(watch).or_default())
    }
}

impl Hub {
    fn start() -> io::Result<Arc<Self>> {
        let inotify = Inotify::init()?;
        let hub = Arc::new(Self {
            watches: Mutex::new(inotify.watches()),
            subscribers: Mutex::default(),
            next_number: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        });
        let own = hub.clone();
        // A thread, so that it depends on no runtime.
        std::thread::Builder::new().name("inotify".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            // Signals are the main thread's.
            if let Err(error) = SigSet::all().thread_block() {
                warn!(%error, "signals may go to another thread than the main one");
            }
            let _told_whatever_ends_it = Failing(&own);
            let error = own.hand_out_events(inotify);
            warn!(%error, "files can't be watched any more; watching begins anew");
        })?;
        Ok(hub)
    }

    fn hand_out_events(&self, mut inotify: Inotify) -> io::Error {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match inotify.read_events_blocking(&mut buffer) {
                Ok(events) => events.for_each(|event| self.hand_out(&event)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error,
            }
        }
    }

    fn hand_out(&self, event: &Event<&OsStr>) {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return self.tell_all();
        }
        // It only confirms the end of a watch, whose reason came before it.
        if event.mask.contains(EventMask::IGNORED) {
            return;
        }
        for (interests, told) in lock(&self.subscribers).values() {
            if interests.get(&event.wd).is_some_and(|interest| interest.concerns(event.name)) {
                told.notify_one();
            }
        }
    }

    fn tell_all(&self) {
        lock(&self.subscribers).values().for_each(|(_, told)| told.notify_one());
    }

    /// Ends the watches of `before` that nobody has.
    fn end_unused(&self, before: Interests, subscribers: &HashMap<u64, (Interests, Arc<Notify>)>) {
        for watch in before.into_keys() {
            let used = subscribers.values().any(|(interests, _)| interests.contains_key(&watch));
            if !used && let Err(error) = lock(&self.watches).remove(watch) {
                debug!(%error, "this inotify watch ended with its directory");
            }
        }
    }
}

/// Tells all subscribers that they have to begin anew, also after a panic.
struct Failing<'a>(&'a Hub);

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.0.failed.store(true, Ordering::Relaxed);
        self.0.tell_all();
    }
}

/// What the locks guard is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_told_when_the_thread_panics() {
        // One of its own: other tests have the shared one.
        let hub = Hub::start().unwrap();
        let told = Arc::new(Notify::new());
        lock(&hub.subscribers).insert(0, (Interests::new(), told.clone()));
        let subscription = Subscription { hub: hub.clone(), number: 0, told };
        let thread = std::thread::spawn(move || {
            let _told_whatever_ends_it = Failing(&hub);
            panic!("for whatever reason");
        });
        assert!(thread.join().is_err());
        subscription.told().await.unwrap_err();
    }
}
