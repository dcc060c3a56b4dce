//! The task that owns sources and watchers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::RegistryEvent;
use super::catalog::{Catalog, RESTORE_TIME, Step};
use super::forward::forward;
use super::memory::{Memory, Remembered};
use crate::deadline::until;
use crate::engine::moment::Moment;
use crate::engine::risk::Allowed;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::panics::{Panicked, caught};
use crate::service_config::{self, Listing, SourceSettings};
use crate::watcher::{self, LastAddresses, Registries, ServerList, ServerSet, last_addresses, publisher};

/// How long a task that panicked stays down.
const PANIC_WAIT: Duration = Duration::from_secs(5);

/// What sources and watchers say.
enum Message {
    Listing { source: usize, listing: Listing },
    Servers { of: (ServiceName, Part), generation: u64, servers: ServerSet },
}

/// Whose task it is.
#[derive(Clone)]
enum Owner {
    Source(usize),
    Servers { of: (ServiceName, Part), generation: u64 },
}

/// A service's servers are listed in two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// By its registry.
    Registry,
    /// By its definition; followed if there are host names among them.
    Definition,
}

/// One such list that is followed.
struct Running {
    /// Tells this task's word from that of one before it.
    generation: u64,
    list: ServerList,
    /// Where its host names led to last.
    addresses: LastAddresses,
    task: AbortHandle,
}

pub(super) struct Manager {
    started: Instant,
    sources: Vec<Arc<SourceSettings>>,
    registries: Registries,
    events: mpsc::Sender<RegistryEvent>,
    catalog: Catalog,
    /// When what is remembered stands in for sources that didn't answer.
    recall_at: Option<Instant>,
    remembered: BTreeMap<String, Remembered>,
    lists: BTreeMap<(ServiceName, Part), Running>,
    last_generation: u64,
    tasks: JoinSet<Result<(), Panicked>>,
    owners: HashMap<Id, Owner>,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
}

/// The supervisor is gone.
struct Closed;

impl Manager {
    pub(super) fn new(
        sources: Vec<SourceSettings>,
        registries: Registries,
        allowed: Allowed,
        memory: Memory,
        events: mpsc::Sender<RegistryEvent>,
    ) -> Self {
        let (messages, inbox) = mpsc::channel(64);
        Self {
            started: Instant::now(),
            registries,
            catalog: Catalog::new(sources.len(), memory.listing(), allowed),
            recall_at: memory.recall_after.map(|wait| Instant::now() + wait),
            remembered: memory.services,
            sources: sources.into_iter().map(Arc::new).collect(),
            events,
            lists: BTreeMap::new(),
            last_generation: 0,
            tasks: JoinSet::new(),
            owners: HashMap::new(),
            messages,
            inbox,
        }
    }

    pub(super) async fn run(mut self) {
        for source in 0..self.sources.len() {
            self.start_source(source, Duration::ZERO);
        }
        if let Err(Closed) = self.serve().await {
            info!("the registries are followed no more");
        }
    }

    async fn serve(&mut self) -> Result<(), Closed> {
        let mut listed = self.catalog.is_complete();
        if listed {
            self.tell(RegistryEvent::Listed).await?;
        }
        loop {
            let recall_at = self.recall_at.filter(|_| !listed);
            let deadline = self.catalog.deadline().map(|deadline| self.started + deadline.since_start());
            tokio::select! {
                Some(message) = self.inbox.recv() => match message {
                    Message::Listing { source, listing } => {
                        let steps = self.catalog.update(source, listing, self.now());
                        self.take_all(steps).await?;
                        if !listed && self.catalog.is_complete() {
                            listed = true;
                            self.tell(RegistryEvent::Listed).await?;
                        }
                    }
                    Message::Servers { of, generation, servers } => {
                        let running = self.lists.get_mut(&of).filter(|running| running.generation == generation);
                        if let Some(running) = running {
                            running.addresses = last_addresses(servers.servers());
                            self.tell(servers_event(of, servers)).await?;
                        }
                    }
                },
                () = until(deadline) => {
                    let steps = self.catalog.expire(self.now());
                    self.take_all(steps).await?;
                }
                () = until(recall_at) => {
                    self.recall_at = None;
                    let (services, steps) = self.catalog.recall();
                    if services > 0 {
                        warn!(services, "not every list of services has come in time; those known before the start go ahead");
                    }
                    self.take_all(steps).await?;
                    if self.catalog.is_complete() {
                        listed = true;
                        self.tell(RegistryEvent::Listed).await?;
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => self.reap(ended),
                () = self.events.closed() => return Err(Closed),
            }
        }
    }

    async fn tell(&self, event: RegistryEvent) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.started.elapsed())
    }

    async fn take_all(&mut self, steps: Vec<Step>) -> Result<(), Closed> {
        for step in steps {
            self.take(step).await?;
        }
        Ok(())
    }

