//! A reload: a new process, and the old one ends once the new one serves.
//!
//! Not with `-sf`: a new process that fails to bind pauses the old one for about two seconds.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::actor::{Actor, Event};
use super::check::CheckError;
use super::check_message::parse_alert;
use super::check_text::check_text;
use super::config_file::{CONFIG_MODE, ConfigFileError, keep_last_good, write_atomically};
use super::generation::{Launch, StartError, start};
use super::last_state::LastState;
use super::meanwhile::{Alone, Meanwhile};
use super::memory_file::{MemoryFile, StartFile};
use super::reply::AdminState;
use super::server_state::{CarriedServer, Intent, carry_over};
use crate::engine::capability::Switches;
use crate::engine::command::RuntimeCommand;
use crate::engine::error_text::with_causes;
use crate::engine::listen_address::ListenAddress;
use crate::engine::reconciler::ReloadFailure;
use crate::engine::render::Rendered;
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedServer, AppliedState};

/// A state file that says nothing (management guide, 9.3 "show servers state": the version's line).
const NO_STATE: &str = "1\n";

/// A reload that went well.
#[derive(Debug)]
pub(super) struct Reloaded {
    pub(super) took: Duration,
    /// Why haproxy.cfg could not be written; the process got its text all the same.
    pub(super) config_error: Option<ConfigFileError>,
}

impl Actor {
    /// `config` comes with the `maxconn` that takes the place of its own.
    pub(super) async fn reload(
        &mut self,
        first: &[RuntimeCommand],
        config: (&Rendered, Option<u32>),
        before: Option<&AppliedState>,
        after: &AppliedState,
        events: &mpsc::Sender<Event>,
    ) -> Result<Reloaded, ReloadFailure> {
        let began = Instant::now();
        self.execute(first).await;
        let opened = self.open_sockets(after)?;
        let needed: BTreeSet<_> = after.listens().collect();
        let routes = self.route_files.current();
        let started = self.start_generation(config, before, after, &needed, events).await;
        let config_error = started.inspect_err(|_failure| {
            self.close_sockets_among(&opened);
            self.route_files.restore(&routes);
        })?;
        self.close_sockets(|address| needed.contains(address));
        Ok(Reloaded { took: began.elapsed(), config_error })
    }

    /// Gives why haproxy.cfg could not be written, if so.
    async fn start_generation(
        &mut self,
        (config, maxconn): (&Rendered, Option<u32>),
        before: Option<&AppliedState>,
        after: &AppliedState,
        listen: &BTreeSet<&ListenAddress>,
        events: &mpsc::Sender<Event>,
    ) -> Result<Option<ConfigFileError>, ReloadFailure> {
        let served = self.serving.is_some();
        if self.last_good.as_deref() != Some(&*config.text) {
            self.check(config, events).await?;
        }
        if served && self.serving.is_none() {
            return Err(not_serving(&Alone));
        }
        let old_answers = self.learn_server_state().await;
        let server_state = self.write_server_state(before, after)?;
        let server_state = server_state.path();
        // One that is dead or hangs can't hand over: then the addresses are bound anew.
        let has_own_listeners =
            before.is_some_and(AppliedState::has_own_listeners) && after.has_own_listeners();
        let old = self.serving.as_ref().filter(|_| old_answers && has_own_listeners);
        let listeners_of = old.map(|old| old.control_path().to_owned());
        let previous = self.last_good.clone();
        self.route_files.write(&config.routes).map_err(|error| not_serving(&error))?;
        let config_error = self.write_config(&config.text).err();
        let config_file = if config_error.is_some() {
            StartFile::InMemory(in_memory(&config.text)?)
        } else {
            StartFile::OnDisk(self.settings.config_path.clone())
        };
        let config_path = config_file.path();
        self.generations += 1;
        let launch = Launch {
            reaper: &self.reaper,
            binary: &self.settings.binary,
            config: &config_path,
            server_state: &server_state,
            runtime_dir: &self.settings.runtime_dir,
            number: self.generations,
            sockets: &self.sockets,
            listen,
            operators: &self.operators,
            listeners_of: listeners_of.as_deref(),
            maxconn,
            limit: self.settings.start_limit,
        };
        let meanwhile = Meanwhile {
            serving: &mut self.serving,
            draining: &mut self.draining,
            events,
            generations: &self.seen,
            started: self.generations,
        };
        let started = meanwhile.wait_for(start(launch)).await;
        match started.unwrap_or_else(|alone| Err(StartError::Alone(alone))) {
            Ok(serving) => {
                info!(pid = serving.pid(), generation = serving.number(), "a new HAProxy serves");
                if let Some(old) = self.serving.replace(serving).filter(|old| !old.has_ended()) {
                    self.draining.push(old);
                    self.draining.end_excess().await;
                }
                self.drain_strays();
                self.route_files.keep_only(&config.routes, &self.settings.runtime_dir);
                self.last_good = Some(config.text.clone());
                self.keep_last_good(&config.text);
                Ok(config_error)
            }
            Err(error) => {
                if let Some(previous) = previous.filter(|_| config_error.is_none())
                    && let Err(error) = self.write_config(&previous)
                {
                    warn!(error = with_causes(&error), "haproxy.cfg does not say what runs");
                }
                Err(start_failure(&error, &config_path))
            }
        }
    }

