//! Opens the control socket and takes clients, as many as do no harm.

use std::io;
use std::os::unix::net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::connection::{Connection, line_of};
use super::protocol::{Failure, FailureCode, Hello, Reply};
use super::request::Asked;
use super::socket_in;
use crate::unix_listener::{self, SocketFile};

/// The most clients at a time.
const MOST_CLIENTS: usize = 32;
const BACKLOG: i32 = 64;
const OWNER_ONLY: u32 = 0o600;
/// Another try to open the socket.
const RETRY: Duration = Duration::from_secs(5);
/// A pause when no client can be taken, as when no file is left.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// The open control socket; its file goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    _file: SocketFile,
}

impl Listener {
    /// Opens `control.sock` in `runtime_dir`. What a dead process left there is replaced.
    ///
    /// # Errors
    /// `AddrInUse` when a live one listens there; or whatever the kernel refuses.
    pub fn open(runtime_dir: &Path) -> io::Result<Self> {
        let opened = unix_listener::UnixListener::open(&socket_in(runtime_dir), Some(OWNER_ONLY), BACKLOG)?;
        let (socket, file) = opened.into_parts();
        Ok(Self { socket: UnixListener::from_std(net::UnixListener::from(socket))?, _file: file })
    }
}

/// Takes clients until dropped, and passes on what they ask. Without a `listener` it tries on to open one.
pub async fn run(runtime_dir: PathBuf, listener: Option<Listener>, requests: mpsc::Sender<Asked>) {
    let listener = match listener {
        Some(listener) => listener,
        None => open_at_last(&runtime_dir).await,
    };
    let hello = Arc::new(Hello::of_this_program());
    let room = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        let stream = match listener.socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "no client of the control socket can be taken");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (hello, requests) = (hello.clone(), requests.clone());
        match (refusal(&stream), room.clone().try_acquire_owned()) {
            (None, Ok(place)) => {
                tokio::spawn(async move {
                    if let Err(error) = Connection::new(stream, requests).serve(&hello).await {
                        debug!(%error, "a client of the control socket left early");
                    }
                    drop(place);
                });
            }
            (Some(failure), _) => turn_away(&stream, failure),
            (None, Err(_full)) => {
                let message = format!("{MOST_CLIENTS} clients are connected already; try again");
                turn_away(&stream, Failure::new(FailureCode::Busy, message));
            }
        }
    }
}

async fn open_at_last(runtime_dir: &Path) -> Listener {
    loop {
        sleep(RETRY).await;
        if let Ok(listener) = Listener::open(runtime_dir) {
            info!("the control socket is open");
            return listener;
        }
    }
}

/// Why this client may not ask: the file's mode keeps others out, and this does where somebody changed it.
fn refusal(stream: &UnixStream) -> Option<Failure> {
    let (own, message) = (geteuid().as_raw(), "only the user of ProxyMgr and root may ask");
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => None,
        Ok(peer) => {
            warn!(uid = peer.uid(), "another user was turned away from the control socket");
            Some(Failure::new(FailureCode::Forbidden, message))
        }
        Err(error) => {
            debug!(%error, "who a client of the control socket is can't be told");
            Some(Failure::new(FailureCode::Forbidden, message))
        }
    }
}

/// One try: the buffer of a new connection has room for it.
fn turn_away(stream: &UnixStream, failure: Failure) {
    let said = line_of(&Reply::<()>::Error(failure)).and_then(|line| stream.try_write(&line));
    if let Err(error) = said {
        debug!(%error, "a client that is turned away did not hear why");
    }
}
