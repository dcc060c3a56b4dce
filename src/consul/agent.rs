//! One Consul as we reach it: whom to ask now, with which token.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::answer::Reply;
use super::connection::{self, Connection};
use super::error::ConsulError;
use super::pool::Pool;
use super::query::{Consistency, Query};
use super::turns::Turns;
use crate::census::{Counted, Kind};
use crate::directory_watch::bounded_read;
use crate::engine::consul::{ConsulAccess, ConsulServer, ConsulToken};

/// How long an answer may take that waits for nothing, from its first byte to its last too.
const ANSWER: Duration = Duration::from_secs(10);
/// Consul adds up to a sixteenth to each wait (documentation, "Blocking Queries").
const CONSULS_OWN_JITTER: u32 = 16;
/// More than any token, in bytes.
const LONGEST_TOKEN: u64 = 4096;

/// What all questions to one Consul share.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) access: ConsulAccess,
    pub(super) turns: Turns,
    pool: Pool,
    current: AtomicUsize,
    failures: AtomicU64,
    /// What was told last, so that a thousand who meet it tell it once.
    trouble: Mutex<Option<String>>,
    counted: Counted,
}

impl Agent {
    pub(super) fn new(access: ConsulAccess) -> Self {
        let counted = Counted::new(Kind::Consul, &access.servers.to_string().into());
        Self {
            access,
            turns: Turns::default(),
            pool: Pool::default(),
            current: AtomicUsize::new(0),
            failures: AtomicU64::new(0),
            trouble: Mutex::default(),
            counted,
        }
    }

    /// Asks, and asks the leader if the answer is too old. With `blocking` the answer may take that long.
    pub(super) async fn ask(
        &self,
        query: &Query,
        blocking: Option<(u64, Duration)>,
    ) -> Result<Reply, ConsulError> {
        if self.access.max_stale.is_zero() {
            return self.ask_once(query, Consistency::Default, blocking).await;
        }
        let reply = self.ask_once(query, Consistency::Stale, blocking).await?;
        if reply.last_contact <= self.access.max_stale {
            return Ok(reply);
        }
        self.ask_once(query, Consistency::Consistent, None).await
    }

    async fn ask_once(
        &self,
        query: &Query,
        consistency: Consistency,
        blocking: Option<(u64, Duration)>,
    ) -> Result<Reply, ConsulError> {
        let number = self.current.load(Ordering::Relaxed);
        let servers = self.access.servers.as_slice();
        let Some(server) = servers.get(number).or(servers.first()) else {
            return Err(ConsulError::Question("no server".to_owned()));
        };
        let wait = blocking.map_or(Duration::ZERO, |(_, wait)| wait + wait / CONSULS_OWN_JITTER);
        let asked = self.exchange(number, server, &query.target(consistency, blocking), wait).await;
        if asked.as_ref().is_err_and(ConsulError::is_of_the_agent) {
            let next = (number + 1).checked_rem(servers.len()).unwrap_or_default();
            let moved = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
            debug!(consul = %server, we_moved_on = moved.is_ok(), next, "the agent failed");
        }
        asked
    }

    async fn exchange(
        &self,
        number: usize,
        server: &ConsulServer,
        target: &str,
        wait: Duration,
    ) -> Result<Reply, ConsulError> {
        if let Some(connection) = self.pool.take(number) {
            match self.send(number, connection, server, target, wait).await {
                // It may have been closed meanwhile: that says nothing about the agent.
                Err(ConsulError::Http { .. } | ConsulError::Tls { .. }) => {}
                other => return other,
            }
        }
        let connection = connection::open(server, self.access.tls.as_ref()).await?;
        self.send(number, connection, server, target, wait).await
    }

    async fn send(
        &self,
        number: usize,
        mut connection: Connection,
        server: &ConsulServer,
        target: &str,
        wait: Duration,
    ) -> Result<Reply, ConsulError> {
        let told = server.to_string();
        let no_answer = |within| ConsulError::NoAnswer { server: told.clone(), within };
        let no_http = |error: hyper::Error| connection::broken(&told, &error, self.access.tls.as_ref());
        let request = self.request(&told, target)?;
        let within = wait + ANSWER;
        let answering = async {
            connection.ready().await.map_err(no_http)?;
            connection.send_request(request).await.map_err(no_http)
        };
        let response = timeout(within, answering).await.map_err(|_elapsed| no_answer(within))??;
        let reply =
            timeout(ANSWER, Reply::read(&told, response)).await.map_err(|_elapsed| no_answer(ANSWER))?;
        self.pool.put(number, connection);
        reply
    }

    fn request(&self, server: &str, target: &str) -> Result<Request<Empty<Bytes>>, ConsulError> {
        let wrong = |_| ConsulError::Question(target.to_owned());
        let mut request = Request::builder()
            .method(Method::GET)
            .uri(target)
            .header(HOST, server)
            .header(USER_AGENT, concat!("proxymgr/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(wrong)?;
        if let Some(token) = self.token()? {
            request.headers_mut().insert("x-consul-token", token);
        }
        Ok(request)
    }

    fn token(&self) -> Result<Option<HeaderValue>, ConsulError> {
        let value = match &self.access.token {
            None => return Ok(None),
            Some(ConsulToken::Value(secret)) => HeaderValue::from_str(secret.expose()),
            Some(ConsulToken::File(file)) => {
                let wrong = |reason| ConsulError::Token { file: file.clone(), reason };
                let bytes = bounded_read(file, LONGEST_TOKEN)
                    .map_err(|error| wrong(format!("the file can't be read: {error}")))?;
                match bytes.trim_ascii() {
                    token if !token.is_empty() && token.iter().all(u8::is_ascii_graphic) => {
                        HeaderValue::from_bytes(token)
                    }
                    _ => return Err(wrong("the file must hold one line without blanks".to_owned())),
                }
            }
        };
        let mut value = value.map_err(|_| ConsulError::Question("the token".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// How often it failed: an index from before a failure may mean something else after it.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Tells once what keeps all from being answered.
    pub(super) fn failed(&self, error: &ConsulError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.counted.is_connected(false);
        let reason = error.to_string();
        let mut told = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref() != Some(&reason) {
            warn!(consul = %self.access.servers, reason, "Consul gives no answer; trying on, the last known answers stay");
            *told = Some(reason);
        }
    }

    /// Tells once that it is over.
    pub(super) fn answered(&self) {
        self.counted.is_connected(true);
        let told = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if told.is_some() {
            info!(consul = %self.access.servers, "Consul answers again");
        }
    }
}
