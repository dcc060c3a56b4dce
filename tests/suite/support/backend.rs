//! HTTP servers to stand behind `HAProxy`: any number of them on one thread, each answering with its own name.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::http::read_message;

/// The thread that hosts backends. They end with it.
pub struct Backends {
    runtime: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a backend does with a request once it has read it.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// Status 200, and its name as the body.
    Answer,
    /// Status 200, its name, a blank and the path it was asked for.
    Echo,
    /// Its name alone, later.
    AnswerAfter(Duration),
    /// Another status, and its name as the body.
    Status(u16),
    /// Closes the connection with a TCP reset.
    Reset,
    /// Sends half of its answer and closes the connection.
    CutShort,
    /// Answers as if it kept the connection, then closes it.
    CloseSilently,
}

/// One listening server. It ends when it is dropped, like a server that is killed: at once, with its connections.
pub struct Backend {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
    ended: mpsc::Receiver<()>,
}

struct Shared {
    name: String,
    requests: AtomicU64,
    behaviour: Mutex<Behaviour>,
}

impl Backends {
    pub fn new() -> Self {
        let (end, ended) = oneshot::channel::<()>();
        let (handle, handles) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("backends".into())
            .spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                handle.send(runtime.handle().clone()).unwrap();
                runtime.block_on(async { ended.await.unwrap_or(()) });
            })
            .unwrap();
        Self { runtime: handles.recv().unwrap(), end: Some(end), thread: Some(thread) }
    }

    /// Starts a backend on a port of the kernel's choice; it listens when this returns.
    pub fn start(&self, name: &str) -> Backend {
        self.start_at(SocketAddr::from(([127, 0, 0, 1], 0)), name)
    }

    /// Starts a backend at `address`, such as that of an earlier one.
    pub fn start_at(&self, address: SocketAddr, name: &str) -> Backend {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            requests: AtomicU64::new(0),
            behaviour: Mutex::new(Behaviour::Answer),
        });
        let (alive, ended) = mpsc::channel();
        let task = self.runtime.spawn(accept(listener, Arc::clone(&shared), alive)).abort_handle();
        Backend { address, shared, task, ended }
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Backend {
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Requests read so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// What it does from the next request on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }
}

impl Drop for Backend {
    /// Returns when nothing listens at the address any more.
    fn drop(&mut self) {
        self.task.abort();
        // An error, since the sender is dropped without a word.
        self.ended.recv().unwrap_err();
    }
}

/// `alive` is dropped with the task, after its sockets.
async fn accept(listener: TcpListener, shared: Arc<Shared>, alive: mpsc::Sender<()>) {
    let _alive = alive;
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
            Some(ended) = connections.join_next() => ended.unwrap(),
        }
    }
}

/// Serves one connection until the client ends it, or as [`Behaviour`] says.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Ok(request) = read_message(&mut stream, &mut buffer).await {
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let behaviour = *shared.behaviour.lock().unwrap();
        let status = match behaviour {
            Behaviour::Status(status) => status,
            Behaviour::Answer
            | Behaviour::Echo
            | Behaviour::AnswerAfter(_)
            | Behaviour::Reset
            | Behaviour::CutShort
            | Behaviour::CloseSilently => 200,
        };
        let connection = if request.closes() { "close" } else { "keep-alive" };
        let path = request.head.split(' ').nth(1).unwrap_or_default();
        let name = match behaviour {
            Behaviour::Echo => format!("{} {path}", shared.name),
            Behaviour::Answer
            | Behaviour::AnswerAfter(_)
            | Behaviour::Status(_)
            | Behaviour::Reset
            | Behaviour::CutShort
            | Behaviour::CloseSilently => shared.name.clone(),
        };
        let mut answer = format!(
            "HTTP/1.1 {status} Test\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{name}",
            name.len()
        );
        match behaviour {
            Behaviour::Answer | Behaviour::Echo | Behaviour::Status(_) | Behaviour::CloseSilently => {}
            Behaviour::AnswerAfter(delay) => tokio::time::sleep(delay).await,
            Behaviour::Reset => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Behaviour::CutShort => answer.truncate(answer.len() / 2),
        }
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        match behaviour {
            Behaviour::CutShort | Behaviour::CloseSilently => return,
            Behaviour::Answer
            | Behaviour::Echo
            | Behaviour::AnswerAfter(_)
            | Behaviour::Status(_)
            | Behaviour::Reset => {}
        }
        if request.closes() {
            return;
        }
    }
}
