//! The end of listening: who has connected is served, who comes later is refused.
//!
//! A listen socket that is closed resets the connections that wait in its queue, and clients come all the time. So new ones
//! are kept out first, without a word (their kernel asks again after a second, and is refused then); once `HAProxy` has
//! accepted all that waits, it may stop.

use std::io;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{SockFilter, SockRef};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::listen_sockets::ListenSockets;
use crate::engine::listen_address::ListenAddress;

/// Handshakes under way end within this time; longer round trips are rare.
const SETTLE: Duration = Duration::from_millis(100);
/// The longest wait for the queues: an `HAProxy` that hangs won't empty them.
const LIMIT: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Passes everything but a lone SYN (the 14th byte of a TCP header holds its flags, RFC 9293, 3.1). Classic BPF, which the
/// kernel runs on a segment's TCP header (`socket(7)`, `SO_ATTACH_FILTER`).
const NO_NEW_CONNECTIONS: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),       // load the byte at 13
    SockFilter::new(0x54, 0, 0, 0x12),     // keep SYN and ACK
    SockFilter::new(0x15, 0, 1, 0x02),     // SYN alone?
    SockFilter::new(0x06, 0, 0, 0),        // drop
    SockFilter::new(0x06, 0, 0, u32::MAX), // pass
];

impl ListenSockets {
    /// Keeps new clients out, and waits until those that have connected are accepted.
    pub(super) async fn turn_away(&mut self, limit: Duration) {
        let began = Instant::now();
        self.unlink_unix();
        for (address, socket) in self.own() {
            if let ListenAddress::Tcp(_) = address
                && let Err(error) = SockRef::from(&socket).attach_filter(&NO_NEW_CONNECTIONS)
            {
                debug!(%address, %error, "new clients can't be kept out before the end");
            }
        }
        loop {
            sleep(LOOK_EVERY).await;
            let waited = began.elapsed();
            match self.someone_waits() {
                Ok(false) if waited >= SETTLE => return,
                Ok(_) if waited < limit.min(LIMIT) => {}
                Ok(_) => {
                    warn!(?waited, "clients wait that HAProxy does not accept; they are refused");
                    return;
                }
                Err(error) => {
                    debug!(%error, "the queues of the listen sockets can't be looked at");
                    return;
                }
            }
        }
    }

    /// Whether a client waits to be accepted: then the socket is readable (`accept(2)`).
    fn someone_waits(&self) -> io::Result<bool> {
        let mut sockets: Vec<_> =
            self.own().map(|(_, socket)| PollFd::new(socket, PollFlags::POLLIN)).collect();
        Ok(poll(&mut sockets, PollTimeout::ZERO)? > 0)
    }
}