    /// Opens what `after` listens on and isn't open; all of it, or nothing.
    fn open_sockets(&mut self, after: &AppliedState) -> Result<Vec<ListenAddress>, ReloadFailure> {
        let open: BTreeSet<_> = self.sockets.addresses().cloned().collect();
        let mut opened = Vec::new();
        let mut open_one = |address: &ListenAddress| {
            if !open.contains(address) {
                self.sockets.open(address).map_err(|error| with_causes(&error))?;
                opened.push(address.clone());
            }
            Ok(())
        };
        let mut frontends = Vec::new();
        for (name, frontend) in &after.base.frontends {
            if let Err(error) = frontend.binds().iter().try_for_each(&mut open_one) {
                frontends.push((name.clone(), error));
            }
        }
        let mut services: Vec<(ServiceName, String)> = Vec::new();
        for (name, service) in after.serving() {
            for address in &service.section.listen {
                if let Err(error) = open_one(address) {
                    services.push((name.clone(), error));
                }
            }
        }
        if services.is_empty() && frontends.is_empty() {
            return Ok(opened);
        }
        self.close_sockets_among(&opened);
        Err(ReloadFailure::Listen { services, frontends })
    }

    fn close_sockets_among(&mut self, opened: &[ListenAddress]) {
        for address in opened {
            self.sockets.close(address);
        }
    }

    async fn check(&mut self, config: &Rendered, events: &mpsc::Sender<Event>) -> Result<(), ReloadFailure> {
        let meanwhile = Meanwhile {
            serving: &mut self.serving,
            draining: &mut self.draining,
            events,
            generations: &self.seen,
            started: self.generations,
        };
        let text = config.text_for_check();
        let check = check_text(&self.reaper, &self.settings.binary, &text, &self.sockets);
        let check = meanwhile.wait_for(check).await.map_err(|alone| not_serving(&alone))?;
        let report = check.map_err(|error| check_failure(&error))?;
        if report.accepted {
            return Ok(());
        }
        Err(ReloadFailure::Refused(report.alerts().cloned().collect()))
    }

    /// Asks the serving process for its servers' state; `false` when there is none that answers.
    async fn learn_server_state(&mut self) -> bool {
        let Some(serving) = self.serving.as_mut().filter(|serving| !serving.has_ended()) else {
            return false;
        };
        let state = match serving.connection().await {
            Ok(connection) => connection.execute("show servers state").await,
            Err(error) => Err(error),
        };
        match state {
            Ok(state) => {
                self.last_state = Some(LastState::new(state));
                true
            }
            Err(error) => {
                warn!(
                    error = with_causes(&error),
                    "the new HAProxy starts with an older state of the servers"
                );
                false
            }
        }
    }

