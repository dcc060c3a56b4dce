//! Random histories with faults of every kind; in the end what runs is what is wanted.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use proxymgr::engine::haproxy_version::HaproxyVersion;
use proxymgr::engine::host_name::HostName;
use proxymgr::engine::listen_address::ListenAddress;
use proxymgr::engine::outage_rules::Percent;
use proxymgr::engine::policy::Obstacle;
use proxymgr::engine::reconciler::{Input, Notice};
use proxymgr::engine::section::Base;
use proxymgr::engine::server::{Server, Weight};
use proxymgr::engine::server_options::NodeWords;
use proxymgr::template::parse;

use super::model::Model;
use super::world::{Luck, World, frontends, name, routed_spec, server, settings, spec};

/// Names the one seed to replay.
const SEED_VARIABLE: &str = "PROXYMGR_SIM_SEED";
const SEEDS: u64 = 300;
/// One in so many has templates, which take their time.
const WITH_TEMPLATES: u64 = 20;
/// Of some ten thousand more, those in which something was wrong once.
const FOUND_SOMETHING: [u64; 6] = [565, 610, 822, 969, 1046, 3330];

/// Some are wanted by two services.
const ROUTES: [&[&str]; 5] =
    [&["/"], &["/a/"], &["/a/", "/b/"], &["x.example/a/", "/b/"], &["x.example/a/", "/c/"]];

/// Where frontends listen, and what another process has of it.
const ADDRESSES: [&str; 3] = ["0.0.0.0:9", "0.0.0.0:10", "nowhere"];

/// xorshift64*: repeatable anywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

