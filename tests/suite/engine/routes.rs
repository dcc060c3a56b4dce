//! What changes of routes cost, and who keeps a route.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proxymgr::engine::cookie::CookieName;
use proxymgr::engine::haproxy_version::HaproxyVersion;
use proxymgr::engine::include::{IncludedFile, Includes};
use proxymgr::engine::listen_address::ListenAddress;
use proxymgr::engine::reconciler::{Held, Input, Notice, Settings};
use proxymgr::engine::section::Base;
use proxymgr::template::parse;

use super::world::{World, frontends, name, route, routed_spec, settings};

/// Longer than from one comparison to the next.
const LONG: Duration = Duration::from_secs(90);

fn with_frontend(default_service: Option<&str>, version: (u16, u16)) -> Settings {
    let mut settings = settings(true);
    settings.base = Arc::new(Base { frontends: frontends(default_service), ..Base::clone(&settings.base) });
    settings.capability.version = HaproxyVersion::new(version.0, version.1, 0);
    settings
}

fn define(world: &mut World, service: &str, keys: &[&str]) {
    world.tell(Input::Defined(name(service), Arc::new(routed_spec(keys, &[]))));
}

/// A world in which `a` and `b` have these routes.
fn running(settings: Settings, a: &[&str], b: &[&str]) -> World {
    let mut world = World::new(settings);
    for (service, keys) in [("a", a), ("b", b)] {
        define(&mut world, service, keys);
        world.servers(service, &["1.1.1.1:1"]);
    }
    world.tell(Input::Listed);
    world.settle(LONG);
    (world.reloads, world.commands) = (0, Vec::new());
    world
}

fn map(world: &World) -> Vec<String> {
    let map = &world.running.as_ref().unwrap().maps["/run/routes-in.map"];
    map.iter().map(|(key, values)| format!("{key} {}", values.join(" "))).collect()
}

#[test]
fn a_route_that_goes_to_another_service_is_one_command() {
    let mut world = running(with_frontend(None, (2, 6)), &["/", "/x/"], &["/b/"]);
    assert_eq!(map(&world), ["/ a/0", "/b/ b/0", "/x/ a/0"]);
    define(&mut world, "a", &["/"]);
    define(&mut world, "b", &["/b/", "/x/"]);
    world.settle(LONG);
    assert_eq!(world.commands, ["set map /run/routes-in.map /x/ b/0"]);
    assert_eq!((map(&world), world.reloads), (vec!["/ a/0".into(), "/b/ b/0".into(), "/x/ b/0".into()], 0));
    assert!(world.reconciler.obstacles().is_empty());
}

/// Where a template writes it as the built-in layout does; a line more in each section is a reload.
#[test]
fn a_new_service_comes_at_run_time_under_a_template_that_leaves_its_section_as_it_is() {
    let layout = include_str!("../../../config/haproxy.cfg.j2");
    let head = "{{ service.section_line }}\n";
    let with_a_line = layout.replace(head, &format!("{head}  timeout queue 1s\n"));
    for (layout, reloads) in [(layout, 0), (&with_a_line, 1)] {
        let mut world = running(with_frontend(None, (3, 4)), &["/"], &["/b/"]);
        world.tell(Input::Template(Some(parse("/t.j2", layout).unwrap())));
        world.settle(LONG);
        world.reloads = 0;
        define(&mut world, "new", &["/new/"]);
        world.servers("new", &["3.3.3.3:3"]);
        world.settle(LONG);
        assert_eq!(map(&world), ["/ a/0", "/b/ b/0", "/new/ new/0"]);
        assert_eq!(world.reloads, reloads);
        world.servers("new", &["3.3.3.3:3", "4.4.4.4:4"]);
        world.settle(LONG);
        assert_eq!(world.reloads, reloads);
    }
}

