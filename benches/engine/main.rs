//! What the engine's decisions cost: `cargo bench --bench engine`.
//!
//! 1000 services of 50 servers each is a large installation; every server is checked, as most are.

#![expect(clippy::expect_used, reason = "a benchmark that can't go on has nothing to tell")]

mod routes;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, SamplingMode};

use proxymgr::engine::capability::Capability;
use proxymgr::engine::command::Verdict;
use proxymgr::engine::haproxy_version::HaproxyVersion;
use proxymgr::engine::limits::Resources;
use proxymgr::engine::moment::Moment;
use proxymgr::engine::node_rules::NodeRules;
use proxymgr::engine::observed::{Observed, ObservedServer};
use proxymgr::engine::option_line::{LineEnd, OptionLine};
use proxymgr::engine::outage_rules::{OnEmpty, OutageRules, OwnOutageRules, Percent};
use proxymgr::engine::plan::{Plan, plan, replay};
use proxymgr::engine::reconciler::{Effect, Input, Order, Outcome, Reconciler, Settings};
use proxymgr::engine::render::Renderer;
use proxymgr::engine::risk::Allowed;
use proxymgr::engine::section::{Base, Section};
use proxymgr::engine::server::Server;
use proxymgr::engine::service::{Entrance, ServiceName, ServiceSpec, WatcherSpec};
use proxymgr::engine::state::{AppliedState, DesiredService, DesiredState};
use proxymgr::service_config::{Format, RawDefinition, parse};
use proxymgr::template::parse as parse_template;

const CAPABILITY: Capability = Capability { version: HaproxyVersion::new(2, 6, 12), runtime_updates: true };
/// Of its service, the server that changes.
const CHANGED: u16 = 3;

/// How many services, and how many servers each has.
#[derive(Clone, Copy)]
struct Size {
    services: u16,
    servers: u16,
}

const LARGE: Size = Size { services: 1000, servers: 50 };
const COMMON: Size = Size { services: 1000, servers: 5 };
const ONE_BACKEND: Size = Size { services: 1, servers: 10_000 };

fn main() {
    let mut criterion = Criterion::default()
        .configure_from_args()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .sample_size(30);
    checking(&mut criterion);
    planning(&mut criterion, "1000 services x 50 servers", LARGE);
    planning(&mut criterion, "1 service x 10000 servers", ONE_BACKEND);
    rendering(&mut criterion);
    templating(&mut criterion);
    reconciling(&mut criterion, "1000 services x 5 servers", COMMON);
    reconciling(&mut criterion, "1000 services x 50 servers", LARGE);
    reconciling(&mut criterion, "1 service x 10000 servers", ONE_BACKEND);
    routes::changing(&mut criterion);
    criterion.final_summary();
}

fn planning(criterion: &mut Criterion, size_name: &str, size: Size) {
    let mut group = criterion.benchmark_group(format!("plan(), {size_name}"));
    let desired = size.desired();
    let applied = AppliedState::loaded(&desired, None);
    let refuses_servers = BTreeSet::new();
    let mut measure = |name: &str, wanted: &DesiredState| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan(black_box(&applied), black_box(wanted), CAPABILITY, &refuses_servers));
        });
    };
    measure("one server replaced", &size.with_one_replaced(&desired));
    measure("nothing changed", &desired);
    group.finish();
}

