//! A layout of the user's own: what it writes, and what becomes of one that fails.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proxymgr::engine::cookie::{CookieKey, CookieName};
use proxymgr::engine::include::{IncludedFile, Includes};
use proxymgr::engine::reconciler::{Input, Notice};
use proxymgr::engine::reload_reason::ReloadReason;
use proxymgr::engine::render::{Owner, Renderer};
use proxymgr::engine::section::Base;
use proxymgr::engine::service::UnixPath;
use proxymgr::engine::state::AppliedState;
use proxymgr::engine::template::Template;
use proxymgr::template::parse;

use super::properties::any_applied;
use super::world::{World, frontends, name, routed_spec, settings};

const LONG: Duration = Duration::from_secs(30);
const BUILT_IN: &str = include_str!("../../../config/haproxy.cfg.j2");

fn template(text: &str) -> Template {
    parse("/t.j2", text).unwrap()
}

/// The built-in layout with more lines at its end.
fn with(more: &str) -> Template {
    template(&format!("{BUILT_IN}{more}"))
}

fn want(template: Template) -> Input {
    Input::Template(Some(template))
}

/// `web` and `api` serve by `template`.
fn world(template: Template) -> World {
    let mut world =
        World::running(settings(true), &[("api", 81, &["1.1.1.1:1"]), ("web", 80, &["1.1.1.1:1"])]);
    world.tell(want(template));
    world.settle(LONG);
    world.reloads = 0;
    world.notices.clear();
    world
}

fn refusals(world: &World) -> Vec<String> {
    let refused = world.notices.iter().filter(|notice| matches!(notice, Notice::TemplateRefused { .. }));
    refused.map(ToString::to_string).collect()
}

/// Everything that a layout may have to write.
fn furnished(mut applied: AppliedState, included: &[&str], with_socket: bool) -> AppliedState {
    let socket = UnixPath::parse("/run/haproxy.sock").ok().filter(|_| with_socket);
    let key = CookieKey::parse("0123456789abcdef").ok();
    applied.base = Arc::new(Base { operators_socket: socket, cookie_key: key, ..Base::clone(&applied.base) });
    if let Some(service) = applied.services.values_mut().next() {
        Arc::make_mut(&mut Arc::make_mut(service).section).cookie = CookieName::parse("SRV").ok();
    }
    let file = |(number, text): (usize, &&str)| {
        IncludedFile::new(Path::new(&format!("/c/{number}.cfg")), text.as_bytes()).unwrap()
    };
    applied.includes = Arc::new(Includes::new(included.iter().enumerate().map(file).collect()));
    applied
}

proptest! {
    #[test]
    fn the_built_in_layout_as_a_template_writes_the_same_text(
        applied in any_applied(),
        included in proptest::sample::subsequence(vec!["listen x\r\n  bind :1\r\n", "", "backend y", "backend z\n\n"], 0..=4),
        with_socket: bool,
    ) {
        let mut applied = furnished(applied, &included, with_socket);
        let built_in = Renderer::default().render(&applied);
        applied.template = Some(template(BUILT_IN));
        let written = Renderer::default().by_template(&applied).unwrap();
        prop_assert_eq!(&written.text, &built_in.text);
        prop_assert_eq!((written.size, &written.routes), (built_in.size, &built_in.routes));
        for line in 1..=built_in.text.lines().count() {
            let text = built_in.text.lines().nth(line - 1).unwrap().trim();
            let accused = written.owner_of_line(line);
            // Its own lines are the headings of sections that it writes out.
            let is_own = matches!(text, "global" | "defaults" | "defaults proxymgr.routed" | "mode http");
            if !text.is_empty() && !text.starts_with('#') && !is_own {
                prop_assert_eq!(accused, built_in.owner_of_line(line), "{}: {}", line, text);
            }
        }
    }
}

