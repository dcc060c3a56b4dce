//! From what a watcher lists to servers with addresses: follows the host names that are in use now.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use super::host_addresses::{Finding, HostAddresses, LastAddresses};
use super::listed_set::ListedSet;
use super::lookups::{Addresses, Lookups};
use super::publisher::Publisher;
use crate::deadline::until;
use crate::dns::{Names, Progress};
use crate::engine::host_name::HostName;

/// Answers that come within this time are published together.
const GATHER: Duration = Duration::from_millis(10);

/// How host names are looked up.
#[derive(Clone, Debug)]
pub struct HostNames {
    /// What looks them up, shared by all services.
    pub names: Names,
    /// How long the first set of a service waits for names without an answer; later sets go ahead without them.
    pub first_wait: Duration,
}

/// Publishes each set of `listed` in `out`, and again when the address of a name in it changes, until dropped. Names begin
/// with their `last` addresses.
pub(super) async fn locate(
    mut listed: watch::Receiver<Option<Arc<ListedSet>>>,
    host_names: HostNames,
    last: LastAddresses,
    out: &mut Publisher,
) -> Infallible {
    let mut lookups = Lookups::new(host_names.names);
    let mut located =
        Located { hosts: HostAddresses::new(last), set: Arc::default(), first_until: None, out };
    let mut due = None;
    loop {
        let wait = tokio::select! {
            Ok(()) = listed.changed() => {
                located.set = listed.borrow_and_update().clone().unwrap_or_default();
                let names = located.set.host_names();
                lookups.end_others(&names);
                for name in located.hosts.use_only(&names) {
                    let known = lookups.begin(&name);
                    located.take(&name, &known);
                }
                located.first_until.get_or_insert_with(|| Instant::now() + host_names.first_wait);
                Duration::ZERO
            }
            (name, known) = lookups.next() => {
                located.take(&name, &known);
                GATHER
            }
            () = until(due) => Duration::ZERO,
        };
        due = located.publish_or_wait(wait, due);
    }
}

/// The servers of a service, and what is known of their names.
struct Located<'a> {
    hosts: HostAddresses,
    set: Arc<ListedSet>,
    /// How long names may keep the first set back; long ago, once it is published.
    first_until: Option<Instant>,
    out: &'a mut Publisher,
}

impl Located<'_> {
    fn take(&mut self, name: &HostName, known: &Addresses) {
        let service = self.out.service();
        let addresses = match known {
            Progress::Asking => return,
            Progress::Failed(_told_by_who_asks) => return self.hosts.take_failure(name),
            Progress::Known(addresses) => addresses,
        };
        match self.hosts.take_answer(name, addresses) {
            Finding::Unchanged | Finding::Found => {}
            Finding::Moved { from, to } => {
                info!(%service, host = %name, %from, %to, "a host has another address");
            }
            Finding::Kept(address) => {
                warn!(%service, host = %name, %address, "a host name has no address any more; the last one stays");
            }
        }
    }

    /// Publishes what is to be published now, and tells when there will be more.
    fn publish_or_wait(&mut self, wait: Duration, due: Option<Instant>) -> Option<Instant> {
        let now = Instant::now();
        let first_until = self.first_until?;
        let kept_back = if self.hosts.awaits_answers() { first_until } else { now };
        let due = due.into_iter().fold(now + wait, Instant::min).max(kept_back);
        if due > now {
            return Some(due);
        }
        self.first_until = Some(now);
        self.out.publish(self.hosts.locate(&self.set));
        None
    }
}
