//! What the loop is fed with: the words of the registries, and the included files.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::REGISTRY_QUEUE;
use super::remember::recall;
use super::settings::registries;
use crate::config::Config;
use crate::engine::include::Includes;
use crate::engine::reconciler::{Held, Input};
use crate::engine::service::ServiceName;
use crate::include_files::Follower;
use crate::panics::caught;
use crate::service_config::SourceSettings;
use crate::service_manager::{self, RegistryEvent};
use crate::template::{TemplateFollower, Told};
use crate::watcher::Registries;

/// The tasks that follow all that is outside; they end with the value.
pub(super) struct Feeds {
    /// Closed when the task behind it has panicked.
    pub(super) registry: mpsc::Receiver<RegistryEvent>,
    pub(super) includes: mpsc::Receiver<Includes>,
    pub(super) template: mpsc::Receiver<Told>,
    /// What is shared with those tasks, while there are any.
    pub(super) registries: Option<Registries>,
    tasks: Vec<AbortHandle>,
}

/// What there is when they begin.
pub(super) struct Begun {
    pub(super) feeds: Feeds,
    /// What is there of the included files.
    pub(super) includes: Option<Includes>,
    /// What the template is.
    pub(super) template: Input,
    /// How services were reached in an earlier run.
    pub(super) holders: BTreeMap<ServiceName, Held>,
}

impl Feeds {
    /// Nothing is followed.
    pub(super) fn none() -> Self {
        Self {
            registry: mpsc::channel(1).1,
            includes: mpsc::channel(1).1,
            template: mpsc::channel(1).1,
            registries: None,
            tasks: Vec::new(),
        }
    }

    /// Follows everything from its beginning, with what is there of the included files.
    pub(super) fn start(config: &Config, sources: Vec<SourceSettings>) -> Begun {
        let (events, registry) = mpsc::channel(REGISTRY_QUEUE);
        let memory = recall(&config.state_dir, config.safety.startup_timeout);
        let holders = memory.holders();
        let registries = registries(config, &sources);
        let following = service_manager::run(
            sources,
            registries.clone(),
            config.safety.allow_options.clone(),
            memory,
            events,
        );
        let mut follower = Follower::new(config.haproxy.include.clone(), config.haproxy.config_path.clone());
        let first = follower.look();
        let (out, includes) = mpsc::channel(1);
        let mut tasks = vec![
            tokio::spawn(caught("registries", following)).abort_handle(),
            tokio::spawn(follower.follow(out)).abort_handle(),
        ];
        let (out, template) = mpsc::channel(1);
        let mut follower = config.haproxy.template.clone().map(TemplateFollower::new);
        let told = follower.as_mut().and_then(TemplateFollower::look);
        tasks.extend(follower.map(|follower| tokio::spawn(follower.follow(out)).abort_handle()));
        let feeds = Self { registry, includes, template, registries: Some(registries), tasks };
        let template = told.map_or(Input::Template(None), template_input);
        Begun { feeds, includes: first, template, holders }
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What the reconciler is told of the template's file.
pub(super) fn template_input(told: Told) -> Input {
    match told {
        Ok(template) => Input::Template(Some(template)),
        Err(reason) => Input::TemplateUnusable(reason),
    }
}

/// What the reconciler is told of a registry's event. Refusals and skipped entries are logged where they are found.
pub(super) fn registry_input(event: RegistryEvent) -> Option<Input> {
    match event {
        RegistryEvent::Listed => Some(Input::Listed),
        RegistryEvent::Defined { name, spec, definition: _, unknown_keys: _ } => {
            Some(Input::Defined(name, spec))
        }
        RegistryEvent::Remembered { name, servers } => Some(Input::Remembered(name, servers)),
        RegistryEvent::Refused { .. } | RegistryEvent::Forgotten { .. } => None,
        RegistryEvent::Removed { name } => Some(Input::Removed(name)),
        RegistryEvent::Servers { name, servers } => Some(Input::Servers(name, servers.servers().to_vec())),
        RegistryEvent::FixedServers { name, servers } => {
            Some(Input::FixedServers(name, servers.servers().to_vec()))
        }
    }
}
