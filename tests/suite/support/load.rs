//! A load client that counts every error: nothing is retried, and each request that fails is classified.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::deadline::eventually;
use super::http::read_message;
use super::load_report::{Client, ErrorKind, LoadError, LoadReport};
use super::requests::SOON;

/// A load to put on one address.
#[derive(Clone, Debug)]
pub struct Load {
    address: SocketAddr,
    path: String,
    short: usize,
    keep_alive: usize,
    rate: Option<u32>,
    timeout: Duration,
}

/// A load that runs, on a thread of its own, until it is stopped or dropped.
pub struct RunningLoad {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    load: Load,
    started: Instant,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    report: LoadReport,
    /// Requests started; with a rate, the number of the next one tells when it is due.
    requests: u32,
}

impl Load {
    /// No workers yet, full speed, a time-out of 5 s for the connection and for the answer.
    pub fn to(address: SocketAddr) -> Self {
        let (path, timeout) = ("/".to_owned(), Duration::from_secs(5));
        Self { address, path, short: 0, keep_alive: 0, rate: None, timeout }
    }

    /// What is asked for, in place of `/`.
    pub fn path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// Workers that connect, ask once, read the whole answer and close.
    pub fn short(self, workers: usize) -> Self {
        Self { short: workers, ..self }
    }

    /// Workers that ask again on the same connection until an answer says `Connection: close`.
    pub fn keep_alive(self, workers: usize) -> Self {
        Self { keep_alive: workers, ..self }
    }

    /// Requests per second of all workers together, as far as they manage. What a stall delays is caught up.
    pub fn rate(self, requests_per_second: u32) -> Self {
        Self { rate: Some(requests_per_second), ..self }
    }

    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub fn start(self) -> RunningLoad {
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared { load: self, started: Instant::now(), tally: Mutex::default() });
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&shared, &stopped)
            })
            .unwrap();
        RunningLoad { shared, stop, thread: Some(thread) }
    }
}

impl RunningLoad {
    /// What was seen up to now.
    pub fn so_far(&self) -> LoadReport {
        let mut report = self.shared.tally.lock().unwrap().report.clone();
        report.elapsed = self.shared.started.elapsed();
        report.longest_gap = report.longest_gap.max(report.elapsed.saturating_sub(report.last_success));
        report
    }

    /// For `duration` every request succeeds.
    #[track_caller]
    pub fn watch(&self, duration: Duration) {
        let end = self.so_far().elapsed + duration;
        eventually(duration + SOON, "the end of the watch", || {
            self.so_far().assert_no_errors();
            let now = self.so_far().elapsed;
            if now >= end { Ok(()) } else { Err(now) }
        });
    }

    /// Lets every worker finish its request, then tells what was seen.
    pub fn stop(mut self) -> LoadReport {
        self.end().expect("no worker of the load fails by itself");
        self.so_far()
    }

    fn end(&mut self) -> std::thread::Result<()> {
        self.stop.send_replace(true);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        drop(self.end());
    }
}

fn run(shared: &Arc<Shared>, stopped: &watch::Receiver<bool>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let workers = LocalSet::new();
    let short = std::iter::repeat_n(Client::Short, shared.load.short);
    let keep_alive = std::iter::repeat_n(Client::KeepAlive, shared.load.keep_alive);
    for client in short.chain(keep_alive) {
        workers.spawn_local(work(client, Arc::clone(shared), stopped.clone()));
    }
    runtime.block_on(workers);
}

/// One worker's life: wait for its turn, ask, note the result.
async fn work(client: Client, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connection = None;
    let end = match client {
        Client::Short => "Connection: close\r\n\r\n",
        Client::KeepAlive => "\r\n",
    };
    let question = format!("GET {} HTTP/1.1\r\nHost: test\r\n{end}", shared.load.path);
    while !*stopped.borrow() {
        if let Some(due) = shared.next_request_due() {
            tokio::select! {
                () = sleep_until(due) => {}
                _ = stopped.changed() => return,
            }
        }
        match request(client, &shared.load, question.as_bytes(), &mut connection).await {
            Ok(backend) => shared.succeeded(backend),
            Err(kind) => {
                connection = None;
                shared.failed(client, kind);
                // A refused connection fails in microseconds: a worker that spins would starve the others.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Asks once, on the connection left by the request before if there is one, and gives the backend's name.
async fn request(
    client: Client,
    load: &Load,
    question: &[u8],
    kept: &mut Option<Connection>,
) -> Result<String, ErrorKind> {
    let reused = kept.is_some();
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => connect(load).await?,
    };
    let exchange = async {
        let Connection { stream, buffer } = &mut connection;
        stream.write_all(question).await.map_err(|error| ErrorKind::from_io(&error, reused))?;
        let answer = read_message(stream, buffer).await;
        answer.map_err(|error| ErrorKind::from_read(error, reused && buffer.is_empty()))
    };
    let answer = timeout(load.timeout, exchange).await.map_err(|_| ErrorKind::ResponseTimeout)??;
    match answer.status() {
        Some(200) => {}
        Some(status) => return Err(ErrorKind::BadStatus(status)),
        None => return Err(ErrorKind::BadResponse(answer.head)),
    }
    if client == Client::KeepAlive && !answer.closes() {
        *kept = Some(connection);
    }
    match String::from_utf8(answer.body) {
        Ok(name) if !name.is_empty() && !name.contains(char::is_control) => Ok(name),
        Ok(body) => Err(ErrorKind::BadBody(body)),
        Err(error) => Err(ErrorKind::BadBody(error.to_string())),
    }
}

async fn connect(load: &Load) -> Result<Connection, ErrorKind> {
    let stream = match timeout(load.timeout, TcpStream::connect(load.address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            return Err(ErrorKind::ConnectRefused);
        }
        Ok(Err(error)) => return Err(ErrorKind::ConnectFailed(error.to_string())),
        Err(_) => return Err(ErrorKind::ConnectTimeout),
    };
    stream.set_nodelay(true).map_err(|error| ErrorKind::Io(error.to_string()))?;
    Ok(Connection { stream, buffer: Vec::with_capacity(1024) })
}

impl Shared {
    fn next_request_due(&self) -> Option<Instant> {
        let rate = self.load.rate?;
        let mut tally = self.tally.lock().unwrap();
        let number = tally.requests;
        tally.requests += 1;
        Some(self.started + Duration::from_secs(1) * number / rate)
    }

    fn succeeded(&self, backend: String) {
        let now = self.started.elapsed();
        let report = &mut self.tally.lock().unwrap().report;
        report.longest_gap = report.longest_gap.max(now.saturating_sub(report.last_success));
        report.last_success = now;
        report.successes += 1;
        *report.by_backend.entry(backend).or_default() += 1;
    }

    fn failed(&self, client: Client, kind: ErrorKind) {
        let at = self.started.elapsed();
        self.tally.lock().unwrap().report.errors.push(LoadError { at, kind, client });
    }
}
