//! Connections that wait for the next request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;

/// As many as short questions go out at a time.
const MOST: usize = 24;
/// Longer than between two rounds of questions, shorter than agents and what stands between keep a silent connection.
const LONGEST: Duration = Duration::from_secs(30);

/// The idle connections to one server of the list.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<Vec<(usize, Instant, Connection)>>,
}

impl Pool {
    /// One to the server number `server`, the one used last.
    pub(super) fn take(&self, server: usize) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, since, connection)| {
            *of == server && since.elapsed() < LONGEST && !connection.is_closed()
        });
        idle.pop().map(|(_, _, connection)| connection)
    }

    /// Keeps one whose answer was read to its end.
    pub(super) fn put(&self, server: usize, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST && !connection.is_closed() {
            idle.push((server, Instant::now(), connection));
        }
    }
}