#[test]
fn what_the_product_needs_must_be_written() {
    let mut world = world(template(BUILT_IN));
    let state = world.reconciler.applied().unwrap().clone();
    let mut base = Base::clone(&state.base);
    base.operators_socket = UnixPath::parse("/run/haproxy.sock").ok();
    let mut applied = AppliedState { base: Arc::new(base), ..state };
    applied.includes =
        Arc::new(Includes::new(vec![IncludedFile::new(Path::new("/i"), b"backend i\n").unwrap()]));
    for (left_out, put, told) in [
        (
            "{{ global.needed_lines -}}\n",
            "",
            "lacks lines that ProxyMgr needs; write {{ global.needed_lines }}",
        ),
        ("{{ defaults.needed_lines -}}\n", "", "write {{ defaults.needed_lines }} in its section defaults"),
        (
            "{{ service.section_line }}\n",
            "",
            "lacks the section of service api; write {{ service.section_line }}",
        ),
        ("{{ service.section_line }}\n", "frontend {{ service.name }}\n", "lacks the section of service api"),
        ("{{ service.section_line }}\n", "listen x{{ service.name }}\n", "lacks the section of service api"),
        (
            "{{ service.bind_lines -}}\n",
            "",
            "lacks the line that binds 0.0.0.0:81 in the section of service api",
        ),
        ("{{ service.server_lines -}}\n", "", "lacks the line 'server 1.1.1.1:1 1.1.1.1:1 id "),
        (
            "{{ service.server_lines -}}\n",
            "  server s {{ service.servers[0].address }}\n",
            "write {{ service.server_lines }}",
        ),
        (
            "{{ service.bind_lines -}}\n",
            "{{ service.bind_lines }}  server 9.9.9.9:9 9.9.9.9:9\n",
            "a server '9.9.9.9:9' in service api",
        ),
        ("{{ include.lines -}}\n", "", "lacks the included file /i; write {{ include.lines }}"),
    ] {
        assert!(BUILT_IN.contains(left_out), "{left_out}");
        applied.template = Some(template(&BUILT_IN.replace(left_out, put)));
        let error = Renderer::default().by_template(&applied).unwrap_err().to_string();
        assert!(error.starts_with("/t.j2: its output ") && error.contains(told), "{error}");
    }
    // A section may be written as two, and servers with words of one's own.
    let split = "frontend {{ service.name }}\n{{ service.bind_lines }}  default_backend {{ service.name }}\nbackend {{ service.name }}\n";
    let servers = "{% for server in service.servers %}\n  server {{ server.name }} {{ server.address }} id {{ server.id }} weight 7\n{% endfor %}\n";
    let own = BUILT_IN
        .replace("{{ service.section_line }}\n{{ service.bind_lines -}}\n", split)
        .replace("{{ service.server_lines -}}\n", servers);
    applied.template = Some(template(&own));
    let text = Renderer::default().by_template(&applied).unwrap().text;
    assert!(text.contains("backend api\n") && text.contains(" weight 7\n"), "{text}");
    // One that lacks something is refused like any other.
    world.tell(want(template(&BUILT_IN.replace("{{ service.server_lines -}}\n", ""))));
    world.settle(LONG);
    assert_eq!(refusals(&world).len(), 1);
    assert_eq!(world.reloads, 0);
}

/// Each name of the README's table, as it is written.
const DOCUMENTED: &str = "{% set all = [global.needed_lines, global.lines, global.last_lines, defaults.needed_lines, defaults.lines, \
    routed_defaults, bind_address] %}\n\
    {% for frontend in frontends %}\n{% set all = [frontend.name, frontend.section_line, frontend.bind_lines, frontend.option_lines, \
    frontend.route_lines, frontend.addresses, frontend.options, frontend.default_service] %}\n{% endfor %}\n\
    {% for service in services %}\n{% set all = [service.name, service.kind, service.section_line, service.bind_lines, \
    service.option_lines, service.cookie_lines, service.server_lines, service.addresses, service.options, service.server_options, \
    service.cookie] %}\n\
    {% for route in service.routes %}\n# {{ route.frontend }} {{ route.key }}\n{% endfor %}\n\
    {% for server in service.servers %}\n# {{ server.line }} {{ server.name }} {{ server.address }} {{ server.ip }} {{ server.port }} \
    {{ server.id }} {{ server.weight }} {{ server.backup }} {{ server.options }}\n{% endfor %}\n{% endfor %}\n\
    {% for include in includes %}\n# {{ include.path }} {{ include.lines | length }}\n{% endfor %}\n";

#[test]
fn each_documented_name_is_there() {
    let table = include_str!("../../../README.md").split_once("### Templates").unwrap().1;
    let table = table.split_once("Names that end in").unwrap().0;
    for word in DOCUMENTED.split(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c))) {
        if let Some((thing, name)) = word.split_once('.') {
            assert!(table.contains(&format!("`{name}`")), "{thing}.{name} is documented");
        }
    }
    let mut world = world(template(BUILT_IN));
    let mut base = Base::clone(&world.reconciler.applied().unwrap().base);
    base.frontends = frontends(Some("web"));
    world.tell(Input::Base(Arc::new(base)));
    world.tell(Input::Defined(name("routed"), Arc::new(routed_spec(&["/a/"], &[]))));
    world.servers("routed", &["1.1.1.1:1"]);
    world.settle(LONG);
    world.tell(want(with(DOCUMENTED)));
    world.settle(LONG);
    assert_eq!(refusals(&world), [""; 0]);
    assert!(world.config.contains("# in /a/\n"), "{}", world.config);
}

