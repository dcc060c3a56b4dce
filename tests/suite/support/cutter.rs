//! Between `ProxyMgr` and a daemon's unix socket: passes everything on until it is told not to.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub struct Cutter {
    directory: tempfile::TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    real: PathBuf,
    standing: Mutex<Vec<UnixStream>>,
    /// Connections of earlier times than this pass nothing on.
    era: AtomicUsize,
}

impl Cutter {
    /// Steps before the socket `real`.
    pub fn before(real: &Path) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shared =
            Arc::new(Shared { real: real.to_owned(), standing: Mutex::default(), era: AtomicUsize::new(0) });
        let listener = UnixListener::bind(directory.path().join("cut.sock")).unwrap();
        let accepting = Arc::clone(&shared);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                accepting.serve(&client.unwrap());
            }
        });
        Self { directory, shared }
    }

    /// As `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("cut.sock").display())
    }

    /// Ends all connections; gives how many there were since the last time.
    pub fn cut(&self) -> usize {
        let standing: Vec<_> = self.shared.standing.lock().unwrap().drain(..).collect();
        for stream in &standing {
            drop(stream.shutdown(Shutdown::Both));
        }
        standing.len()
    }

    /// Passes nothing on any more over the connections that stand.
    pub fn silence(&self) {
        self.shared.era.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, client: &UnixStream) {
        let Ok(real) = UnixStream::connect(&self.real) else { return drop(client.shutdown(Shutdown::Both)) };
        self.standing.lock().unwrap().extend([client.try_clone().unwrap(), real.try_clone().unwrap()]);
        let era = self.era.load(Ordering::Relaxed);
        for (from, to) in [(client, &real), (&real, client)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pass_on(from, to, era));
        }
    }

    fn pass_on(&self, mut from: UnixStream, mut to: UnixStream, era: usize) {
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            if self.era.load(Ordering::Relaxed) == era && to.write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Write));
    }
}