fn rendering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Renderer::render(), 1000 services x 50 servers");
    let desired = LARGE.desired();
    let applied = AppliedState::loaded(&desired, None);
    let wanted = LARGE.with_one_replaced(&desired);
    let way = plan(&applied, &wanted, CAPABILITY, &BTreeSet::new());
    assert!(matches!(way, Plan::Runtime(_)), "a server is replaced without a reload: {way:?}");
    let after = replay(&way, &applied, &wanted);
    group.bench_function("one server replaced", |bencher| {
        let mut renderer = Renderer::default();
        renderer.render(&applied);
        let mut states = [&after, &applied].into_iter().cycle();
        bencher.iter(|| renderer.render(states.next().expect("an endless cycle")));
    });
    group.bench_function("all new", |bencher| {
        bencher.iter_batched_ref(
            Renderer::default,
            |renderer| renderer.render(&applied),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// What a template takes in place of the built-in layout. One that writes each server by its values, and looks at each twice, is
/// about as much as templates do.
fn templating(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Renderer::by_template(), 1000 services x 5 servers");
    let layout = include_str!("../../config/haproxy.cfg.j2");
    let by_values = layout.replace(
        "{{ service.server_lines -}}\n",
        "{% set up = service.servers | rejectattr('weight', 'eq', 0) | list %}\n\
         {% for server in service.servers %}\n\
         \x20 server {{ server.name }} {{ server.address }} id {{ server.id }} {{ service.server_options | join(' ') }} \
         weight {{ server.weight }}{% if server.backup or up | length < 2 %} backup{% endif %}\n\n\
         {% endfor %}\n",
    );
    for (name, layout) in [("the built-in layout", layout), ("servers by their values", &by_values)] {
        let mut desired = COMMON.desired();
        desired.template = Some(parse_template("/haproxy.cfg.j2", layout).expect("a good template"));
        let applied = AppliedState::loaded(&desired, None);
        let wanted = COMMON.with_one_replaced(&desired);
        let after = AppliedState::loaded(&wanted, Some(&applied));
        group.bench_function(name, |bencher| {
            let mut renderer = Renderer::default();
            let mut states = [&after, &applied].into_iter().cycle();
            bencher.iter(|| {
                let state = states.next().expect("an endless cycle");
                renderer.by_template(state).expect("it holds all that is needed")
            });
        });
    }
    group.finish();
}

/// Reading one definition and all its checks.
fn checking(criterion: &mut Criterion) {
    let (service, raw) = (service_name(0), definition(0));
    criterion.bench_function("service_config::parse(), one definition", |bencher| {
        bencher.iter(|| parse(black_box(&service), black_box(&raw), &Allowed::new()));
    });
}

/// From a watcher's answer to the order for `HAProxy`, without the waits for more changes.
fn reconciling(criterion: &mut Criterion, size_name: &str, size: Size) {
    let mut group = criterion.benchmark_group(format!("Reconciler, {size_name}"));
    group.sampling_mode(SamplingMode::Flat);
    let mut running = Running::start(size);
    group.bench_function("one server replaced", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| running.replace_one()).sum());
    });
    group.bench_function("one definition changed, JSON and all its checks included", |bencher| {
        bencher.iter_custom(|rounds| (0..rounds).map(|_| running.redefine_one()).sum());
    });
    group.finish();
}

/// A reconciler whose `HAProxy` does all it is told, at once.
struct Running {
    size: Size,
    reconciler: Reconciler,
    now: Moment,
    rounds: u8,
}

impl Running {
    fn start(size: Size) -> Self {
        let mut running = Self::with_nothing(size, base());
        for service in 0..size.services {
            running.tell(Input::Defined(service_name(service), Arc::new(spec(service))));
        }
        for service in 0..size.services {
            running.tell(Input::Servers(service_name(service), size.servers_of(service, 0)));
        }
        let effects = running.tell(Input::Listed);
        running.settle(effects);
        running
    }

    fn with_nothing(size: Size, base: Arc<Base>) -> Self {
        let settings = Settings {
            base,
            capability: CAPABILITY,
            min_interval: Duration::ZERO,
            startup_timeout: Duration::from_secs(10),
            resources: Resources::PLENTY,
            outage: OutageRules {
                on_empty: OnEmpty::Keep,
                max_shrink: Percent::THREE_QUARTERS,
                shrink_hold: Duration::from_secs(30),
            },
        };
        let now = Moment::START;
        Self { size, reconciler: Reconciler::new(settings, now), now, rounds: 0 }
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.reconciler.handle(input, self.now)
    }

    /// How long it takes to decide; what follows the order is not counted.
    fn replace_one(&mut self) -> Duration {
        self.rounds = self.rounds % 200 + 1;
        let servers = self.size.servers_of(0, self.rounds);
        let began = Instant::now();
        let mut effects = self.tell(Input::Servers(service_name(0), servers));
        while order_in(&effects).is_none() {
            effects = self.tick();
        }
        let took = began.elapsed();
        self.settle(effects);
        took
    }

    /// The same from the text of another definition to the order for a reload, with its haproxy.cfg.
    fn redefine_one(&mut self) -> Duration {
        self.rounds = self.rounds % 200 + 1;
        let (service, raw) = (service_name(0), definition(self.rounds));
        let began = Instant::now();
        let spec = parse(&service, &raw, &Allowed::new()).expect("a good definition").spec;
        self.define(service, spec, began)
    }

    /// How long it takes from `began` to the order.
    fn define(&mut self, service: ServiceName, spec: ServiceSpec, began: Instant) -> Duration {
        let mut effects = self.tell(Input::Defined(service, Arc::new(spec)));
        while order_in(&effects).is_none() {
            effects = self.tick();
        }
        let took = began.elapsed();
        self.settle(effects);
        took
    }

    /// What is due next.
    fn tick(&mut self) -> Vec<Effect> {
        self.now = self.reconciler.deadline().expect("something is due").max(self.now);
        self.tell(Input::Tick)
    }

    /// Lets all that follows happen, such as the deletion of servers that left, until nothing is due soon.
    fn settle(&mut self, mut effects: Vec<Effect>) {
        loop {
            if let Some(order) = order_in(&effects) {
                let outcome = outcome(order, self.reconciler.applied());
                effects = self.tell(Input::Done(outcome));
            } else if self.reconciler.deadline().is_some_and(|due| due - self.now < Duration::from_secs(1)) {
                effects = self.tick();
            } else {
                return;
            }
        }
    }
}

