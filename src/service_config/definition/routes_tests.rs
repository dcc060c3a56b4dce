//! What is taken of `route` and `cookie`.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::document::Format;
use crate::engine::command::RuntimeCommand;
use crate::engine::http_frontend::{HttpFrontend, MapFile};
use crate::engine::render::Renderer;
use crate::engine::route::{FrontendName, RouteId, Routes, Strip};
use crate::engine::route_change::{RouteChange, RouteEdit, RouteTarget};
use crate::engine::section::{Base, Section};
use crate::engine::service::UnixPath;
use crate::engine::state::{AppliedState, DesiredService, DesiredState};

fn read(entrance: &str) -> Result<Definition, Refusal> {
    let text = format!(r#"{{"type": "static", "default_servers": ["10.0.0.1:80"], {entrance}}}"#);
    let raw = RawDefinition { data: text.as_bytes().into(), format: Format::Json, origin: "test".into() };
    parse(&ServiceName::parse("web").unwrap(), &raw, &Allowed::new())
}

fn routes(entrance: &str) -> Vec<(String, u8)> {
    match read(entrance).unwrap().spec.entrance {
        Entrance::Port(port) => panic!("{port}"),
        Entrance::Routes(routes) => {
            routes.iter().map(|(id, strip)| (id.to_string(), Strip::get(*strip))).collect()
        }
    }
}

#[test]
fn one_route_or_a_list_takes_the_place_of_the_port() {
    let one =
        r#""route": {"frontend": "http-in", "host": "A.Example", "path": "/hello/v1", "strip_prefix": true}"#;
    assert_eq!(routes(one), [("http-in:a.example/hello/v1".to_owned(), 2)]);
    let list = r#""route": [{"frontend": "in"}, {"frontend": "in", "host": "*.example", "path": "/a/", "strip_prefix": false}]"#;
    assert_eq!(routes(list), [("in:*.example/a".to_owned(), 0), ("in:/".to_owned(), 0)]);
    let cookie = read(r#""port": 80, "cookie": "SRV""#).unwrap().spec.cookie;
    assert_eq!(cookie.unwrap().as_str(), "SRV");
}

#[test]
fn what_is_wrong_with_a_route_is_told_with_its_place() {
    for (entrance, told) in [
        (r#""route": []"#, "\"route\" is a list of 0"),
        (r#""route": "/a""#, "\"route\" is \"/a\": it must be an object"),
        (r#""route": [{"frontend": "in"}, 3]"#, "\"route[1]\" is 3"),
        (r#""route": {"path": "/a"}"#, "\"route.frontend\" is missing"),
        (r#""route": {"frontend": "a b"}"#, "\"route.frontend\": the name holds ' '"),
        (r#""route": {"frontend": "in", "host": "a b"}"#, "\"route.host\": 'a b' is no host"),
        (r#""route": {"frontend": "in", "path": "a"}"#, "\"route.path\": the path 'a' must begin with /"),
        (
            r#""route": {"frontend": "in", "path": "/a\n/ x/0"}"#,
            "\"route.path\": the path '/a\\n/ x/0' holds",
        ),
        (r#""route": {"frontend": "in", "strip_prefix": "yes"}"#, "\"route.strip_prefix\" is \"yes\""),
        (r#""route": {"frontend": "in"}, "port": 80"#, "\"port\" and \"route\" don't go together"),
        (r#""route": {"frontend": "in"}, "bind": "*""#, "\"bind\" and \"route\" don't go together"),
        (r#""route": {"frontend": "in"}, "listen_options": "bind :80""#, "has a 'bind' line"),
        (
            r#""route": [{"frontend": "in", "path": "/a"}, {"frontend": "in", "path": "/a/", "strip_prefix": true}]"#,
            "\"route[1]\" is there twice",
        ),
        (r#""port": 80, "cookie": "a b""#, "\"cookie\": 'a b' is no cookie's name"),
    ] {
        let errors = read(entrance).unwrap_err().errors;
        assert!(
            errors.iter().any(|error| error.starts_with(told) || error.contains(told)),
            "{told}: {errors:?}"
        );
    }
}

#[test]
fn a_slip_of_the_pen_in_a_route_is_told() {
    let keys = read(r#""route": {"frontend": "in", "strip_prefx": true}"#).unwrap().unknown_keys;
    let keys: Vec<_> = keys.iter().map(ToString::to_string).collect();
    assert_eq!(keys, ["\"route.strip_prefx\" (did you mean \"strip_prefix\"?)"]);
}

/// What tries to be more than a word of a file of routes, or of a command.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,4}",
        "(/[a-z.]{0,3}){0,4}",
        "/?([a-z/.*:-]|[ \\n\\r\\t\\\\;#<>\"'%$(){}|,?&\\x00]|<<|%0a){0,8}",
        ".{0,8}"
    ]
}

/// The file and the commands for these routes, as a process has them.
fn written(routes: &Arc<Routes>, spec: &ServiceSpec) -> (Vec<String>, Vec<String>) {
    let directory = UnixPath::parse("/run/proxymgr").unwrap();
    let frontend = |name: &FrontendName| HttpFrontend {
        listen: Vec::new(),
        bind_options: None,
        options: Vec::new(),
        default_service: None,
        map: MapFile::new(&directory, name),
        is_out: false,
    };
    let names = routes.keys().map(|route| &route.frontend);
    let frontends: BTreeMap<_, _> = names.map(|name| (name.clone(), frontend(name))).collect();
    let base = Base {
        global: Vec::new(),
        defaults: Vec::new(),
        bind_address: [0, 0, 0, 0].into(),
        operators_socket: None,
        program: None,
        frontends,
        cookie_key: None,
    };
    let service = ServiceName::parse("web").unwrap();
    let section = Arc::new(Section::of(spec, base.bind_address));
    let services = [(service.clone(), Arc::new(DesiredService::new(section, [])))].into();
    let command = |(id, strip): (&RouteId, &Strip)| {
        let map = base.frontends[&id.frontend].map.clone();
        let edit = RouteEdit::Add(RouteTarget { service: service.clone(), strip: *strip });
        let change = RouteChange { id: id.clone(), edit, from: None };
        RuntimeCommand::Route { map, change: Box::new(change) }.to_string()
    };
    let commands = routes.iter().map(command).collect();
    let desired = DesiredState { base: Arc::new(base), services, includes: Arc::default(), template: None };
    let rendered = Renderer::default().render(&AppliedState::loaded(&desired, None));
    (rendered.routes.values().map(ToString::to_string).collect(), commands)
}

proptest! {
    #[test]
    fn any_route_is_refused_or_is_one_entry_and_one_command(
        frontend in any_text(), host in proptest::option::of(any_text()), path in proptest::option::of(any_text()), strip: bool,
    ) {
        let route = json!({"frontend": frontend, "host": host, "path": path, "strip_prefix": strip});
        match read(&format!("\"route\": [{route}, {{\"frontend\": \"in\", \"path\": \"/fixed\"}}]")) {
            Err(refusal) => {
                let is_clear = |text: &String| text.contains("route") && !text.chars().any(char::is_control);
                prop_assert!(refusal.errors.iter().all(is_clear), "{:?}", refusal.errors);
            }
            Ok(definition) => {
                let Entrance::Routes(routes) = &definition.spec.entrance else { panic!("{definition:?}") };
                let (files, commands) = written(routes, &definition.spec);
                let lines: Vec<_> = files.iter().flat_map(|file| file.split_terminator('\n')).collect();
                prop_assert_eq!((lines.len(), commands.len()), (routes.len(), routes.len()));
                let harmless = |c: char| c.is_ascii_alphanumeric() || "-._~+@:=/* ".contains(c);
                for (text, words) in lines.into_iter().map(|line| (line, 2)).chain(commands.iter().map(|text| (text.as_str(), 5))) {
                    prop_assert!(text.chars().all(harmless), "{text:?}");
                    prop_assert_eq!(text.split(' ').filter(|word| !word.is_empty()).count(), words, "{:?}", text);
                    prop_assert_eq!(text.matches(' ').count(), words - 1, "{:?}", text);
                }
            }
        }
    }
}
