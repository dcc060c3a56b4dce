//! HTTP, where proxymgr.yml asks for it: its socket, which is handed from program to program, and what its clients ask.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::signals::leave_to_main_thread;
use super::status::live::Keeper;
use crate::admin::history::Reader;
use crate::admin::request::Asked;
use crate::deadline::until;
use crate::http::Access;
use crate::http::server::{Server, Settings};

/// Questions that wait; a full queue only slows clients down.
const QUEUE: usize = 16;
/// Another try to listen.
const RETRY: Duration = Duration::from_secs(5);

/// Where HTTP is served, and to whom.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The address.
    pub listen: SocketAddr,
    /// Who may read.
    pub access: Access,
}

/// HTTP, if there is any.
#[derive(Debug)]
pub(super) struct HttpDesk {
    settings: Option<HttpSettings>,
    open: Option<Open>,
    requests: mpsc::Sender<Asked>,
    asked: mpsc::Receiver<Asked>,
    ready: watch::Sender<bool>,
    history: Reader,
    keeper: Keeper,
    /// When it is tried again to listen.
    retry: Option<Instant>,
    failing: bool,
}

#[derive(Debug)]
struct Open {
    /// The same socket as the server's.
    socket: OwnedFd,
    server: Server,
}

impl HttpDesk {
    /// Serves on the `inherited` socket, if that is the one that is asked for; else it opens its own.
    pub(super) fn new(
        settings: Option<HttpSettings>,
        inherited: Option<(SocketAddr, OwnedFd)>,
        ready: bool,
        history: Reader,
        keeper: Keeper,
    ) -> Self {
        let (requests, asked) = mpsc::channel(QUEUE);
        let ready = watch::Sender::new(ready);
        let mut desk = Self {
            settings,
            open: None,
            requests,
            asked,
            ready,
            history,
            keeper,
            retry: None,
            failing: false,
        };
        let wanted = desk.settings.as_ref().map(|settings| settings.listen);
        let inherited = inherited.filter(|(address, _)| Some(*address) == wanted).map(|(_, socket)| socket);
        desk.open(inherited.map(TcpListener::from));
        desk
    }

    fn open(&mut self, inherited: Option<TcpListener>) {
        self.retry = None;
        let Some(settings) = &self.settings else { return };
        let listen = settings.listen;
        match self.try_open(settings.clone(), inherited) {
            Ok(open) => {
                self.failing = false;
                info!(%listen, "HTTP is served");
                self.open = Some(open);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    warn!(%listen, %error, "HTTP can't be served at admin.listen; trying on");
                }
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }

    fn try_open(&self, settings: HttpSettings, inherited: Option<TcpListener>) -> io::Result<Open> {
        let HttpSettings { listen, access } = settings;
        let listener = inherited.map_or_else(|| TcpListener::bind(listen), Ok)?;
        let socket = listener.try_clone()?.into();
        let settings = Settings {
            listen,
            access,
            requests: self.requests.clone(),
            ready: self.ready.subscribe(),
            history: self.history.clone(),
            live: self.keeper.live(),
            keeper: Box::pin(self.keeper.clone().keep()),
        };
        Ok(Open { socket, server: Server::start(listener, settings, leave_to_main_thread)? })
    }

    /// What a client asks next. Cancel safe.
    pub(super) async fn asked(&mut self) -> Asked {
        loop {
            tokio::select! {
                // It never ends: one of its senders is here.
                Some(asked) = self.asked.recv() => return asked,
                () = until(self.retry) => self.open(None),
            }
        }
    }

    /// It is ready, or is no more.
    pub(super) fn is_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
    }

    /// Its end was asked for: it is ready no more, and nobody is left to be asked.
    pub(super) fn end(&mut self) {
        self.is_ready(false);
        self.asked.close();
    }

    /// Whether it is.
    pub(super) fn ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Takes no more clients.
    pub(super) fn pause(&self) {
        if let Some(open) = &self.open {
            open.server.pause();
            self.keeper.wipe();
        }
    }

    /// What a client asks that was taken before, until all have their answers. Cancel safe.
    pub(super) async fn asked_before_rest(&mut self, since: Instant) -> Option<Asked> {
        let server = &mut self.open.as_mut()?.server;
        tokio::select! {
            biased;
            asked = self.asked.recv() => asked,
            () = server.at_rest(since) => None,
        }
    }

    /// The socket, for another program.
    pub(super) fn hand_over(&self) -> Option<(SocketAddr, OwnedFd)> {
        let (settings, open) = (self.settings.as_ref()?, self.open.as_ref()?);
        Some((settings.listen, open.socket.try_clone().ok()?))
    }

    /// Nobody took over.
    pub(super) fn go_on(&self) {
        if let Some(open) = &self.open {
            open.server.resume();
        }
    }
}