    /// Writes what the new process takes over about its servers, and gives the file's path.
    fn write_server_state(
        &self,
        before: Option<&AppliedState>,
        after: &AppliedState,
    ) -> Result<StartFile, ReloadFailure> {
        let carried = match (&self.last_state, before) {
            (Some(state), Some(before)) => {
                let carried = carried_servers(state, before, after);
                carry_over(&state.reply, carried).unwrap_or_else(|error| {
                    warn!(error = with_causes(&error), "the new HAProxy starts without the servers' state");
                    NO_STATE.to_owned()
                })
            }
            (_, _) => NO_STATE.to_owned(),
        };
        let path = self.settings.runtime_dir.join("server-state");
        debug!(lines = carried.lines().count(), "the servers' state is handed on");
        match write_atomically(&path, &carried, CONFIG_MODE) {
            Ok(_) => Ok(StartFile::OnDisk(path)),
            Err(error) => {
                debug!(error = with_causes(&error), "the servers' state is handed on in memory");
                Ok(StartFile::InMemory(in_memory(&carried)?))
            }
        }
    }

    fn write_config(&self, text: &str) -> Result<(), ConfigFileError> {
        write_atomically(&self.settings.config_path, text, CONFIG_MODE).map(|_written| ())
    }

    fn keep_last_good(&mut self, text: &str) {
        let failed = match keep_last_good(&self.settings.state_dir, text) {
            Ok(_) => false,
            Err(error) if self.last_good_unwritten => {
                debug!(error = with_causes(&error), "the last good configuration is still not kept");
                true
            }
            Err(error) => {
                warn!(error = with_causes(&error), "the last good configuration is not kept; trying on");
                true
            }
        };
        self.last_good_unwritten = failed;
    }
}

fn start_failure(error: &StartError, config: &Path) -> ReloadFailure {
    let why = with_causes(error);
    match error {
        StartError::Ended { exit: _, alerts } => {
            let complaint = |text: &String| parse_alert(text).into_complaint(config);
            ReloadFailure::Ended { why, complaints: alerts.iter().map(complaint).collect() }
        }
        StartError::ControlSocket(_)
        | StartError::Spawn(_)
        | StartError::NoReply(_)
        | StartError::Alone(_) => ReloadFailure::NotServing(why),
    }
}

fn in_memory(text: &str) -> Result<MemoryFile, ReloadFailure> {
    MemoryFile::new(text).map_err(|error| not_serving(&error))
}

/// A check that is killed, or doesn't end, may be one definition's fault, as a start may.
fn check_failure(error: &CheckError) -> ReloadFailure {
    match error {
        CheckError::Died { .. } | CheckError::TimedOut { .. } => {
            ReloadFailure::Ended { why: with_causes(error), complaints: Vec::new() }
        }
        CheckError::Spawn(_) | CheckError::Memory(_) | CheckError::NoVersion { .. } => not_serving(error),
    }
}

fn not_serving(error: &(dyn std::error::Error + 'static)) -> ReloadFailure {
    ReloadFailure::NotServing(with_causes(error))
}

/// The servers that both processes have.
fn carried_servers<'a>(
    state: &LastState,
    before: &'a AppliedState,
    after: &'a AppliedState,
) -> Vec<CarriedServer<'a>> {
    let intent = |server: &AppliedServer| Intent {
        admin: if server.standing.is_out() { AdminState::Maint } else { AdminState::Ready },
        weight: server.weight,
    };
    let mut carried = Vec::new();
    for (name, service) in &after.services {
        let Some(old) = before.services.get(name) else { continue };
        for (server, new) in &service.servers {
            let Some(old) = old.servers.get(server).filter(|_| state.holds_for(name, server)) else {
                continue;
            };
            let switches = Switches::of(&after.base, &service.section, new.options.as_ref());
            carried.push(CarriedServer {
                backend: name.as_str(),
                name: server.as_str(),
                address: new.address,
                checked: switches.any_check(),
                disabled: switches.disabled,
                before: intent(old),
                after: intent(new),
            });
        }
    }
    carried
}