fn order_in(effects: &[Effect]) -> Option<&Order> {
    effects.iter().find_map(|effect| match effect {
        Effect::Order(order) => Some(order),
        Effect::Notice(_) | Effect::Ready => None,
    })
}

fn outcome(order: &Order, applied: Option<&AppliedState>) -> Outcome {
    match order {
        Order::Reload { .. } => Outcome::Reloaded { took: Duration::ZERO, config_error: None },
        Order::Apply { commands, .. } => {
            let verdicts = commands.iter().map(|_| Verdict::Done).collect();
            Outcome::Applied { verdicts, config_error: None }
        }
        Order::Compare { .. } => Outcome::Compared(observed(applied.expect("a process serves"))),
    }
}

/// What `HAProxy` tells when it holds just what was applied.
fn observed(applied: &AppliedState) -> Observed {
    let services = applied.services.iter().map(|(name, service)| {
        let servers = service.servers.iter().map(|(name, server)| {
            let seen = ObservedServer {
                id: server.id,
                address: Some(server.address),
                weight: server.weight,
                in_maintenance: server.standing.is_out(),
                checks: server.checks,
            };
            (name.clone(), seen)
        });
        (name.as_str().to_owned(), servers.collect())
    });
    Observed { servers: services.collect(), routes: routes::observed(applied) }
}

impl Size {
    fn desired(self) -> DesiredState {
        let base = base();
        let services = (0..self.services).map(|service| {
            let section = Arc::new(Section::of(&spec(service), base.bind_address));
            let servers = self.servers_of(service, 0);
            (service_name(service), Arc::new(DesiredService::new(section, servers)))
        });
        DesiredState {
            services: services.collect(),
            base: base.clone(),
            includes: Arc::default(),
            template: None,
        }
    }

    /// The same, made anew as after each change, with another server in the middle.
    fn with_one_replaced(self, desired: &DesiredState) -> DesiredState {
        let mut changed = desired.clone();
        for service in changed.services.values_mut() {
            *service = Arc::new((**service).clone());
        }
        let middle = self.services / 2;
        let service = changed.services.get_mut(&service_name(middle)).expect("a service of this number");
        *service = Arc::new(DesiredService::new(service.section.clone(), self.servers_of(middle, 1)));
        changed
    }

    /// The servers of a service; of [`CHANGED`] the address tells the `version`.
    fn servers_of(self, service: u16, version: u8) -> Vec<Server> {
        let [high, low] = service.to_be_bytes();
        let address = |server: u16| {
            let version = if server == CHANGED { version } else { 0 };
            SocketAddr::from((Ipv4Addr::new(10 + version, high, low, 1), 10_000 + server))
        };
        (0..self.servers).map(|server| Server::at(address(server)).expect("a port")).collect()
    }
}

fn service_name(service: u16) -> ServiceName {
    ServiceName::parse(&format!("service-{service:04}")).expect("a good name")
}

fn line(text: &str) -> OptionLine {
    OptionLine::parse(text).expect("a good line")
}

fn base() -> Arc<Base> {
    Arc::new(Base {
        global: vec![line("maxconn 4096")],
        defaults: ["mode http", "timeout connect 2s", "timeout client 30s", "timeout server 30s"]
            .map(line)
            .into(),
        bind_address: Ipv4Addr::UNSPECIFIED.into(),
        operators_socket: None,
        program: None,
        frontends: [].into(),
        cookie_key: None,
    })
}

/// A definition that differs with `version`.
fn definition(version: u8) -> RawDefinition {
    let text = format!(
        r#"{{"type": "file", "file": "/servers", "port": 10000, "server_options": ["check inter 2s", "fall 3"],
            "listen_options": ["mode http", "balance leastconn", "option httpchk GET /health", "timeout queue {version}s",
                "acl api path_beg /api", "http-request set-header X-From %[src] if api"]}}"#
    );
    RawDefinition { data: text.into_bytes().into(), format: Format::Json, origin: "bench".to_owned() }
}

fn spec(service: u16) -> ServiceSpec {
    ServiceSpec {
        entrance: Entrance::Port(NonZeroU16::new(10_000 + service).expect("not zero")),
        cookie: None,
        bind: Vec::new(),
        bind_options: None,
        own_binds: Vec::new(),
        listen_options: vec![line("balance leastconn"), line("option httpchk GET /health")],
        server_options: vec![LineEnd::parse("check inter 2s fall 3").expect("a good end")],
        watcher: WatcherSpec::File { file: "/servers".into(), rules: NodeRules::default() },
        fixed_servers: Vec::new(),
        outage: OwnOutageRules::default(),
    }
}
