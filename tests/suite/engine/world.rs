//! The world around the reconciler: registries that change, a `HAProxy` that fails, and a clock that only tests move.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use proxymgr::engine::capability::Capability;
use proxymgr::engine::command::Verdict;
use proxymgr::engine::haproxy_version::HaproxyVersion;
use proxymgr::engine::http_frontend::{HttpFrontend, MapFile};
use proxymgr::engine::limits::Resources;
use proxymgr::engine::listen_address::ListenAddress;
use proxymgr::engine::moment::Moment;
use proxymgr::engine::node_rules::NodeRules;
use proxymgr::engine::observed::{Observed, ObservedServer};
use proxymgr::engine::option_line::{LineEnd, OptionLine};
use proxymgr::engine::outage_rules::{OnEmpty, OutageRules, OwnOutageRules, Percent};
use proxymgr::engine::reconciler::{
    Complaint, Effect, Input, Notice, Order, Outcome, Reconciler, ReloadFailure, Settings,
};
use proxymgr::engine::render::Rendered;
use proxymgr::engine::route::{FrontendName, RouteId, RouteKey, Strip};
use proxymgr::engine::section::Base;
use proxymgr::engine::server::{Server, ServerName, Weight};
use proxymgr::engine::server_id::ServerId;
use proxymgr::engine::service::{Entrance, ServiceName, ServiceSpec, WatcherSpec};

use proxymgr::engine::state::{AppliedState, Checks};

use super::checker::complaint;
use super::model::Model;

/// Decides whether something goes wrong; the plain world has no faults.
pub trait Luck {
    /// True once in `n` times.
    fn strikes(&mut self, n: u64) -> bool;
}

/// How seldom a new process ends before it serves, which tells that fault from the others.
pub const START_FAILS: u64 = 8;

/// Nothing goes wrong.
pub struct NoFaults;

impl Luck for NoFaults {
    fn strikes(&mut self, _: u64) -> bool {
        false
    }
}

pub struct World {
    pub reconciler: Reconciler,
    pub now: Moment,
    /// The serving process.
    pub running: Option<Model>,
    /// haproxy.cfg on disk.
    pub config: String,
    /// The files of routes on disk.
    pub routes: BTreeMap<MapFile, Arc<str>>,
    pub reloads: usize,
    pub commands: Vec<String>,
    pub notices: Vec<Notice>,
    pub ready: usize,
    /// The order under way.
    pub order: Option<Order>,
    /// The line that `HAProxy` refuses.
    pub refused_line: &'static str,
    /// A line that is refused without being named.
    pub silent_line: &'static str,
    /// The checks so far.
    pub checks: usize,
    /// The line with which a process ends before it serves, though the check takes it.
    pub unstartable_line: &'static str,
    /// The line with which a process never serves, though the check takes it.
    pub hanging_line: &'static str,
    /// The line that kills a process [`LIVES`] after it began to serve.
    pub deadly_line: &'static str,
    /// An address that another process has.
    pub taken: &'static str,
    pub dies_at: Option<Moment>,
    pub deaths: usize,
    /// Commands that the process has yet to carry out, though nobody waits for its reply any more.
    late: Vec<String>,
}

/// How long a process lives that its configuration kills.
const LIVES: Duration = Duration::from_millis(300);

pub fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub fn spec(port: u16, listen_options: &[&str]) -> ServiceSpec {
    ServiceSpec {
        entrance: Entrance::Port(NonZeroU16::new(port).unwrap()),
        cookie: None,
        bind: Vec::new(),
        bind_options: None,
        own_binds: Vec::new(),
        listen_options: listen_options.iter().map(|line| OptionLine::parse(line).unwrap()).collect(),
        server_options: vec![LineEnd::parse("check inter 2s").unwrap()],
        watcher: WatcherSpec::File { file: "/servers".into(), rules: NodeRules::default() },
        fixed_servers: Vec::new(),
        outage: OwnOutageRules::default(),
    }
}

