//! What systemd is for a service that speaks with it: it listens on `NOTIFY_SOCKET`, keeps files (FDSTORE in `sd_notify(3)`),
//! and passes them to the next start (`sd_listen_fds(3)`). The real one is in packaging/tests.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::proxymgr_setup::Setup;

type Kept = Arc<Mutex<Vec<(String, OwnedFd)>>>;

/// A service manager. Its files are closed with it.
pub struct ServiceManager {
    kept: Kept,
    ended: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
    path: std::path::PathBuf,
}

impl ServiceManager {
    /// Listens in `directory`.
    pub fn new(directory: &Path) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (kept, ended) = (Kept::default(), Arc::new(AtomicBool::new(false)));
        let (to_keep, asked_to_end) = (Arc::clone(&kept), Arc::clone(&ended));
        let listener = std::thread::spawn(move || {
            while !asked_to_end.load(Ordering::Relaxed) {
                hear(&socket, &to_keep);
            }
        });
        Self { kept, ended, listener: Some(listener), path }
    }

    /// `setup` as this manager would start it now.
    pub fn with(&self, setup: &Setup) -> Setup {
        let mut kept = self.kept.lock().unwrap();
        kept.retain(|(_, file)| !hung_up(file));
        let files = kept.iter().map(|(name, file)| (name.clone(), file.try_clone().unwrap())).collect();
        setup.clone().variable("NOTIFY_SOCKET", self.path.to_str().unwrap()).passing(files)
    }

    /// The names of what is kept, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.kept.lock().unwrap().iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
    }
}

fn hear(socket: &UnixDatagram, kept: &Kept) {
    let (mut text, mut space) = ([0; 4096], [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))]);
    let mut parts = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut text)];
    let Ok(message) = recvmsg(socket, &mut into, &mut parts, RecvFlags::CMSG_CLOEXEC) else { return };
    let mut files = Vec::new();
    for part in parts.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = part {
            files.extend(some);
        }
    }
    let length = message.bytes;
    let text = String::from_utf8_lossy(&text[..length]).into_owned();
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).map(str::to_owned);
    let mut kept = kept.lock().unwrap();
    let has = |line: &str| text.lines().any(|found| found == line);
    match name {
        Some(name) if has("FDSTORE=1") => {
            // systemd keeps the same file once.
            kept.retain(|(known, _)| *known != name);
            kept.extend(files.into_iter().map(|file| (name.clone(), file)));
        }
        Some(name) if has("FDSTOREREMOVE=1") => kept.retain(|(known, _)| *known != name),
        _ => {}
    }
}

fn hung_up(file: &OwnedFd) -> bool {
    let mut looked_at = [PollFd::new(file.as_fd(), PollFlags::empty())];
    poll(&mut looked_at, PollTimeout::ZERO).unwrap();
    looked_at[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}