#[test]
fn a_change_is_one_reload_and_servers_come_and_go_without_any() {
    let mut world = world(with("listen extra\n  bind :8404\n"));
    assert!(world.config.ends_with("listen extra\n  bind :8404\n"), "{}", world.config);
    assert!(world.config.contains("expose-fd listeners"), "its listener is handed on: {}", world.config);
    world.servers("web", &["1.1.1.1:1", "2.2.2.2:2"]);
    world.settle(LONG);
    world.servers("web", &["2.2.2.2:2"]);
    world.settle(LONG);
    assert_eq!(world.reloads, 0);
    assert!(!world.config.contains("server 1.1.1.1:1 1.1.1.1:1 id 7"), "{}", world.config);
    world.tell(want(with("listen other\n  bind :8404\n")));
    world.settle(LONG);
    assert_eq!(world.reloads, 1);
    world.tell(want(with("listen other\n  bind :8404\n")));
    world.settle(LONG);
    assert_eq!(world.reloads, 1, "the same again");
    world.tell(Input::Template(None));
    world.settle(LONG);
    assert!(world.reloads == 2 && !world.config.contains("other"), "{}", world.config);
}

#[test]
fn where_other_lines_follow_from_the_servers_their_change_is_a_reload() {
    let mut world = world(with(
        "backend all\n{% for service in services if service.name == 'web' %}{% for server in service.servers %}\n  server s{{ loop.index }} {{ server.address }} id {{ loop.index }} weight 1\n{% endfor %}{% endfor %}\n",
    ));
    world.servers("web", &["1.1.1.1:1", "2.2.2.2:2"]);
    world.settle(LONG);
    assert_eq!(world.reloads, 1);
    assert!(world.config.contains("  server s2 2.2.2.2:2 id "), "{}", world.config);
    let told = Notice::Reloading([ReloadReason::TemplateOutput].into());
    assert!(world.notices.contains(&told), "{:?}", world.notices);
    // The command did not wait for it.
    assert!(world.commands.iter().any(|command| command.starts_with("add server web/2.2.2.2:2")));
    world.settle(LONG);
    assert_eq!(world.reloads, 1);
}

#[test]
fn a_bad_template_leaves_the_last_good_one_and_everything_else_goes_on() {
    let (good, marked) = (with("# good\n"), "# good\n");
    for bad in [
        "{{ nowhere }}",
        "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
        "{% for a in range(10000) %}{{ 'a' * 10000 }}{% endfor %}",
        "listen extra\n  bad option\n",
        "backend extra\n  use_backend nobody\n",
    ] {
        let mut world = world(good.clone());
        world.tell(want(with(bad)));
        world.settle(Duration::from_secs(4));
        assert_eq!((world.reloads, refusals(&world).len()), (0, 1), "{bad}: {:?}", world.notices);
        assert!(
            refusals(&world)[0].starts_with("the template is refused, the last good one stays: "),
            "{bad}"
        );
        assert!(world.reconciler.report().refused_template.is_some());
        world.servers("web", &["2.2.2.2:2"]);
        world.define("new", 90, &[]);
        world.servers("new", &["3.3.3.3:3"]);
        world.settle(LONG);
        assert!(world.config.contains("listen new") && world.config.ends_with(marked), "{bad}");
        assert!(world.config.contains("server 2.2.2.2:2"), "{bad}");
        assert_eq!(refusals(&world).len(), 1, "{bad}: it is told once");
        assert!(world.reconciler.obstacles().is_empty(), "{bad}");
        // It is mended.
        world.tell(want(with("# better\n")));
        world.settle(LONG);
        assert!(world.config.ends_with("# better\n"), "{bad}");
        assert_eq!(world.reconciler.report().refused_template, None);
        assert!(world.notices.contains(&Notice::TemplateTaken), "{bad}");
    }
}

#[test]
fn a_file_that_can_not_be_used_changes_nothing_until_it_can() {
    let mut world = world(with("# good\n"));
    world.tell(Input::TemplateUnusable("/t.j2:3: syntax error".into()));
    world.tell(Input::TemplateUnusable("/t.j2:3: syntax error".into()));
    world.settle(LONG);
    assert_eq!(refusals(&world), ["the template is refused, the last good one stays: /t.j2:3: syntax error"]);
    world.tell(want(with("# good\n")));
    world.settle(LONG);
    assert!(world.notices.contains(&Notice::TemplateTaken));
    assert_eq!((world.reloads, world.reconciler.report().refused_template), (0, None));
}