/// The same for a service that is reached by routes of the frontend `in`.
pub fn routed_spec(keys: &[&str], listen_options: &[&str]) -> ServiceSpec {
    let routes = keys.iter().map(|key| (route(key), Strip::NOTHING)).collect();
    ServiceSpec { entrance: Entrance::Routes(Arc::new(routes)), ..spec(1, listen_options) }
}

pub fn route(key: &str) -> RouteId {
    RouteId { frontend: FrontendName::parse("in").unwrap(), key: RouteKey::parse(key).unwrap() }
}

/// A frontend `in`, for what no route is found for with `default_service`.
pub fn frontends(default_service: Option<&str>) -> BTreeMap<FrontendName, HttpFrontend> {
    let frontend = HttpFrontend {
        listen: vec![ListenAddress::parse("0.0.0.0:9").unwrap()],
        bind_options: None,
        options: Vec::new(),
        default_service: default_service.map(name),
        map: MapFile::parse("/run/routes-in.map").unwrap(),
        is_out: false,
    };
    [(FrontendName::parse("in").unwrap(), frontend)].into()
}

pub fn server(address: &str) -> Server {
    Server::at(address.parse().unwrap()).unwrap()
}

pub fn settings(runtime_updates: bool) -> Settings {
    let base = Base {
        global: Vec::new(),
        defaults: Vec::new(),
        bind_address: [0, 0, 0, 0].into(),
        operators_socket: None,
        program: None,
        frontends: BTreeMap::new(),
        cookie_key: None,
    };
    Settings {
        base: Arc::new(base),
        capability: Capability { version: HaproxyVersion::new(2, 6, 12), runtime_updates },
        min_interval: Duration::from_secs(1),
        startup_timeout: Duration::from_secs(10),
        resources: Resources::PLENTY,
        outage: OutageRules {
            on_empty: OnEmpty::Keep,
            max_shrink: Percent::THREE_QUARTERS,
            shrink_hold: Duration::from_secs(30),
        },
    }
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let now = Moment::START;
        Self {
            reconciler: Reconciler::new(settings, now),
            now,
            running: None,
            config: String::new(),
            routes: BTreeMap::new(),
            reloads: 0,
            commands: Vec::new(),
            notices: Vec::new(),
            ready: 0,
            order: None,
            refused_line: "bad option",
            silent_line: "silent option",
            checks: 0,
            unstartable_line: "unstartable option",
            hanging_line: "hanging option",
            deadly_line: "deadly option",
            taken: "nowhere",
            dies_at: None,
            deaths: 0,
            late: Vec::new(),
        }
    }

    /// A world in which these services run, each with its port and its servers.
    pub fn running(settings: Settings, services: &[(&str, u16, &[&str])]) -> Self {
        let mut world = Self::new(settings);
        for (service, port, servers) in services {
            world.define(service, *port, &[]);
            world.servers(service, servers);
        }
        world.tell(Input::Listed);
        world.settle(Duration::from_secs(5));
        world.reloads = 0;
        world.commands.clear();
        world.notices.clear();
        world
    }

    /// Another `ProxyMgr` takes over what runs, and waits for its registries.
    pub fn taken_over(mut self, settings: Settings) -> Self {
        let applied = self.reconciler.applied().unwrap().clone();
        self.now = Moment::START;
        self.reconciler = Reconciler::taking_over(settings, applied, self.now);
        (self.ready, self.reloads) = (0, 0);
        self.commands.clear();
        self.settle(Duration::from_millis(20));
        self
    }

    pub fn define(&mut self, service: &str, port: u16, listen_options: &[&str]) {
        self.tell(Input::Defined(name(service), Arc::new(spec(port, listen_options))));
    }

    pub fn servers(&mut self, service: &str, servers: &[&str]) {
        self.tell(Input::Servers(name(service), servers.iter().map(|address| server(address)).collect()));
    }

    pub fn tell(&mut self, input: Input) {
        for effect in self.reconciler.handle(input, self.now) {
            match effect {
                Effect::Order(order) => {
                    assert!(self.order.replace(order).is_none(), "two orders at a time");
                }
                Effect::Notice(notice) => self.notices.push(notice),
                Effect::Ready => self.ready += 1,
            }
        }
    }

    /// Lets `span` pass: orders are carried out, deadlines come.
    pub fn settle(&mut self, span: Duration) {
        self.settle_with(span, &mut NoFaults);
    }

    pub fn settle_with(&mut self, span: Duration, luck: &mut impl Luck) {
        let end = self.now + span;
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 100_000, "the reconciler does not come to rest: {:?}", self.notices.last());
            if self.order.is_some() {
                self.carry_out(luck);
                continue;
            }
            match (self.reconciler.deadline(), self.dies_at) {
                (deadline, Some(dies_at)) if dies_at <= end && deadline.is_none_or(|at| dies_at <= at) => {
                    self.now = self.now.max(dies_at);
                    self.die();
                }
                (Some(deadline), _) if deadline <= end => {
                    self.now = self.now.max(deadline);
                    self.tell(Input::Tick);
                }
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass until an order is given.
    pub fn settle_until_ordered(&mut self) {
        while self.order.is_none() {
            self.now = self.now.max(self.reconciler.deadline().expect("something is due"));
            self.tell(Input::Tick);
        }
    }

    /// Carries out the order under way.
    pub fn carry_out(&mut self, luck: &mut impl Luck) {
        let Some(order) = self.order.take() else { return };
        let outcome = match order {
            Order::Reload { first, config, after, .. } => {
                for command in &first {
                    self.execute(&command.to_string(), luck);
                }
                self.reload(&config, &after, luck)
            }
            Order::Apply { config, commands, .. } => {
                let config_error = (config.is_some() && luck.strikes(20)).then(|| "disk full".to_owned());
                if let (Some(config), None) = (config, &config_error) {
                    config.text.as_ref().clone_into(&mut self.config);
                    self.routes = config.routes;
                }
                let mut verdicts = Vec::new();
                for command in &commands {
                    if self.running.is_none() || luck.strikes(40) {
                        if luck.strikes(2) {
                            self.late = commands[verdicts.len()..].iter().map(ToString::to_string).collect();
                        }
                        break;
                    }
                    let reply = self.execute(&command.to_string(), luck);
                    if luck.strikes(40) {
                        break;
                    }
                    verdicts.push(if luck.strikes(40) {
                        Verdict::Unexpected("?".into())
                    } else {
                        command.judge(&reply)
                    });
                }
                Outcome::Applied { verdicts, config_error }
            }
            Order::Compare { routes } => match &self.running {
                Some(running) if !luck.strikes(10) => {
                    let observed = observe(running, &routes);
                    for command in std::mem::take(&mut self.late) {
                        self.execute(&command, luck);
                    }
                    Outcome::Compared(observed)
                }
                _ => Outcome::CompareFailed("no answer".into()),
            },
        };
        self.now = self.now + Duration::from_millis(1);
        self.tell(Input::Done(outcome));
    }

    fn execute(&mut self, command: &str, luck: &mut impl Luck) -> String {
        self.commands.push(command.to_owned());
        if luck.strikes(40) {
            return "Some error.".into();
        }
        let connections_last = luck.strikes(2);
        self.running.as_mut().map_or_else(String::new, |running| running.execute(command, connections_last))
    }

    fn reload(&mut self, rendered: &Rendered, after: &AppliedState, luck: &mut impl Luck) -> Outcome {
        let config = &*rendered.text;
        self.now = self.now + Duration::from_millis(80);
        if luck.strikes(START_FAILS) {
            return Outcome::ReloadFailed(ReloadFailure::NotServing("exited with 1".into()));
        }
        let refused = refused_addresses(after, self.taken, luck);
        if let ReloadFailure::Listen { services, frontends } = &refused
            && !(services.is_empty() && frontends.is_empty())
        {
            return Outcome::ReloadFailed(refused);
        }
        self.checks += 1;
        if config.lines().any(|line| line.trim() == self.silent_line) {
            let complaint = Complaint { line: None, proxy: None, text: "fatal error".into() };
            return Outcome::ReloadFailed(ReloadFailure::Refused(vec![complaint]));
        }
        if let Some(line) = config.lines().position(|line| line.trim() == self.refused_line) {
            let complaint =
                Complaint { line: Some(line + 1), proxy: None, text: "unknown keyword 'bad'".into() };
            return Outcome::ReloadFailed(ReloadFailure::Refused(vec![complaint]));
        }
        if let Some(complaint) = complaint(config) {
            return Outcome::ReloadFailed(ReloadFailure::Refused(vec![complaint]));
        }
        if config.lines().any(|line| line.trim() == self.hanging_line) {
            return Outcome::ReloadFailed(ReloadFailure::NotServing("it did not answer for 30 s".into()));
        }
        if let Some(line) = config.lines().position(|line| line.trim() == self.unstartable_line) {
            let text = "not enough free sockets".to_owned();
            let complaints = vec![Complaint { line: Some(line + 1), proxy: None, text }];
            return Outcome::ReloadFailed(ReloadFailure::Ended { why: "exit code 1".into(), complaints });
        }
        let config_error = luck.strikes(20).then(|| "disk full".to_owned());
        self.reloads += 1;
        let deadly = config.lines().any(|line| line.trim() == self.deadly_line);
        self.dies_at = deadly.then(|| self.now + LIVES);
        if config_error.is_none() {
            config.clone_into(&mut self.config);
            self.routes.clone_from(&rendered.routes);
        }
        self.running = Some(Model::load_all(config, &rendered.routes));
        self.late.clear();
        Outcome::Reloaded { took: Duration::from_millis(80), config_error }
    }

    /// Goes on until no process was killed by its configuration for a while, or is about to be, and nothing is due.
    pub fn settle_between_tries(&mut self) {
        loop {
            let deaths = self.deaths;
            self.settle(Duration::from_secs(5));
            let nothing_due = self.reconciler.deadline().is_none_or(|due| due > self.now + LIVES);
            if self.deaths == deaths && self.dies_at.is_none() && nothing_due {
                return;
            }
        }
    }

    /// The serving process dies.
    pub fn die(&mut self) {
        self.dies_at = None;
        self.late.clear();
        if self.running.take().is_some() {
            self.deaths += 1;
            self.tell(Input::Died { how: "killed".into() });
        }
    }
}