#[test]
fn a_service_that_comes_back_costs_no_reload_and_a_new_one_only_before_3_4() {
    for (version, of_a_new_one) in [((2, 6), 1), ((3, 4), 0)] {
        let mut world = running(with_frontend(Some("b"), version), &["/"], &["/b/"]);
        assert_eq!(map(&world), ["!/ b/0", "/ a/0", "/b/ b/0"]);
        world.tell(Input::Removed(name("b")));
        world.settle(LONG);
        assert_eq!(map(&world), ["/ a/0"]);
        assert!(!world.running.as_ref().unwrap().served().contains_key("b"));
        define(&mut world, "b", &["/b/"]);
        world.servers("b", &["1.1.1.1:1", "2.2.2.2:2"]);
        world.settle(LONG);
        assert_eq!(map(&world), ["!/ b/0", "/ a/0", "/b/ b/0"]);
        assert_eq!(world.running.as_ref().unwrap().served()["b"].len(), 2);
        assert_eq!(world.reloads, 0, "{:?}", world.commands);
        define(&mut world, "c", &["/c/"]);
        world.servers("c", &["3.3.3.3:3"]);
        world.settle(LONG);
        assert_eq!(world.running.as_ref().unwrap().served()["c"].len(), 1);
        assert_eq!(world.reloads, of_a_new_one, "{:?}", world.commands);
    }
}

/// Of a section `HAProxy` is told its servers at run time, and no lines.
#[test]
fn a_new_service_with_lines_of_its_own_is_one_reload_whatever_the_version() {
    let define = |world: &mut World, service: &str, lines: &[&str], cookie: Option<&str>| {
        let key = format!("/{service}/");
        let mut spec = routed_spec(&[&key], lines);
        spec.cookie = cookie.map(|name| CookieName::parse(name).unwrap());
        world.tell(Input::Defined(name(service), Arc::new(spec)));
        world.servers(service, &["3.3.3.3:3"]);
    };
    for (version, of_a_plain_one) in [((3, 2), 1), ((3, 4), 0)] {
        let mut world = running(with_frontend(None, version), &["/"], &["/b/"]);
        let reloads = |world: &mut World, what: &dyn Fn(&mut World)| {
            what(world);
            world.settle(LONG);
            std::mem::take(&mut world.reloads)
        };
        let plain = |world: &mut World| define(world, "plain", &["mode http"], None);
        assert_eq!(reloads(&mut world, &plain), of_a_plain_one);
        assert_eq!(reloads(&mut world, &|world| define(world, "lines", &["timeout queue 9s"], None)), 1);
        assert_eq!(reloads(&mut world, &|world| define(world, "cookie", &[], Some("SRV"))), 1);
        let together = |world: &mut World| {
            (0..5)
                .for_each(|number| define(world, &format!("n{number}"), &["timeout queue 9s"], Some("SRV")));
        };
        assert_eq!(reloads(&mut world, &together), 1);
        assert_eq!(world.running.as_ref().unwrap().served().len(), 10);
    }
}

#[test]
fn a_backend_that_nothing_leads_to_is_deleted_where_it_can_be() {
    for (version, stays) in [((3, 2), true), ((3, 4), false)] {
        let mut world = running(with_frontend(None, version), &["/"], &["/b/"]);
        world.tell(Input::Removed(name("b")));
        world.settle(LONG);
        assert_eq!(world.running.as_ref().unwrap().backends.contains_key("b"), stays, "{:?}", world.commands);
        assert_eq!(world.reloads, 0);
    }
}

#[test]
fn who_held_a_route_in_an_earlier_run_keeps_it() {
    let mut world = World::new(with_frontend(None, (2, 6)));
    let held = Held { routes: [route("/x/")].into(), ..Held::default() };
    world.reconciler.remember_holders([(name("zoo"), held)].into());
    for service in ["ant", "zoo"] {
        define(&mut world, service, &["/x/"]);
        world.servers(service, &["1.1.1.1:1"]);
    }
    world.tell(Input::Listed);
    world.settle(LONG);
    assert_eq!(map(&world), ["/x/ zoo/0"]);
    let obstacle = world.reconciler.obstacles()[&name("ant")].to_string();
    assert_eq!(obstacle, "the route in:/x belongs to the service zoo; choose another host or path");
    world.tell(Input::Removed(name("zoo")));
    world.settle(LONG);
    assert_eq!(map(&world), ["/x/ ant/0"]);
    assert!(world.reconciler.obstacles().is_empty());
}

#[test]
fn what_others_made_of_routes_is_mended_at_the_next_comparison() {
    let mut world = running(with_frontend(None, (2, 6)), &["/", "/x/", "/y/"], &["/b/"]);
    let running = world.running.as_mut().unwrap();
    for command in
        ["del map FILE /x/", "set map FILE /b/ a/1", "add map FILE /y/ b/0", "add map FILE /z/ nobody/0"]
    {
        assert_eq!(running.execute(&command.replace("FILE", "/run/routes-in.map"), false), "");
    }
    world.settle(LONG);
    assert_eq!(map(&world), ["/ a/0", "/b/ b/0", "/x/ a/0", "/y/ a/0 a/0"]);
    assert_eq!(world.reloads, 0);
}

