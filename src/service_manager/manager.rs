//! The task that owns sources and watchers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::RegistryEvent;
use super::catalog::{Catalog, RESTORE_TIME, Step};
use super::forward::forward;
use super::memory::{Memory, Remembered};
use crate::engine::moment::Moment;
use crate::engine::service::{ServiceName, ServiceSpec, WatcherSpec};
use crate::service_config::{self, Listing, SourceSettings};
use crate::watcher::{self, Registries, ServerSet, updates};

/// How long a task that panicked stays down.
const PANIC_WAIT: Duration = Duration::from_secs(5);

/// What sources and watchers say.
enum Message {
    Listing { source: usize, listing: Listing },
    Servers { name: ServiceName, generation: u64, servers: ServerSet },
}

/// Whose task it is.
#[derive(Clone)]
enum Owner {
    Source(usize),
    Watcher { name: ServiceName, generation: u64 },
}

struct Running {
    /// Tells this watcher's word from that of one before it.
    generation: u64,
    spec: WatcherSpec,
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
    watchers: BTreeMap<ServiceName, Running>,
    last_generation: u64,
    tasks: JoinSet<()>,
    owners: HashMap<Id, Owner>,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
}

/// The supervisor is gone.
struct Closed;

impl Manager {
    pub(super) fn new(
        sources: Vec<SourceSettings>,
        memory: Memory,
        events: mpsc::Sender<RegistryEvent>,
    ) -> Self {
        let (messages, inbox) = mpsc::channel(64);
        let credentials = sources.iter().filter_map(|source| match source {
            SourceSettings::Zookeeper { servers, path: _, auth } => Some((servers.clone(), auth.clone()?)),
            SourceSettings::File { path: _ } => None,
        });
        Self {
            started: Instant::now(),
            registries: Registries { credentials: credentials.collect(), ..Registries::default() },
            catalog: Catalog::new(sources.len(), memory.listing()),
            recall_at: memory.recall_after.map(|wait| Instant::now() + wait),
            remembered: memory.services,
            sources: sources.into_iter().map(Arc::new).collect(),
            events,
            watchers: BTreeMap::new(),
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
                    Message::Servers { name, generation, servers } => {
                        if self.watchers.get(&name).is_some_and(|watcher| watcher.generation == generation) {
                            self.tell(RegistryEvent::Servers { name, servers }).await?;
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
                info!(service = %name, origin, port = spec.port, "service defined");
                for key in unknown_keys {
                    warn!(service = %name, origin, %key, "unknown key in the definition; it plays no part");
                }
                let event =
                    RegistryEvent::Defined { name: name.clone(), spec: Arc::clone(&spec), definition };
                self.tell(event).await?;
                if let Some(remembered) = self.remembered.remove(name.as_str())
                    && remembered.is_of(&spec)
                {
                    let servers = remembered.servers;
                    self.tell(RegistryEvent::Remembered { name: name.clone(), servers }).await?;
                }
                self.ensure_watcher(name, &spec);
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
                if let Some(watcher) = self.watchers.remove(&name) {
                    watcher.task.abort();
                }
                self.tell(RegistryEvent::Removed { name }).await
            }
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

    /// The watcher goes on when only the rest of the definition changed.
    fn ensure_watcher(&mut self, name: ServiceName, spec: &ServiceSpec) {
        if let Some(running) = self.watchers.get(&name) {
            if running.spec == spec.watcher {
                return;
            }
            running.task.abort();
        }
        self.start_watcher(name, spec.watcher.clone(), Duration::ZERO);
    }

    fn start_watcher(&mut self, name: ServiceName, spec: WatcherSpec, wait: Duration) {
        self.last_generation += 1;
        let generation = self.last_generation;
        let (out, sets) = updates(name.clone());
        let (registries, messages, watched) = (self.registries.clone(), self.messages.clone(), spec.clone());
        let owner = Owner::Watcher { name: name.clone(), generation };
        let tagged = name.clone();
        let task = self.tasks.spawn(async move {
            sleep(wait).await;
            let tag = |servers| Message::Servers { name: tagged.clone(), generation, servers };
            tokio::select! {
                never = watcher::run(&watched, registries, &out) => match never {},
                () = forward(sets, messages, tag) => {}
            }
        });
        self.owners.insert(task.id(), owner);
        self.watchers.insert(name, Running { generation, spec, task });
    }

    fn start_source(&mut self, source: usize, wait: Duration) {
        let Some(settings) = self.sources.get(source).cloned() else { return };
        let (out, listings) = watch::channel(None);
        let (ensembles, messages) = (self.registries.ensembles.clone(), self.messages.clone());
        let task = self.tasks.spawn(async move {
            sleep(wait).await;
            tokio::select! {
                never = service_config::run(&settings, &ensembles, &out) => match never {},
                () = forward(listings, messages, |listing| Message::Listing { source, listing }) => {}
            }
        });
        self.owners.insert(task.id(), Owner::Source(source));
    }

    /// Tasks end when they are stopped, or by a defect: then another takes over, and what was said before stays.
    fn reap(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let owner = self.owners.remove(&id);
        let Some(owner) = owner.filter(|_| ended.is_err_and(|error| error.is_panic())) else { return };
        match owner {
            Owner::Source(source) => {
                error!(source, "following a source of definitions panicked; it is started again");
                self.start_source(source, PANIC_WAIT);
            }
            Owner::Watcher { name, generation } => {
                let alive = self.watchers.get(&name).filter(|running| running.generation == generation);
                if let Some(spec) = alive.map(|running| running.spec.clone()) {
                    error!(service = %name, "a watcher panicked; it is started again");
                    self.start_watcher(name, spec, PANIC_WAIT);
                }
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