#[test]
fn a_template_that_fails_for_one_definition_refuses_that_one() {
    let fails = with(
        "{% for service in services %}{% if service.name == 'bad' %}{{ nowhere }}{% endif %}{% endfor %}",
    );
    let mut world = world(fails);
    for service in ["bad", "good"] {
        world.define(service, if service == "bad" { 90 } else { 91 }, &[]);
        world.servers(service, &["3.3.3.3:3"]);
    }
    world.settle(LONG);
    assert!(world.config.contains("listen good") && !world.config.contains("listen bad"), "{}", world.config);
    let obstacles: Vec<_> = world.reconciler.obstacles().iter().collect();
    assert_eq!(obstacles.len(), 1);
    assert!(obstacles[0].1.to_string().contains("undefined value"), "{}", obstacles[0].1);
}

#[test]
fn servers_change_though_the_template_fails_with_them_and_a_restart_takes_what_was_written_last() {
    let mut world = world(with(
        "{% for service in services %}{% if service.servers | length > 1 %}{{ nowhere }}{% endif %}{% endfor %}",
    ));
    world.servers("web", &["1.1.1.1:1", "2.2.2.2:2"]);
    world.settle(LONG);
    assert!(world.running.as_ref().unwrap().served()["web"].contains_key("2.2.2.2:2"));
    assert!(
        world
            .notices
            .iter()
            .any(|notice| matches!(notice, Notice::ConfigUnwritten(why) if why.contains("undefined value")))
    );
    assert!(!world.config.contains("2.2.2.2"));
    assert!(world.reconciler.report().refused_template.unwrap().contains("undefined value"));
    world.dies_at = Some(world.now);
    world.settle(LONG);
    let served = world.running.as_ref().expect("clients don't wait").served();
    assert!(served["web"].contains_key("1.1.1.1:1"), "{served:?}");
    world.servers("web", &["2.2.2.2:2"]);
    world.settle(Duration::from_secs(120));
    assert!(world.config.contains("2.2.2.2"), "{}", world.config);
    assert_eq!(world.reconciler.report().refused_template, None);
}

#[test]
fn a_start_with_a_bad_template_takes_what_served_last() {
    for bad in ["{{ nowhere }}", "listen extra\n  bad option\n", "backend extra\n  use_backend nobody\n"] {
        let mut world = World::new(settings(true));
        world.reconciler.recall_template(with("# last\n"));
        world.tell(want(with(bad)));
        for (service, port) in [("api", 81), ("web", 80)] {
            world.define(service, port, &[]);
            world.servers(service, &["1.1.1.1:1"]);
        }
        world.tell(Input::Listed);
        world.settle(Duration::from_secs(4));
        assert!(world.config.ends_with("# last\n"), "{bad}: {}", world.config);
        assert!(world.reconciler.obstacles().is_empty(), "{bad}: no service is to blame");
        assert_eq!((refusals(&world).len(), world.reloads), (1, 1), "{bad}");
        world.tell(want(with("# mended\n")));
        world.settle(LONG);
        assert!(world.config.ends_with("# mended\n"), "{bad}");
    }
}

#[test]
fn lines_of_the_template_are_told_from_those_of_services() {
    let own =
        BUILT_IN.replace("{{ service.bind_lines -}}\n", "{{ service.bind_lines }}  http-request deny\n");
    let mut world = world(template(&own));
    let rendered = Renderer::default().by_template(world.reconciler.applied().unwrap()).unwrap();
    let line_of = |needle: &str| rendered.text.lines().position(|line| line.trim() == needle).unwrap() + 1;
    let denies = line_of("http-request deny");
    assert_eq!(rendered.owner_of_line(denies), Some(Owner::Template { line: Some(denies) }));
    assert_eq!(rendered.owner_of_line(line_of("listen api")), Some(Owner::Service(name("api"))));
    assert_eq!(rendered.owner_of_section("elsewhere"), Some(Owner::Template { line: None }));
    // A bad definition is its own fault, whatever the template writes beside it.
    world.define("worse", 90, &["bad option"]);
    world.servers("worse", &["3.3.3.3:3"]);
    world.settle(LONG);
    assert_eq!(world.reconciler.obstacles().len(), 1);
    assert!(refusals(&world).is_empty());
}

#[test]
fn what_was_taken_over_keeps_its_template_until_another_is_told() {
    let world = world(with("# mine\n"));
    let mut world = world.taken_over(settings(true));
    for (service, port) in [("api", 81), ("web", 80)] {
        world.define(service, port, &[]);
        world.servers(service, &["1.1.1.1:1"]);
    }
    world.tell(Input::Listed);
    world.settle(LONG);
    assert_eq!(world.reloads, 0);
    world.tell(want(with("# yours\n")));
    world.settle(LONG);
    assert!(world.reloads == 1 && world.config.ends_with("# yours\n"), "{}", world.config);
}