    async fn take(&mut self, step: Step) -> Result<(), Closed> {
        match step {
            Step::Define { name, spec, definition, unknown_keys } => {
                let origin = definition.origin.clone();
                info!(service = %name, origin, entrance = %spec.entrance, "service defined");
                for key in &unknown_keys {
                    warn!(service = %name, origin, %key, "unknown key in the definition; it plays no part");
                }
                let (told, spec_told) = (name.clone(), Arc::clone(&spec));
                self.tell(RegistryEvent::Defined { name: told, spec: spec_told, definition, unknown_keys })
                    .await?;
                let mut addresses = LastAddresses::new();
                if let Some(remembered) = self.remembered.remove(name.as_str()) {
                    addresses = last_addresses(&remembered.servers);
                    if let Some(servers) = remembered.watched(&name, &spec) {
                        self.tell(RegistryEvent::Remembered { name: name.clone(), servers }).await?;
                    }
                }
                self.follow(&name, &spec, &addresses);
                Ok(())
            }
            Step::Refuse { name, origin, reason } => {
                warn!(
                    service = name,
                    origin, reason, "definition refused; the last good one stays, if there is one"
                );
                self.tell(RegistryEvent::Refused { name, reason }).await
            }
            Step::Remove { name } => {
                info!(service = %name, "service removed");
                for part in [Part::Registry, Part::Definition] {
                    self.stop(&(name.clone(), part));
                }
                self.tell(RegistryEvent::Removed { name }).await
            }
            Step::Forget { name } => self.tell(RegistryEvent::Forgotten { name }).await,
            Step::KeepThoughEmpty { source, names } => {
                warn!(
                    source = self.source(source),
                    services = names.join(", "),
                    "the source lists no service any more, as if it had lost its data; its last ones stay until it lists one again"
                );
                Ok(())
            }
            Step::KeepThoughMissing { source, names } => {
                warn!(source = self.source(source), services = names.join(", "), within = ?RESTORE_TIME,
                    "the source lists services again, but not all that it had; the others stay if they come back in time");
                Ok(())
            }
        }
    }

    /// The name of a source, for the log.
    fn source(&self, source: usize) -> Option<String> {
        self.sources.get(source).map(ToString::to_string)
    }

    /// Follows the lists of a service; one goes on when only the rest of the definition changed.
    fn follow(&mut self, name: &ServiceName, spec: &ServiceSpec, remembered: &LastAddresses) {
        let has_names = spec.fixed_servers.iter().any(|server| server.host_name().is_some());
        let fixed = has_names.then(|| ServerList::Fixed(spec.fixed_servers.clone()));
        let watched = ServerList::Watched(spec.watcher.clone());
        for (part, list) in [(Part::Registry, Some(watched)), (Part::Definition, fixed)] {
            let of = (name.clone(), part);
            let running = self.lists.get(&of);
            if running.map(|running| &running.list) == list.as_ref() {
                continue;
            }
            let addresses = running.map_or(remembered, |running| &running.addresses).clone();
            self.stop(&of);
            if let Some(list) = list {
                self.start_list(of, list, addresses, Duration::ZERO);
            }
        }
    }

    fn stop(&mut self, of: &(ServiceName, Part)) {
        if let Some(running) = self.lists.remove(of) {
            running.task.abort();
        }
    }

    fn start_list(
        &mut self,
        of: (ServiceName, Part),
        list: ServerList,
        addresses: LastAddresses,
        wait: Duration,
    ) {
        self.last_generation += 1;
        let generation = self.last_generation;
        let (mut out, sets) = publisher(of.0.clone());
        let (registries, messages) = (self.registries.clone(), self.messages.clone());
        let (followed, tagged, first) = (list.clone(), of.clone(), addresses.clone());
        let task = self.tasks.spawn(caught("servers of a service", async move {
            sleep(wait).await;
            let tag = |servers| Message::Servers { of: tagged.clone(), generation, servers };
            tokio::select! {
                never = watcher::run(&followed, registries, first, &mut out) => match never {},
                () = forward(sets, messages, tag) => {}
            }
        }));
        self.owners.insert(task.id(), Owner::Servers { of: of.clone(), generation });
        self.lists.insert(of, Running { generation, list, addresses, task });
    }

    fn start_source(&mut self, source: usize, wait: Duration) {
        let Some(settings) = self.sources.get(source).cloned() else { return };
        let (out, listings) = watch::channel(None);
        let (ensembles, daemons) = (self.registries.ensembles.clone(), self.registries.daemons.clone());
        let (consuls, values) = (self.registries.consuls.clone(), self.registries.values.clone());
        let messages = self.messages.clone();
        let task = self.tasks.spawn(caught("source of services", async move {
            sleep(wait).await;
            let running =
                service_config::run(&settings, &ensembles, &consuls, &daemons, values.as_ref(), &out);
            tokio::select! {
                never = running => match never {},
                () = forward(listings, messages, |listing| Message::Listing { source, listing }) => {}
            }
        }));
        self.owners.insert(task.id(), Owner::Source(source));
    }

    /// Tasks end when they are stopped, or by a defect: then another takes over, and what was said before stays.
    fn reap(&mut self, ended: Result<(Id, Result<(), Panicked>), JoinError>) {
        let (id, panicked) = match ended {
            Ok((id, result)) => (id, result.is_err()),
            Err(stopped) => (stopped.id(), false),
        };
        let Some(owner) = self.owners.remove(&id).filter(|_| panicked) else { return };
        match owner {
            Owner::Source(source) => {
                error!(source, "following a source of definitions panicked; it is started again");
                self.start_source(source, PANIC_WAIT);
            }
            Owner::Servers { of, generation } => {
                let alive = self.lists.get(&of).filter(|running| running.generation == generation);
                if let Some((list, addresses)) =
                    alive.map(|running| (running.list.clone(), running.addresses.clone()))
                {
                    error!(service = %of.0, "following the servers panicked; it is started again");
                    self.start_list(of, list, addresses, PANIC_WAIT);
                }
            }
        }
    }
}

fn servers_event((name, part): (ServiceName, Part), servers: ServerSet) -> RegistryEvent {
    match part {
        Part::Registry => RegistryEvent::Servers { name, servers },
        Part::Definition => RegistryEvent::FixedServers { name, servers },
    }
}