/// Who doesn't get an address.
fn refused_addresses(after: &AppliedState, taken: &str, luck: &mut impl Luck) -> ReloadFailure {
    let why = || "in use".to_owned();
    let unlucky = after.services.keys().next().filter(|_| luck.strikes(10));
    let services = unlucky.map(|service| (service.clone(), why())).into_iter().collect();
    let has_lost =
        |frontend: &HttpFrontend| frontend.binds().iter().any(|address| address.to_string() == taken);
    let frontends = after.base.frontends.iter().filter(|(_, frontend)| has_lost(frontend));
    let frontends = frontends.map(|(name, _)| (name.clone(), why())).collect();
    ReloadFailure::Listen { services, frontends }
}

fn observe(model: &Model, routes: &[MapFile]) -> Observed {
    let servers = |backend: &super::model::Backend| -> BTreeMap<ServerName, ObservedServer> {
        let seen = |(name, server): (&String, &super::model::Server)| {
            let seen = ObservedServer {
                id: ServerId::reported(server.id),
                address: server.address.parse().ok(),
                weight: Weight::new(server.weight).unwrap(),
                in_maintenance: server.maintenance,
                checks: if server.checked || !server.has_check {
                    Checks::AsConfigured
                } else {
                    Checks::ToEnable
                },
            };
            (ServerName::reported(name), seen)
        };
        backend.servers.iter().map(seen).collect()
    };
    let servers = model.backends.iter().map(|(name, backend)| (name.clone(), servers(backend))).collect();
    let routes = routes.iter().map(|file| (file.clone(), model.maps[file.as_str()].clone())).collect();
    Observed { servers, routes }
}