impl Luck for Dice {
    fn strikes(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the registries hold, kept apart from the reconciler.
#[derive(Default)]
struct Registry {
    services: BTreeMap<String, Entry>,
}

#[derive(Default)]
struct Entry {
    good: bool,
    /// Whether it is good depends on another.
    refers: bool,
    port: u16,
    /// Instead of the port.
    routes: &'static [&'static str],
    servers: Option<BTreeMap<String, Server>>,
}

fn random_event(dice: &mut Dice, registry: &mut Registry, world: &mut World, step: u64) {
    let service = format!("s{}", dice.below(6));
    let deadly = step > 20;
    // In the end there are no more reloads that would mend what commands have spoilt.
    let kinds = if step < 200 { 10 } else { 7 };
    match 9 - dice.below(kinds) {
        1 | 2 => {
            // Some ports are wanted by two services.
            let port = 100 + u16::try_from(dice.below(9)).unwrap();
            let options: &[&[&str]] =
                &[&[], &["balance static-rr"], &["mode http"], &["bad option"], &["use_backend s0"]];
            let mut options = options[usize::try_from(dice.below(5)).unwrap()];
            if deadly && dice.strikes(10) {
                options = &["deadly option"];
            }
            let entry = registry.services.entry(service.clone()).or_default();
            entry.good = options != ["bad option"] && options != ["deadly option"];
            entry.refers = options == ["use_backend s0"];
            entry.port = port;
            entry.routes =
                if dice.strikes(2) { &[] } else { ROUTES[usize::try_from(dice.below(5)).unwrap()] };
            let spec = if entry.routes.is_empty() {
                spec(port, options)
            } else {
                routed_spec(entry.routes, options)
            };
            world.tell(Input::Defined(name(&service), Arc::new(spec)));
        }
        0 => {
            registry.services.remove(&service);
            world.tell(Input::Removed(name(&service)));
        }
        _ => {
            let Some(entry) = registry.services.get_mut(&service) else { return };
            let count = dice.below(6);
            let servers: Vec<_> = (0..count).map(|_| random_server(dice)).collect();
            let set: BTreeMap<_, _> =
                servers.iter().map(|server| (server.name().to_string(), server.clone())).collect();
            let keeps = set.is_empty() && entry.servers.as_ref().is_some_and(|servers| !servers.is_empty());
            if !keeps {
                entry.servers = Some(set);
            }
            world.tell(Input::Servers(name(&service), servers));
        }
    }
}

fn random_server(dice: &mut Dice) -> Server {
    let mut server = server(&format!("10.0.0.{}:80", dice.below(8)));
    if dice.strikes(3) {
        let host = HostName::parse("web.example").unwrap();
        server = Server::named(host, NonZeroU16::new(80).unwrap(), server.address().ip());
    }
    server.weight = Weight::new(u16::try_from(dice.below(4)).unwrap()).filter(|_| !dice.strikes(2));
    server.backup = dice.strikes(8);
    server.drain = dice.strikes(8);
    if dice.strikes(6) {
        let options = ["maxconn 5", "no-check", "maxconn 5 check"][usize::try_from(dice.below(3)).unwrap()];
        server.options = NodeWords::parse(options).unwrap().options;
    }
    server
}

/// What all share, changed by a registry's values or a new proxymgr.yml.
fn random_base(dice: &mut Dice, like: &Base) -> Arc<Base> {
    let mut base = Base { frontends: frontends(dice.strikes(2).then_some("s1")), ..Base::clone(like) };
    base.defaults = if dice.strikes(2) { Vec::new() } else { spec(1, &["balance leastconn"]).listen_options };
    if dice.strikes(2) {
        let other = ListenAddress::parse(ADDRESSES[1]).unwrap();
        base.frontends.values_mut().for_each(|frontend| frontend.listen = vec![other.clone()]);
    }
    if dice.strikes(5) {
        base.frontends.clear();
    }
    Arc::new(base)
}

/// Good and bad ones; after the last step a good one.
fn random_template(dice: &mut Dice, world: &mut World, step: u64) {
    let layout = include_str!("../../../config/haproxy.cfg.j2");
    let more = [
        "",
        "# a comment\n",
        "userlist extra\n",
        "{{ nowhere }}\n",
        "userlist extra\n  bad option\n",
        "{% for service in services if service.servers | length > 3 %}{{ nowhere }}{% endfor %}\n",
        "{% for service in services if service.servers | length > 3 %}\n# {{ service.name }}\nuserlist {{ service.name }}\n{% endfor %}\n",
    ];
    let kinds = if step == 299 { 3 } else { 9 };
    let told = match (step, usize::try_from(dice.below(kinds)).unwrap()) {
        (299, kind) => Input::Template(Some(parse("/t.j2", &format!("{layout}{}", more[kind])).unwrap())),
        (_, 7) => Input::Template(None),
        (_, 8) => Input::TemplateUnusable("/t.j2:1: syntax error".into()),
        (_, kind) => Input::Template(Some(parse("/t.j2", &format!("{layout}{}", more[kind])).unwrap())),
    };
    world.tell(told);
}

fn simulate(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut registry = Registry::default();
    let mut settings = settings(!dice.strikes(8));
    // Losses are believed at once, so that the last answer tells the end.
    settings.outage.max_shrink = Percent::new(100).unwrap();
    let base = Base { frontends: frontends(dice.strikes(2).then_some("s1")), ..Base::clone(&settings.base) };
    settings.base = Arc::new(base);
    if dice.strikes(2) {
        settings.capability.version = HaproxyVersion::new(3, 4, 0);
    }
    // Every fourth history; those that found something before there was this stay what they were.
    let mut bases = (seed % 4 == 3).then(|| Dice(seed.wrapping_mul(0xD6E8_FEB8_6659_FD93) | 1));
    let mut base = settings.base.clone();
    let mut world = World::new(settings);
    for step in 0..300 {
        if step == 20 {
            world.tell(Input::Listed);
            // Something serves for long enough to be gone back to.
            world.settle(Duration::from_secs(30));
        }
        random_event(&mut dice, &mut registry, &mut world, step);
        if let Some(dice) = bases.as_mut().filter(|_| step < 200)
            && dice.strikes(12)
        {
            base = random_base(dice, &base);
            world.taken = ADDRESSES[usize::try_from(dice.below(3)).unwrap()];
            world.tell(Input::Base(base.clone()));
        }
        if seed.is_multiple_of(WITH_TEMPLATES) && (step == 299 || step > 20 && dice.strikes(10)) {
            random_template(&mut dice, &mut world, step);
        }
        match dice.below(6) {
            0 => world.settle_with(Duration::from_millis(dice.below(30)), &mut dice),
            1 => world.settle_with(Duration::from_millis(dice.below(3_000)), &mut dice),
            2 => world.carry_out(&mut dice),
            3 if dice.strikes(4) => world.die(),
            _ => {}
        }
    }
    world.taken = "nowhere";
    world.settle(Duration::from_secs(600));
    world.settle_between_tries();
    check(&registry, &world);
    check_base(&base, &world);
    // Each definition that was given up has been tried by itself.
    world.settle(Duration::from_secs(6 * 60 * 60));
    world.settle_between_tries();
    let deaths = world.deaths;
    check(&registry, &world);
    let obstacles = world.reconciler.obstacles();
    let given_up = |service: &String| match obstacles.get(&name(service)) {
        Some(Obstacle::Quarantined(reason)) => reason.contains("ended by itself"),
        _ => false,
    };
    // Who waits for the port of another that can't move away comes and goes together with it.
    let waits_for_a_port = |service: &String, port: u16| {
        let others =
            world.running.iter().flat_map(|running| &running.backends).filter(|(name, _)| *name != service);
        let mut binds = others.filter(|(_, backend)| backend.open).flat_map(|(_, backend)| &backend.binds);
        binds.any(|bind| bind.ends_with(&format!(":{port}")))
    };
    let waits_for_a_route = |service: &String, entry: &Entry| {
        let maps = world.running.iter().flat_map(|running| running.maps.values());
        let held = |key: &str| {
            maps.clone()
                .filter_map(|map| map.get(key))
                .flatten()
                .any(|to| !to.starts_with(&format!("{service}/")))
        };
        entry.routes.iter().any(|key| held(key))
    };
    let innocent = registry.services.iter().filter(|(service, entry)| {
        entry.good
            && !entry.refers
            && entry.servers.is_some()
            && !waits_for_a_port(service, entry.port)
            && !waits_for_a_route(service, entry)
    });
    let suspected: Vec<_> =
        innocent.map(|(service, _)| service).filter(|service| given_up(service)).collect();
    assert!(suspected.is_empty(), "{suspected:?} are given up though they are good");
    world.settle(Duration::from_secs(60 * 60));
    assert!(
        world.deaths - deaths <= 3 * registry.services.len(),
        "{} deaths in an hour",
        world.deaths - deaths
    );
}

/// An entry that was added twice leads to the same twice.
fn single(
    maps: &BTreeMap<String, BTreeMap<String, Vec<String>>>,
) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let mut maps = maps.clone();
    maps.values_mut().flat_map(BTreeMap::values_mut).for_each(Vec::dedup);
    maps
}