/// `expose-fd listeners` keeps the socket of a frontend that is shut down; a backend has none.
#[test]
fn a_routed_service_that_goes_costs_no_reload_though_listeners_are_exposed() {
    for version in [(2, 6), (3, 4)] {
        let mut world = running(with_frontend(None, version), &["/"], &["/b/"]);
        let own = IncludedFile::new(Path::new("/own.cfg"), b"listen own\n  bind :81\n").unwrap();
        world.tell(Input::Includes(Includes::new(vec![own])));
        world.settle(LONG);
        assert!(world.reconciler.applied().unwrap().exposes_listeners());
        world.reloads = 0;
        world.tell(Input::Removed(name("b")));
        world.settle(LONG);
        assert_eq!((map(&world), world.reloads), (vec!["/ a/0".into()], 0), "{:?}", world.commands);
        assert!(!world.running.as_ref().unwrap().served().contains_key("b"));
    }
}

/// The settings' base with the frontend at this address.
fn at(settings: &Settings, address: &str) -> Arc<Base> {
    let mut base = Base::clone(&settings.base);
    base.frontends.values_mut().for_each(|frontend| {
        frontend.listen = vec![ListenAddress::parse(address).unwrap()];
    });
    Arc::new(base)
}

fn told(world: &World, what: fn(&Notice) -> bool) -> usize {
    world.notices.iter().filter(|notice| what(notice)).count()
}

#[test]
fn a_frontend_whose_address_is_taken_holds_up_nobody_else_and_is_tried_again() {
    let mut world = World::new(with_frontend(None, (2, 6)));
    world.taken = "0.0.0.0:9";
    define(&mut world, "a", &["/"]);
    world.servers("a", &["1.1.1.1:1"]);
    world.define("plain", 80, &[]);
    world.servers("plain", &["1.1.1.1:1"]);
    world.tell(Input::Listed);
    world.settle(Duration::from_secs(1));
    assert!(world.running.as_ref().unwrap().served().contains_key("plain"));
    assert!(!world.config.contains(":9\"") && world.config.contains("\nfrontend in "), "{}", world.config);
    let lost: Vec<_> = world.reconciler.report().frontends.into_values().collect();
    assert_eq!(lost, ["in use"]);
    // Another comes, and routes go on: they are there once it listens.
    world.define("late", 81, &[]);
    world.servers("late", &["1.1.1.1:1"]);
    define(&mut world, "a", &["/", "/x/"]);
    world.settle(LONG);
    assert_eq!((world.reloads, map(&world)), (2, vec!["/ a/0".into(), "/x/ a/0".into()]));
    assert!(world.running.as_ref().unwrap().served().contains_key("late"));
    assert_eq!(told(&world, |notice| matches!(notice, Notice::FrontendOut { .. })), 1);
    world.taken = "nowhere";
    world.settle(Duration::from_secs(10));
    assert!(world.config.contains("-0.0.0.0:9}"), "{}", world.config);
    assert!(world.reconciler.report().frontends.is_empty());
    assert_eq!(told(&world, |notice| matches!(notice, Notice::FrontendBack(_))), 1);
    let before = world.reloads;
    world.settle(LONG);
    assert_eq!(world.reloads, before);
}

#[test]
fn a_frontend_that_is_to_move_to_a_taken_address_stays_where_it_was() {
    let settings = with_frontend(None, (2, 6));
    let mut world = running(settings.clone(), &["/"], &["/b/"]);
    world.taken = "0.0.0.0:10";
    world.tell(Input::Base(at(&settings, "0.0.0.0:10")));
    world.define("late", 81, &[]);
    world.servers("late", &["1.1.1.1:1"]);
    world.settle(LONG);
    assert!(world.config.contains("-0.0.0.0:9}") && world.config.contains("\nlisten late"));
    assert_eq!((world.reloads, world.reconciler.report().frontends.len()), (1, 1));
    world.taken = "nowhere";
    world.settle(Duration::from_secs(10));
    assert!(world.config.contains("-0.0.0.0:10}") && !world.config.contains("-0.0.0.0:9}"));
    assert!(world.reconciler.report().frontends.is_empty());
}
