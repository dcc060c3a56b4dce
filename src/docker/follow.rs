//! Follows one daemon: listed at first, at every reconnect and from time to time; events between.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::client::Client;
use super::error::DockerError;
use super::inventory::{Containers, Inventory};
use super::transport::Transport;
use crate::census::{Counted, Kind};
use crate::deadline::until;
use crate::engine::backoff::Backoff;
use crate::engine::docker_spec::DockerHost;
use crate::engine::printable::printable;
use crate::engine::tls_files::TlsFiles;
use crate::panics::caught;

const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(5);
/// From one listing to the next.
const LISTING: Duration = Duration::from_secs(30);
/// So long an event may be later than a listing that shows what it tells.
const LATE_EVENT: Duration = Duration::from_secs(3);
/// Events that are taken before anything else is done: those of one moment cost one look.
const BURST: usize = 1000;

/// Where containers are published; `None` until all of them have been looked at once.
pub(super) type Published = watch::Sender<Option<Arc<Containers>>>;

/// Follows `host` until dropped. Failures and panics publish nothing and are retried with back-off.
pub(super) async fn follow(host: &DockerHost, files: Option<&TlsFiles>, out: &Published) -> Infallible {
    let counted = Counted::new(Kind::Docker, &host.to_string().into());
    let mut backoff = Backoff::new(MIN_WAIT, MAX_WAIT);
    let mut inventory = Inventory::default();
    let mut last_reason = String::new();
    loop {
        let since = Instant::now();
        let reason =
            match caught("follower of Docker", connect(host, files, &mut inventory, &counted, out)).await {
                Ok(Err(error)) => error.to_string(),
                Err(panicked) => {
                    // Half changed, maybe.
                    inventory = Inventory::default();
                    panicked.to_string()
                }
            };
        counted.is_connected(false);
        if since.elapsed() > MAX_WAIT {
            backoff.reset();
            last_reason.clear();
        }
        let reason = printable(&reason);
        if reason != last_reason {
            warn!(docker = %host, reason, "following the containers failed; trying on, those known stay");
            last_reason = reason;
        }
        sleep(backoff.next_wait()).await;
    }
}

async fn connect(
    host: &DockerHost,
    files: Option<&TlsFiles>,
    inventory: &mut Inventory,
    counted: &Counted,
    out: &Published,
) -> Result<Infallible, DockerError> {
    let client = Client::connect(Transport::to(host, files).ok_or(DockerError::NoTls)?).await?;
    // Asked for before the listing: what happens after that is told.
    inventory.begin_events();
    let mut events = std::pin::pin!(client.events());
    let mut listing = Box::pin(client.list());
    let listed = loop {
        tokio::select! {
            biased;
            event = events.next() => take(inventory, event)?,
            listed = &mut listing => break listed?,
        }
    };
    info!(docker = %host, containers = listed.len(), "following the containers");
    counted.is_connected(true);
    inventory.begin_anew(&listed);
    let (mut inspecting, mut listing) = (FuturesUnordered::new(), FuturesUnordered::new());
    let mut next_listing = Instant::now() + LISTING;
    let mut missed: Option<Instant> = None;
    loop {
        for _ in 0..BURST {
            let Some(event) = events.next().now_or_never() else { break };
            take(inventory, event)?;
            missed = None;
        }
        while let Some(id) = inventory.question() {
            inspecting.push(async {
                let answer = client.inspect(&id).await;
                (id, answer)
            });
        }
        publish(inventory, out);
        tokio::select! {
            event = events.next() => {
                take(inventory, event)?;
                missed = None;
            }
            Some((id, answer)) = inspecting.next() => inventory.answered(&id, answer?),
            () = sleep_until(next_listing) => {
                next_listing = Instant::now() + LISTING;
                let asked = inventory.now();
                listing.push(client.list().map(move |listed| (asked, listed)));
            }
            Some((asked, listed)) = listing.next() => {
                if inventory.listed(asked, &listed?) > 0 {
                    missed.get_or_insert(Instant::now() + LATE_EVENT);
                }
            }
            () = until(missed) => return Err(DockerError::MissedEvent),
        }
    }
}

type Heard = Option<Result<Option<super::event::Event>, bollard::errors::Error>>;

fn take(inventory: &mut Inventory, heard: Heard) -> Result<(), DockerError> {
    if let Some(event) = heard.ok_or(DockerError::EventsEnded)?? {
        inventory.happened(&event);
    }
    Ok(())
}

/// Publishes what runs, once each container has been looked at.
fn publish(inventory: &Inventory, out: &Published) {
    let first = out.borrow().is_none();
    if first && !inventory.is_complete() {
        return;
    }
    let containers = inventory.containers();
    out.send_if_modified(|last| {
        let differs = last.as_deref() != Some(&containers);
        if differs {
            *last = Some(Arc::new(containers));
        }
        differs
    });
}