/// What all share is as it is wanted, unless it was suspected of a death; all frontends have their addresses.
fn check_base(wanted: &Arc<Base>, world: &World) {
    let suspects = |notice: &Notice| matches!(notice, Notice::BackToLastGood { without, .. } if without.iter().any(|part| part == "global and defaults"));
    let suspected = world.notices.iter().any(suspects);
    assert!(suspected || world.reconciler.applied().unwrap().base == *wanted);
    assert!(suspected || world.reconciler.report().frontends.is_empty());
}

/// The end: no faults since a while.
fn check(registry: &Registry, world: &World) {
    let running =
        world.running.as_ref().unwrap_or_else(|| panic!("{:#?}", &world.notices[world.notices.len() - 6..]));
    let served = running.served();
    let written = Model::load_all(&world.config, &world.routes);
    assert_eq!(served, written.served(), "the file says what runs");
    assert_eq!(single(&running.maps), written.maps, "the files of routes say what runs");
    for value in running.maps.values().flat_map(BTreeMap::values).flatten() {
        assert!(served.contains_key(value.split_once('/').unwrap().0), "{value} leads nowhere");
    }
    let is_needed = |service: &str| {
        matches!(world.reconciler.obstacles().get(&name(service)), Some(Obstacle::StillNeeded { .. }))
    };
    for (service, entry) in &registry.services {
        let obstacle = world.reconciler.obstacles().get(&name(service));
        let Some(wanted) = &entry.servers else {
            assert!(
                !served.contains_key(service) || is_needed(service),
                "{service} serves without an answer"
            );
            continue;
        };
        let Some(seen) = served.get(service) else {
            assert!(obstacle.is_some(), "{service} does not serve, for no reason");
            continue;
        };
        assert!(entry.good || obstacle.is_some(), "{service} serves a bad definition");
        for key in entry.routes.iter().filter(|_| obstacle.is_none()) {
            let leads_to = running.maps.values().find_map(|map| map.get(*key));
            assert_eq!(leads_to.map(|to| to[0].as_str()), Some(&*format!("{service}/0")), "{key}");
        }
        assert_eq!(seen.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{service}");
        for (name, server) in wanted {
            let weight = if server.drain { 0 } else { server.weight.map_or(1, Weight::get) };
            assert_eq!((seen[name].weight, seen[name].backup), (weight, server.backup), "{service}/{name}");
            let options = server.options.as_ref().map(ToString::to_string).unwrap_or_default();
            assert_eq!(seen[name].address, server.address().to_string(), "{service}/{name}");
            assert_eq!(seen[name].checked, options != "no-check", "{service}/{name}");
            assert_eq!(seen[name].maxconn.is_some(), options.contains("maxconn"), "{service}/{name}");
        }
    }
    for service in served.keys().filter(|service| !registry.services.contains_key(*service)) {
        assert!(
            is_needed(service) && running.backends[service].binds.is_empty(),
            "{service} is gone and serves"
        );
    }
    let ports: Vec<_> =
        running.backends.values().filter(|backend| backend.open).flat_map(|b| &b.binds).collect();
    let mut distinct = ports.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(ports.len(), distinct.len(), "two services share a port");
}

#[test]
fn whatever_happens_what_runs_becomes_what_is_wanted() {
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        simulate(seed.parse().unwrap());
        return;
    }
    for seed in (1..=SEEDS).chain(FOUND_SOMETHING) {
        let outcome = std::panic::catch_unwind(|| simulate(seed));
        assert!(outcome.is_ok(), "replay with {SEED_VARIABLE}={seed}");
    }
}
