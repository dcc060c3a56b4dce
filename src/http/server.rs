//! Takes clients in a thread of its own, and lets go of them when another program takes over.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::access::Access;
use super::guests::{Asked as LastAsked, Guests};
use super::live::{Later, Live};
use super::patience::Patient;
use super::questions::Questions;
use super::routes::{Site, router};
use crate::admin::history::Reader;
use crate::admin::request::Asked;
use crate::panics::supervised;

/// How long a client may take for the head of a request, and be idle before the next.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of an answer.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// The most bytes of a head, and of what is written at once.
const BUFFER: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;
/// How long answers that are under way may take when another program takes over.
pub const LAST_ANSWERS: Duration = Duration::from_millis(150);
/// A pause when no client can be taken, as when no file is left.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
const EVENT_STREAM: &str = "text/event-stream";
const STACK: usize = 512 * 1024;

/// What is served, and to whom.
pub struct Settings {
    /// Where it listens, which decides by what names it may be asked.
    pub listen: SocketAddr,
    /// Who may read.
    pub access: Access,
    /// Where the loop is asked.
    pub requests: mpsc::Sender<Asked>,
    /// Whether it is ready.
    pub ready: watch::Receiver<bool>,
    /// The changes.
    pub history: Reader,
    /// What the page lives on.
    pub live: Live,
    /// What is done in the same thread, for the page.
    pub keeper: Later<()>,
}

/// A running server; dropped, it ends, and with it its clients.
#[derive(Debug)]
pub struct Server {
    mode: watch::Sender<Mode>,
    /// Nobody is connected, and nobody is taken.
    at_rest: watch::Receiver<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Serving,
    /// Clients wait until somebody takes them.
    Paused,
}

/// What a panic leaves in place.
struct Lasting {
    listener: TcpListener,
    router: Router,
    mode: watch::Receiver<Mode>,
    at_rest: watch::Sender<bool>,
}

impl Server {
    /// Serves those who connect to `listener`. `begin` is called first in the thread that does.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(listener: TcpListener, settings: Settings, begin: fn()) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (mode, modes) = watch::channel(Mode::Serving);
        let (resting, at_rest) = watch::channel(false);
        let Settings { listen, access, requests, ready, history, live, keeper } = settings;
        let questions = Questions::new(requests);
        let router = router(Arc::new(Site { listen, access, questions, ready, history, live }));
        let lasting = Lasting { listener, router, mode: modes, at_rest: resting };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("http".to_owned()).stack_size(STACK).spawn(move || {
            begin();
            runtime.block_on(async {
                let keeper = tokio::spawn(keeper).abort_handle();
                supervised("HTTP", lasting, |lasting| Box::pin(serve(lasting))).await;
                keeper.abort();
            });
        })?;
        Ok(Self { mode, at_rest })
    }

    /// Takes nobody any more; those that are there get their answers.
    pub fn pause(&self) {
        self.mode.send_replace(Mode::Paused);
    }

    /// Waits until all have got them, and for no longer than [`LAST_ANSWERS`] from `since` on. Cancel safe.
    pub async fn at_rest(&mut self, since: Instant) {
        let rest = self.at_rest.wait_for(|at_rest| *at_rest);
        if timeout_at(since + LAST_ANSWERS, rest).await.is_err() {
            debug!("a client of HTTP is cut off");
        }
    }

    /// Takes clients again.
    pub fn resume(&self) {
        self.mode.send_replace(Mode::Serving);
    }
}

/// Until the [`Server`] is dropped.
async fn serve(lasting: &mut Lasting) {
    let listener = loop {
        match lasting.listener.try_clone().and_then(tokio::net::TcpListener::from_std) {
            Ok(listener) => break listener,
            Err(error) => debug!(%error, "HTTP can't be served just now"),
        }
        sleep(ACCEPT_RETRY).await;
    };
    let mut guests = Guests::default();
    let mut mode = lasting.mode.clone();
    loop {
        let is_serving = *mode.borrow_and_update() == Mode::Serving;
        lasting.at_rest.send_replace(!is_serving && guests.is_empty());
        tokio::select! {
            changed = mode.changed() => if changed.is_err() {
                return;
            },
            () = guests.left() => {}
            accepted = listener.accept(), if is_serving => match accepted {
                Ok((stream, _)) => {
                    let (router, mode) = (lasting.router.clone(), lasting.mode.clone());
                    guests.take(|asked| serve_one(stream, router, asked, mode));
                }
                Err(error) => {
                    debug!(%error, "no client of HTTP can be taken");
                    sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
}

/// Waits until nobody is to be served any more, and this one has asked: it may have connected just now.
async fn paused(mode: &mut watch::Receiver<Mode>, has_begun: &mut watch::Receiver<bool>) {
    // The errors say that the server, or the connection, is gone.
    drop(mode.wait_for(|mode| *mode == Mode::Paused).await);
    drop(has_begun.wait_for(|has_begun| *has_begun).await);
}

async fn serve_one(stream: TcpStream, router: Router, asked: LastAsked, mut mode: watch::Receiver<Mode>) {
    let site = TowerToHyperService::new(router);
    let (begun, mut has_begun) = watch::channel(false);
    let streams = Arc::new(AtomicBool::new(false));
    let streaming = Arc::clone(&streams);
    let service = service_fn(move |request| {
        asked.now();
        begun.send_replace(true);
        let (answer, streams) = (site.call(request), Arc::clone(&streaming));
        async move {
            let answer = answer.await?;
            let is_stream = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == EVENT_STREAM);
            streams.store(is_stream, Ordering::Relaxed);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(BUFFER)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(Patient::new(stream, WRITE_LIMIT)), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = paused(&mut mode, &mut has_begun) => {
            if streams.load(Ordering::Relaxed) {
                // It never ends by itself, and its client knows to come again.
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a client of HTTP left early, or was given up");
    }
}
